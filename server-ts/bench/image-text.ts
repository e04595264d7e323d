import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { readCommandSettings } from '../src/config/server-settings.js';
import { loadScorerBundle } from '../src/scoring/bundle/scorer-bundle.js';
import { decodePng } from '../src/scoring/image/rgb-image.js';
import { loadScorer } from '../src/scoring/load-scorer.js';
import { type Figures, serveRounds } from './rounds.js';

/**
 * Pictures per second of processor time of the image-text scorer (PNG decoding, preprocessing, tokenizer, both towers), divided
 * by those of transformers' CLIPProcessor (on Pillow) and CLIPModel with the same weights, pictures, prompts and batches, one
 * thread each and in turn. Every prompt is new, so that no embedding of a text is kept.
 */

const BATCH = 16;
/** Both must agree, or the comparison means nothing: largest difference of a score. */
const TOLERANCE = 1e-4;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

const python = readCommandSettings(process.env).python ?? `${ROOT}.venv/bin/python`;
if (!existsSync(python)) throw new Error(`${python} does not exist; run \`make setup\``);
const folder = await mkdtemp(join(tmpdir(), 'star-bench-clip-'));
const reference = spawn(python, [`${ROOT}trainer-worker/bench/transformers_scorer.py`, folder], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const answers = createInterface(reference.stdout)[Symbol.asyncIterator]();
const files = (await answer()) as readonly string[];
const scorer = await loadScorer(await loadScorerBundle(join(folder, 'bundle')));
let promptCount = 0;
try {
  await measure();
  await serveRounds(measure);
} finally {
  reference.stdin.end();
  await scorer.close();
  await rm(folder, { recursive: true });
}

/** Ours, theirs, theirs, ours: a machine that slows down evenly favours neither. */
async function measure(): Promise<Figures> {
  const [first, second] = [newPrompts(), newPrompts()];
  const runs = [await scoreHere(first), await scoreThere(first), await scoreThere(second), await scoreHere(second)];
  const [ours, theirs, theirsAgain, oursAgain] = runs as [Run, Run, Run, Run];
  requireEqual(ours.scores, theirs.scores);
  requireEqual(oursAgain.scores, theirsAgain.scores);
  return {
    image_text_over_transformers: (theirs.seconds + theirsAgain.seconds) / (ours.seconds + oursAgain.seconds),
  };
}

interface Run {
  /** Of processor time, all threads. */
  readonly seconds: number;
  readonly scores: readonly number[];
}

async function scoreHere(prompts: readonly string[]): Promise<Run> {
  const start = process.cpuUsage();
  const scores: number[] = [];
  for (let index = 0; index < files.length; index += BATCH) {
    const inputs = await Promise.all(
      files.slice(index, index + BATCH).map(async (file, place) => {
        const png = await readFile(file);
        return { prompt: promptOf(prompts[index + place] ?? ''), png, image: await decodePng(png) };
      }),
    );
    for (const outcome of await scorer.score(inputs)) {
      if (outcome.kind !== 'value') throw new Error(`no score: ${JSON.stringify(outcome)}`);
      scores.push(outcome.values.score ?? Number.NaN);
    }
  }
  const { user, system } = process.cpuUsage(start);
  return { seconds: (user + system) / 1e6, scores };
}

async function scoreThere(prompts: readonly string[]): Promise<Run> {
  reference.stdin.write(`${JSON.stringify(prompts)}\n`);
  return (await answer()) as Run;
}

async function answer(): Promise<unknown> {
  const line = await answers.next();
  if (line.done) throw new Error('the reference ended; see above for its message');
  return JSON.parse(line.value);
}

/** A prompt per picture that was never used before; capitals are words of the small world's tokenizer. */
function newPrompts(): string[] {
  return files.map(() => {
    const letters = (promptCount++).toString(26).replace(/./g, (digit) => ` ${LETTERS[Number.parseInt(digit, 26)]}`);
    return `a photo of a red circle left of a blue square and a green star with${letters}`;
  });
}

function promptOf(prompt: string) {
  return { prompt, tag: 'pickscore', include: [], exclude: [], targetText: null };
}

function requireEqual(received: readonly number[], expected: readonly number[]): void {
  const index = received.findIndex((value, place) => !(Math.abs(value - (expected[place] ?? Number.NaN)) <= TOLERANCE));
  if (index >= 0) throw new Error(`${files[index]}: score ${received[index]}, transformers gives ${expected[index]}`);
}
