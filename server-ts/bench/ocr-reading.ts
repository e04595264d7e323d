import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { readCommandSettings } from '../src/config/server-settings.js';
import { ocrReward } from '../src/core/ocr-reward.js';
import { loadScorerBundle, type ScorerBundle } from '../src/scoring/bundle/scorer-bundle.js';
import { textPng } from '../src/scoring/fixtures/text-picture.js';
import { decodePng } from '../src/scoring/image/rgb-image.js';
import type { OcrManifest } from '../src/scoring/ocr/ocr-manifest.js';
import { openOcrScorer } from '../src/scoring/ocr/ocr-scorer.js';
import { type Figures, serveRounds } from './rounds.js';

/**
 * Pictures per second of the OCR scorer (PNG decoding, detector, recogniser, reward and evidence), divided by those of the
 * Python package rapidocr on the same files with the same weights, both on one thread and in turn.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const WORDS = [
  'COFFEE',
  'Hello World',
  'STAR',
  'Reward',
  'sunshine',
  'Grand Hotel',
  'Exit',
  'Welcome',
  'Library',
  'jazz',
];
const FONTS = ['serif', 'sans-serif', 'monospace'];
const ROTATIONS = [0, -6, 8];
/** Until the loops over pixels are compiled. */
const WARM_UP_ROUNDS = 4;
/** Both must read the pictures, or the comparison means nothing: least mean reward. */
const MIN_REWARD = 0.9;

/** The reference: reads all pictures, says how long it took and what it read. */
interface Reference {
  read(): Promise<{ seconds: number; texts: readonly string[] }>;
  close(): void;
}

const folder = await mkdtemp(join(tmpdir(), 'star-bench-ocr-'));
const files = await drawPictures();
const bundle = (await loadScorerBundle(`${ROOT}scorers/ppocr-v4`)) as ScorerBundle<OcrManifest>;
const scorer = await openOcrScorer(bundle);
const reference = await startReference();
try {
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await scoreAll();
  await serveRounds(measure);
} finally {
  reference.close();
  await scorer.close();
  await rm(folder, { recursive: true });
}

/** Ours, theirs, theirs, ours: a machine that slows down evenly favours neither. */
async function measure(): Promise<Figures> {
  const first = await secondsOf(scoreAll);
  const theirs = [await reference.read(), await reference.read()];
  const ours = first + (await secondsOf(scoreAll));
  const rewards = theirs.flatMap(({ texts }) => texts.map((text, index) => ocrReward(text, wordOf(index))));
  requireReadable('rapidocr', rewards);
  return { ocr_over_rapidocr: theirs.reduce((sum, { seconds }) => sum + seconds, 0) / ours };
}

async function scoreAll(): Promise<void> {
  const rewards: number[] = [];
  for (const [index, file] of files.entries()) {
    const targetText = wordOf(index);
    const prompt = { prompt: `a sign that says "${targetText}"`, tag: 'ocr', include: [], exclude: [], targetText };
    const png = await readFile(file);
    const [outcome] = await scorer.score([{ prompt, png, image: await decodePng(png) }]);
    if (outcome?.kind !== 'value') throw new Error(`${file} has no score: ${JSON.stringify(outcome)}`);
    rewards.push(outcome.values.score ?? 0);
  }
  requireReadable('the scorer', rewards);
}

function requireReadable(who: string, rewards: readonly number[]): void {
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  if (!(mean >= MIN_REWARD)) throw new Error(`${who} has a mean reward of ${mean}; expected at least ${MIN_REWARD}`);
}

async function secondsOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function wordOf(index: number): string {
  return WORDS[index % WORDS.length] as string;
}

/** One line of text in 512 x 512 pixels. */
async function drawPictures(): Promise<string[]> {
  const paths = WORDS.map((_, index) => join(folder, `${index}.png`));
  for (const [index, path] of paths.entries()) {
    const [font, rotation] = [FONTS[index % FONTS.length] ?? '', ROTATIONS[index % ROTATIONS.length] ?? 0];
    await writeFile(path, await textPng({ lines: [wordOf(index)], side: 512, fontSize: 56, font, rotation }));
  }
  return paths;
}

async function startReference(): Promise<Reference> {
  const python = readCommandSettings(process.env).python ?? `${ROOT}.venv/bin/python`;
  if (!existsSync(python)) throw new Error(`${python} does not exist; run \`make setup\``);
  const { detector, recognizer, dictionary } = bundle.manifest;
  const models = [detector.graph, recognizer.graph, dictionary].map((entry) => bundle.locate(entry));
  const program = [`${ROOT}trainer-worker/bench/rapidocr_reader.py`, JSON.stringify([...models, ...files])];
  const child = spawn(python, program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const { value, done } = await answers.next();
    if (done === true) throw new Error('the rapidocr reader ended; see above for its message');
    return value;
  };
  await answer();
  return {
    read: async () => {
      child.stdin.write('\n');
      return JSON.parse(await answer()) as { seconds: number; texts: string[] };
    },
    close: () => child.stdin.end(),
  };
}
