import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { StarError } from '../core/errors.js';
import { type GenevalResult, genevalResult } from '../core/geneval-report.js';
import { parsePromptFile } from '../core/prompt-records.js';
import type { PromptRecord, Score, ScoreFailure } from '../core/types.js';
import type { ScoreRequest } from '../pipeline/ports.js';
import { throughJpeg } from './image/jpeg.js';
import { decodePng } from './image/rgb-image.js';

/** Pictures of a folder in GenEval's layout, with what came of them. */
export interface GenevalEvaluation {
  readonly results: readonly GenevalResult[];
  /** Pictures without a score; in no share of the summary. */
  readonly failures: readonly (ScoreFailure & { readonly filename: string })[];
}

/** How a folder is evaluated. */
export interface GenevalFolderOptions {
  /** Show the scorer what is left after JPEG at quality 75, as Flow-GRPO's reward server sees it. */
  readonly jpeg: boolean;
  /** Scores a batch of PNG files. */
  readonly score: (requests: readonly ScoreRequest[]) => Promise<Score[]>;
  readonly onProgress: (done: number, total: number) => void;
}

interface Picture {
  readonly file: string;
  readonly metadata: { readonly tag: string; readonly prompt: string };
  readonly prompt: PromptRecord;
}

/** Pictures that are read before they are scored together. */
const BATCH = 64;

/**
 * Evaluates `NNNNN/samples/N.png` beside `NNNNN/metadata.jsonl`, in order of their names.
 *
 * @throws StarError NOT_FOUND when the folder has no such pictures; PROMPT_INVALID for a bad metadata file
 */
export async function evaluateGenevalFolder(folder: string, options: GenevalFolderOptions): Promise<GenevalEvaluation> {
  const pictures = await findPictures(folder);
  const results: GenevalResult[] = [];
  const failures: (ScoreFailure & { filename: string })[] = [];
  for (let start = 0; start < pictures.length; start += BATCH) {
    const batch = pictures.slice(start, start + BATCH);
    const scores = await options.score(await Promise.all(batch.map((picture) => readRequest(picture, options.jpeg))));
    for (const [index, { file, metadata }] of batch.entries()) {
      const score = scores[index];
      if (score?.kind === 'value' && score.evidence.kind === 'detections') {
        results.push(genevalResult(file, metadata, score.values.correct === 1, score.evidence));
      } else failures.push({ filename: file, ...failureOf(score) });
    }
    options.onProgress(results.length + failures.length, pictures.length);
  }
  return { results, failures };
}

function failureOf(score: Score | undefined): ScoreFailure {
  return score?.kind === 'failed'
    ? score.failure
    : { reason: 'INTERNAL', message: 'the scorer gave no GenEval verdict' };
}

async function findPictures(folder: string): Promise<Picture[]> {
  const prompts = (await list(folder)).filter((name) => /^\d+$/.test(name));
  const pictures: Picture[] = [];
  for (const name of prompts) {
    const path = join(folder, name, 'metadata.jsonl');
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      throw new StarError('PROMPT_INVALID', `${path} cannot be read: ${StarError.from(error).message}`, {}, error);
    });
    const [prompt] = parsePromptFile({ name: path, format: 'jsonl', text: text.trim() }, 'geneval');
    if (prompt === undefined) continue;
    const metadata = JSON.parse(text) as Picture['metadata'];
    const files = (await list(join(folder, name, 'samples'))).filter((file) => /^\d+\.png$/.test(file));
    pictures.push(...files.map((file) => ({ file: join(folder, name, 'samples', file), metadata, prompt })));
  }
  if (pictures.length > 0) return pictures;
  throw new StarError('NOT_FOUND', `${folder} has no pictures NNNNN/samples/N.png beside NNNNN/metadata.jsonl`);
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    throw new StarError('NOT_FOUND', `${folder} cannot be listed: ${StarError.from(error).message}`, {}, error);
  }
}

async function readRequest({ file, prompt }: Picture, jpeg: boolean): Promise<ScoreRequest> {
  const png = await readFile(file);
  return { rolloutId: file, prompt, image: jpeg ? await pngThroughJpeg(png) : png };
}

async function pngThroughJpeg(png: Uint8Array): Promise<Uint8Array> {
  const { data, width, height } = await throughJpeg(await decodePng(png));
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
