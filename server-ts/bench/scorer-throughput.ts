import { readdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type * as ort from 'onnxruntime-node';
import sharp from 'sharp';
import type { PromptRecord } from '../src/core/types.js';
import type { ScoreRequest } from '../src/pipeline/ports.js';
import { lineageOf } from '../src/scoring/bundle/bundle-lineage.js';
import { loadScorerBundle, type ScorerBundle } from '../src/scoring/bundle/scorer-bundle.js';
import type { DetectorManifest } from '../src/scoring/detection/detector-manifest.js';
import { inputTensor } from '../src/scoring/detection/onnx-detector.js';
import { decodePng, type RgbImage } from '../src/scoring/image/rgb-image.js';
import { lineBatches } from '../src/scoring/ocr/line-recognizer.js';
import type { OcrManifest } from '../src/scoring/ocr/ocr-manifest.js';
import { detectorTensor, openTextDetector } from '../src/scoring/ocr/text-detector.js';
import { openSession } from '../src/scoring/onnx-session.js';
import { ScorerPool } from '../src/scoring/pool/scorer-pool.js';
import { type Figures, serveRounds } from './rounds.js';

/**
 * Pictures per second of one scorer process behind the pool (transport, PNG decoding, graph, rules), against the same graph runs
 * in this process on tensors made before (both run graphs on one thread), and of two scorer processes against one.
 */

const IMAGE_FOLDER = new URL('../src/scoring/fixtures/', import.meta.url);
/** As the pools of a run have them, and enough pictures for about a second. */
const SIZES = { detector: { batchSize: 16, imageCount: 768 }, ocr: { batchSize: 8, imageCount: 64 } } as const;

/** The graph runs of all pictures, on tensors made before. */
interface BareRuns {
  run(): Promise<void>;
  close(): Promise<void>;
}

/** Serves both kinds of scorer. */
const PROMPT: PromptRecord = {
  prompt: 'a sign that says "CAT"',
  tag: 'ocr',
  include: [{ class: 'circle', count: 1 }],
  exclude: [],
  targetText: 'CAT',
};

const { values: settings } = parseArgs({
  options: { bundle: { type: 'string' }, side: { type: 'string', default: '64' } },
});
const bundleFolder = resolve(String(settings.bundle));
/** Pictures are squares of this many pixels a side. */
const side = Number(settings.side);
const bundle = await loadScorerBundle(bundleFolder);
const { kind } = bundle.manifest;
if (kind !== 'detector' && kind !== 'ocr')
  throw new Error(`${bundleFolder} is of kind ${kind}; image-text.ts measures those of kind image_text`);
const { batchSize, imageCount } = SIZES[kind];
const files = await readImages(Math.max(batchSize * 4, Math.round(imageCount * (64 / side) ** 2)));
const requests = files.map((image, index): ScoreRequest => ({ rolloutId: String(index), prompt: PROMPT, image }));
const { signal } = new AbortController();
const bare = await openBare(bundle, await Promise.all(files.map(decodePng)), batchSize);
const one = await startPool(1);
const two = await startPool(2);
try {
  await measure();
  await serveRounds(measure);
} finally {
  await one.close();
  await two.close();
  await bare.close();
}

/** There and back: a machine that slows down evenly favours nobody. */
async function measure(): Promise<Figures> {
  const work = { bare: () => bare.run(), one: () => scoreAll(one), two: () => scoreAll(two) };
  const seconds = { bare: 0, one: 0, two: 0 };
  for (const name of ['bare', 'one', 'two', 'two', 'one', 'bare'] as const)
    seconds[name] += await secondsOf(work[name]);
  return {
    scorer_over_bare_session: seconds.bare / seconds.one,
    two_scorer_processes_over_one: seconds.one / seconds.two,
  };
}

function startPool(processCount: number): Promise<ScorerPool> {
  const limits = { batchSize, timeoutMs: 600_000, maxAttempts: 1, onEvent: () => undefined };
  return ScorerPool.start({ lineage: lineageOf(bundle), bundleFolder, processCount, ...limits }, signal);
}

async function scoreAll(pool: ScorerPool): Promise<void> {
  const scores = await pool.score(requests, signal);
  const failed = scores.filter((score) => score.kind !== 'value');
  if (failed.length > 0) throw new Error(`${failed.length} pictures failed: ${JSON.stringify(failed[0])}`);
}

async function secondsOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function readImages(count: number): Promise<Buffer[]> {
  const names = (await readdir(IMAGE_FOLDER)).filter((name) => name.endsWith('.png')).sort();
  const pictures = await Promise.all(names.map((name) => readPicture(new URL(name, IMAGE_FOLDER))));
  return Array.from({ length: count }, (_, index) => pictures[index % pictures.length] as Buffer);
}

async function readPicture(url: URL): Promise<Buffer> {
  const picture = sharp(await readFile(url));
  return picture.resize(side, side).png({ compressionLevel: 1 }).toBuffer();
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
  const {
    detector: { graph, input },
    recognizer: lineReader,
  } = bundle.manifest;
  const detector = await openSession(bundle.locate(graph));
  const recognizer = await openSession(bundle.locate(lineReader.graph));
  const finder = await openTextDetector(bundle);
  const work: { picture: ort.Tensor; lines: ort.Tensor[] }[] = [];
  for (const image of images) {
    const batches = [...lineBatches(image, await finder.detect(image), lineReader)];
    work.push({ picture: detectorTensor(image, bundle.manifest.detector), lines: batches.map((batch) => batch.input) });
  }
  await finder.close();
  return {
    run: async () => {
      for (const { picture, lines } of work) {
        await detector.run({ [input]: picture });
        for (const line of lines) await recognizer.run({ [lineReader.input]: line });
      }
    },
    close: async () => {
      await detector.release();
      await recognizer.release();
    },
  };
}
