import { readFileSync } from 'node:fs';
import { StarError } from '../core/errors.js';
import { parsePromptFile } from '../core/prompt-records.js';
import type { PromptRecord, Score, Task } from '../core/types.js';
import { scorePictures } from '../offline-scoring.js';
import type { CommandContext } from './command-context.js';
import { EXIT } from './exit-code.js';

/** Options of `star score`. */
export interface ScoreOptions {
  readonly prompt: string;
  readonly scorer: 'geneval' | 'ocr' | 'image_text';
  readonly bundle?: string;
  readonly include?: string;
  readonly prompts?: string;
  readonly json?: boolean;
}

/** `star score IMAGE...`. @returns exit code: 1 when a picture has no score */
export async function scoreCommand(
  context: CommandContext,
  images: readonly string[],
  options: ScoreOptions,
): Promise<number> {
  const prompt = promptRecord(options);
  const abort = new AbortController();
  const end = context.onInterrupt(() => abort.abort());
  try {
    const { scorer, bundle = null } = options;
    const scores = await scorePictures({
      scorer,
      bundle,
      prompt,
      images,
      dataDir: context.server.dataDir,
      signal: abort.signal,
    });
    if (options.json === true) {
      context.output.print(
        JSON.stringify(
          images.map((image, index) => ({ image, score: scores[index] })),
          null,
          2,
        ),
      );
    } else {
      for (const [index, image] of images.entries()) context.output.print(`${image}  ${scoreText(scores[index])}`);
    }
    return scores.every((score) => score.kind === 'value') ? EXIT.ok : EXIT.failure;
  } finally {
    end();
  }
}

/**
 * What the scorer needs to know of the prompt. OCR reads the quoted text; GenEval needs clauses, from `--include` or from
 * the line of a prompt file.
 */
function promptRecord(options: ScoreOptions): PromptRecord {
  const { prompt, scorer } = options;
  if (options.prompts !== undefined) return lookUp(options.prompts, options);
  if (scorer === 'geneval' && options.include === undefined) {
    throw new StarError(
      'ARGUMENT_INVALID',
      `GenEval scores clauses: add --include '[{"class": "circle", "count": 1, "color": "red"}]', or --prompts FILE with this prompt`,
    );
  }
  const line =
    scorer === 'geneval' ? { tag: 'score', prompt, include: parseInclude(options.include ?? '') } : { prompt };
  const [record] = parsePromptFile({ name: '--prompt', format: 'jsonl', text: JSON.stringify(line) }, taskOf(scorer));
  if (record === undefined) throw new StarError('PROMPT_INVALID', 'the prompt is empty');
  return record;
}

/** An image-text scorer reads any prompt. */
function taskOf(scorer: ScoreOptions['scorer']): Task {
  return scorer === 'image_text' ? 'pickscore' : scorer;
}

function lookUp(path: string, { prompt, scorer }: ScoreOptions): PromptRecord {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new StarError('NOT_FOUND', `prompt file ${path} cannot be read: ${StarError.from(error).message}`, {}, error);
  }
  const format = path.endsWith('.txt') ? 'txt' : 'jsonl';
  const record = parsePromptFile({ name: path, format, text }, taskOf(scorer)).find((entry) => entry.prompt === prompt);
  if (record !== undefined) return record;
  throw new StarError('NOT_FOUND', `${path} has no line with the prompt ${JSON.stringify(prompt)}`);
}

function parseInclude(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StarError('ARGUMENT_INVALID', `--include is not JSON: ${StarError.from(error).message}`, {}, error);
  }
}

function scoreText(score: Score | undefined): string {
  if (score === undefined) return 'no score';
  if (score.kind === 'failed') return `no score: ${score.failure.reason}: ${score.failure.message}`;
  if (score.kind === 'abstained') return `no score: the scorer abstained: ${score.message}`;
  const values = Object.entries(score.values).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
  const seen =
    score.evidence.kind === 'detections'
      ? score.evidence.detections
          .map((found) => `${found.color ? `${found.color} ` : ''}${found.className} ${found.score.toFixed(2)}`)
          .join(', ')
      : score.evidence.kind === 'text'
        ? `read ${JSON.stringify(score.evidence.text)}`
        : '';
  return `${values.join('  ')}${seen === '' ? '' : `  (${seen})`}`;
}
