import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type * as ort from 'onnxruntime-node';
import type { PromptRecord } from '../src/core/types.js';
import type { ScoreRequest } from '../src/pipeline/ports.js';
import { inputTensor } from '../src/scoring/onnx-detector.js';
import { openSession } from '../src/scoring/onnx-session.js';
import { cropImage, decodePng, type RgbImage } from '../src/scoring/rgb-image.js';
import {
  type DetectorManifest,
  loadScorerBundle,
  type OcrManifest,
  type ScorerBundle,
} from '../src/scoring/scorer-bundle.js';
import { ScorerPool } from '../src/scoring/scorer-pool.js';
import { detectorTensor, lineTensor, openTextReader } from '../src/scoring/text-reader.js';

/** What to measure. */
export interface ScorerThroughputOptions {
  readonly repoRoot: string;
  /** Bundle folder, relative to the repository. */
  readonly bundle: string;
  /** Folder of PNG files; they are repeated until there are `imageCount`. */
  readonly imageFolder: string;
  readonly imageCount: number;
  readonly batchSize: number;
  /** Rounds of pool and bare session in turn, after one that is not counted. */
  readonly rounds: number;
}

/** Pictures per second of one scorer process behind the pool, and of the same graph runs without anything around them. */
export interface ScorerThroughput {
  /** Median over rounds. */
  readonly poolImagesPerSecond: number;
  /** Median over rounds. */
  readonly bareImagesPerSecond: number;
  /** Pool / bare of one round: median, smallest, largest. */
  readonly ratio: { readonly median: number; readonly low: number; readonly high: number };
}

/** The graph runs of all pictures, on tensors made before. */
interface BareRuns {
  run(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Compares the pool (one process: transport, decoding, rules) with a bare session in this process on the same tensors, both
 * with one thread, in alternating rounds so that a change of the machine's load meets both.
 */
export async function measureScorerThroughput(options: ScorerThroughputOptions): Promise<ScorerThroughput> {
  const { signal } = new AbortController();
  const folder = resolve(options.repoRoot, options.bundle);
  const bundle = await loadScorerBundle(folder);
  const files = await readImages(options);
  const bare = await openBare(bundle, await Promise.all(files.map(decodePng)), options.batchSize);
  const pool = await ScorerPool.start(
    {
      scorer: bundle.manifest.name,
      bundleFolder: folder,
      bundleHash: bundle.bundleHash,
      processCount: 1,
      batchSize: options.batchSize,
      timeoutMs: 600_000,
      maxAttempts: 1,
      onEvent: () => undefined,
    },
    signal,
  );
  try {
    const requests = files.map((image, index): ScoreRequest => ({ rolloutId: String(index), prompt: PROMPT, image }));
    return await alternate(
      options,
      () => bare.run(),
      async () => requireValues(await pool.score(requests, signal)),
    );
  } finally {
    await pool.close();
    await bare.close();
  }
}

/** Serves both kinds of scorer. */
const PROMPT: PromptRecord = {
  prompt: 'a sign that says "CAT"',
  tag: 'ocr',
  include: [{ class: 'circle', count: 1 }],
  exclude: [],
  targetText: 'CAT',
};

async function alternate(
  { rounds, imageCount }: ScorerThroughputOptions,
  bare: () => Promise<void>,
  pool: () => Promise<void>,
): Promise<ScorerThroughput> {
  const bareSeconds: number[] = [];
  const poolSeconds: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const [bareTime, poolTime] = [await secondsOf(bare), await secondsOf(pool)];
    if (round === 0) continue;
    bareSeconds.push(bareTime);
    poolSeconds.push(poolTime);
  }
  const ratios = poolSeconds.map((seconds, index) => (bareSeconds[index] ?? Number.NaN) / seconds);
  return {
    poolImagesPerSecond: imageCount / median(poolSeconds),
    bareImagesPerSecond: imageCount / median(bareSeconds),
    ratio: { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) },
  };
}

async function secondsOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function requireValues(scores: readonly { kind: string }[]): void {
  const failed = scores.filter((score) => score.kind !== 'value');
  if (failed.length > 0)
    throw new Error(`${failed.length} of ${scores.length} pictures failed: ${JSON.stringify(failed[0])}`);
}

async function readImages({ imageFolder, imageCount }: ScorerThroughputOptions): Promise<Buffer[]> {
  const names = (await readdir(imageFolder)).filter((name) => name.endsWith('.png')).sort();
  const files = await Promise.all(names.map((name) => readFile(join(imageFolder, name))));
  if (files.length === 0) throw new Error(`no PNG files in ${imageFolder}`);
  return Array.from({ length: imageCount }, (_, index) => files[index % files.length] as Buffer);
}

async function openBare(bundle: ScorerBundle, images: readonly RgbImage[], batchSize: number): Promise<BareRuns> {
  return bundle.manifest.kind === 'ocr'
    ? openBareOcr(bundle as ScorerBundle<OcrManifest>, images)
    : openBareDetector(bundle as ScorerBundle<DetectorManifest>, images, batchSize);
}

async function openBareDetector(
  bundle: ScorerBundle<DetectorManifest>,
  images: readonly RgbImage[],
  batchSize: number,
): Promise<BareRuns> {
  const session = await openSession(bundle.locate(bundle.manifest.graph));
  const batches: ort.Tensor[] = [];
  for (let start = 0; start < images.length; start += batchSize) {
    batches.push(inputTensor(images.slice(start, start + batchSize), bundle.manifest));
  }
  return {
    run: async () => {
      for (const batch of batches) await session.run({ [bundle.manifest.input.name]: batch });
    },
    close: () => session.release(),
  };
}

async function openBareOcr(bundle: ScorerBundle<OcrManifest>, images: readonly RgbImage[]): Promise<BareRuns> {
  const detector = await openSession(bundle.locate(bundle.manifest.detector));
  const recognizer = await openSession(bundle.locate(bundle.manifest.recognizer));
  const reader = await openTextReader(bundle);
  const work: { picture: ort.Tensor; lines: ort.Tensor[] }[] = [];
  for (const image of images) {
    const lines = await reader.read(image);
    work.push({ picture: detectorTensor(image), lines: lines.map(({ box }) => lineTensor(cropImage(image, box))) });
  }
  await reader.close();
  return {
    run: async () => {
      for (const { picture, lines } of work) {
        await detector.run({ x: picture });
        for (const line of lines) await recognizer.run({ x: line });
      }
    },
    close: async () => {
      await detector.release();
      await recognizer.release();
    },
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
