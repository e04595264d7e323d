import { readFile } from 'node:fs/promises';
import { StarError } from '../../core/errors.js';
import type { RgbImage } from '../image/rgb-image.js';
import { clipPixels } from './clip-pixels.js';
import type { ClipTowers, ImageTower, TextTower } from './clip-towers.js';
import { RecentEmbeddings } from './recent-embeddings.js';
import { openRowGraph, type RowGraph } from './row-graph.js';
import { readTextTokenizer, type TextTokenizer } from './text-tokenizer.js';

/** Embeds pictures and texts into one space. */
export interface ClipModel {
  /** @returns per picture, in order, its embedding float32 [D] of length 1; NaN where the graph gave no direction */
  embedImages(images: readonly RgbImage[]): Promise<Float32Array[]>;
  /**
   * Embeddings of the latest texts are kept.
   *
   * @returns per text, in order, its embedding float32 [D] of length 1; NaN where the graph gave no direction
   * @throws StarError SCORER_NOT_LOADABLE when the model has no text tower
   */
  embedTexts(texts: readonly string[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Entries of one graph run. */
const MAX_BATCH = 16;
/** Texts whose embeddings are kept: 4 MiB at D = 1024. */
const KEPT_TEXTS = 1024;

/**
 * Opens the towers of a bundle.
 *
 * @param locate absolute path of a file by its manifest entry
 * @throws StarError SCORER_NOT_LOADABLE that names the file and what is wrong with it
 */
export async function openClipModel(
  towers: ClipTowers,
  locate: (entry: { readonly path: string }) => string,
): Promise<ClipModel> {
  const image = await openImageTower(towers.image, locate(towers.image.graph));
  const text = towers.text === null ? null : await openTextEmbedder(towers.text, locate);
  return {
    embedImages: (images) =>
      inBatches(images, async (batch) => {
        const { size } = towers.image;
        return (await image.run(clipPixels(batch, towers.image), [3, size, size])).map(unitLength);
      }),
    async embedTexts(texts) {
      if (text !== null) return text.embed(texts);
      throw new StarError('SCORER_NOT_LOADABLE', 'the model has no text tower; its manifest says text: null');
    },
    async close() {
      await image.close();
      await text?.close();
    },
  };
}

function openImageTower({ input, output, size }: ImageTower, path: string): Promise<RowGraph> {
  return openRowGraph(path, { input, inputTypes: ['float32', 'float16'], inputShape: [3, size, size], output });
}

/** The text tower with its tokenizer and what it computed lately. */
interface TextEmbedder {
  embed(texts: readonly string[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

async function openTextEmbedder(
  tower: TextTower,
  locate: (entry: { readonly path: string }) => string,
): Promise<TextEmbedder> {
  const tokenizer = readTextTokenizer(await readFile(locate(tower.tokenizer), 'utf8'), tower);
  const { input, output, contextLength } = tower;
  const graph = await openRowGraph(locate(tower.graph), {
    input,
    inputTypes: ['int64'],
    inputShape: [contextLength],
    output,
  });
  const recent = new RecentEmbeddings(KEPT_TEXTS);
  return {
    embed: (texts) => recent.take(texts, (fresh) => inBatches(fresh, (batch) => embedBatch(batch, tokenizer, graph))),
    close: () => graph.close(),
  };
}

async function embedBatch(
  texts: readonly string[],
  tokenizer: TextTokenizer,
  graph: RowGraph,
): Promise<Float32Array[]> {
  const { ids, length } = tokenizer.encodeBatch(texts, graph.inputShape[0] ?? null);
  return (await graph.run(ids, [length])).map(unitLength);
}

async function inBatches<T>(
  entries: readonly T[],
  embed: (batch: readonly T[]) => Promise<Float32Array[]>,
): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (let start = 0; start < entries.length; start += MAX_BATCH) {
    rows.push(...(await embed(entries.slice(start, start + MAX_BATCH))));
  }
  return rows;
}

/** Scales to length 1; sums in double precision. */
function unitLength(row: Float32Array): Float32Array {
  const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  return row.map((value) => value / length);
}
