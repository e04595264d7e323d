import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import type { Scorer, ScorerInput } from '../scorer.js';
import { type ClipModel, openClipModel } from './clip-model.js';
import type { ImageTextManifest } from './image-text-manifest.js';
import { openRowGraph } from './row-graph.js';

type HeadOf<K> = Extract<ImageTextManifest['head'], { kind: K }>;

/** Judges pictures by their embeddings. */
interface Head {
  /**
   * @param embeddings of the pictures, of length 1
   * @returns per picture, in order, its values by name
   */
  judge(embeddings: readonly Float32Array[], inputs: readonly ScorerInput[]): Promise<Record<string, number>[]>;
  close(): Promise<void>;
}

/**
 * Scorer over an image-text bundle (rewards.md 2.2).
 *
 * Reports `score`; a similarity head (PickScore, CLIPScore, HPS) also `cosine` of picture and prompt, and `logit`, the cosine
 * times the model's scale. An aesthetic head does not look at the prompt.
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph or the tokenizer cannot be loaded
 */
export async function openImageTextScorer({ manifest, locate }: ScorerBundle<ImageTextManifest>): Promise<Scorer> {
  const { head: declared } = manifest;
  const model = await openClipModel(manifest, locate);
  const head =
    declared.kind === 'similarity'
      ? similarityHead(declared, model)
      : await openAestheticHead(declared, locate(declared.graph));
  return {
    async score(inputs) {
      if (inputs.length === 0) return [];
      const embeddings = await model.embedImages(inputs.map(({ image }) => image));
      const values = await head.judge(embeddings, inputs);
      return values.map((each) => ({ kind: 'value', values: each, evidence: { kind: 'none' } }));
    },
    async close() {
      await head.close();
      await model.close();
    },
  };
}

function similarityHead({ logitScale, divisor }: HeadOf<'similarity'>, model: ClipModel): Head {
  return {
    async judge(embeddings, inputs) {
      const texts = await model.embedTexts(inputs.map(({ prompt }) => prompt.prompt));
      return embeddings.map((embedding, index) => {
        const cosine = dot(embedding, texts[index] as Float32Array);
        const logit = logitScale * cosine;
        return { score: logit / divisor, cosine, logit };
      });
    },
    close: async () => undefined,
  };
}

async function openAestheticHead({ input, output }: HeadOf<'aesthetic'>, path: string): Promise<Head> {
  const graph = await openRowGraph(path, { input, inputTypes: ['float32', 'float16'], inputShape: [null], output });
  return {
    async judge(embeddings) {
      const length = embeddings[0]?.length ?? 0;
      const batch = new Float32Array(embeddings.length * length);
      for (const [index, row] of embeddings.entries()) batch.set(row, index * length);
      return (await graph.run(batch, [length])).map(([score = Number.NaN]) => ({ score }));
    },
    close: () => graph.close(),
  };
}

function dot(first: Float32Array, second: Float32Array): number {
  return first.reduce((sum, value, index) => sum + value * (second[index] ?? Number.NaN), 0);
}
