import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { summarizeGeneval } from '../core/geneval-report.js';
import type { Score } from '../core/types.js';
import type { ScoreRequest } from '../pipeline/ports.js';
import { lineageOf } from './bundle/bundle-lineage.js';
import { loadScorerBundle } from './bundle/scorer-bundle.js';
import { evaluateGenevalFolder } from './geneval-folder.js';
import { throughJpeg } from './image/jpeg.js';
import { decodePng, type RgbImage } from './image/rgb-image.js';
import { loadScorer } from './load-scorer.js';

const SHIPPED = fileURLToPath(new URL('../../../scorers/tiny-world-detector', import.meta.url));
const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}.png`, import.meta.url));
const single = { tag: 'single_object', include: [{ class: 'circle', count: 1 }], prompt: 'a photo of a circle' };
const colors = {
  tag: 'colors',
  include: [{ class: 'circle', count: 1, color: 'blue' }],
  prompt: 'a photo of a blue circle',
};

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function addPrompt(name: string, metadata: unknown, pictures: readonly string[]): Promise<void> {
  await mkdir(join(folder, name, 'samples'), { recursive: true });
  await writeFile(join(folder, name, 'metadata.jsonl'), JSON.stringify(metadata));
  await Promise.all(
    pictures.map((picture, index) => cp(fixture(picture), join(folder, name, 'samples', `000${index}.png`))),
  );
}

/** The scorer of the shipped bundle in this process; a picture that cannot be decoded fails. */
async function score(requests: readonly ScoreRequest[]): Promise<Score[]> {
  const bundle = await loadScorerBundle(SHIPPED);
  const scorer = await loadScorer(bundle);
  const lineage = { ...lineageOf(bundle), runtime: 'test' };
  const scores = await Promise.all(
    requests.map(async ({ prompt, image }): Promise<Score> => {
      const [outcome] = await scorer.score([{ prompt, image: await decodePng(image), png: image }]);
      if (outcome?.kind !== 'value') throw new Error('no value');
      return { ...outcome, lineage };
    }),
  );
  await scorer.close();
  return scores;
}

test.each([false, true])('reports a folder as the official scripts do; through JPEG: %s', async (jpeg) => {
  await addPrompt('00000', single, ['red-circle-blue-square', 'blank']);
  await addPrompt('00001', colors, ['red-circle-blue-square']);
  await mkdir(join(folder, 'grids'));
  const progress: number[] = [];
  const { results, failures } = await evaluateGenevalFolder(folder, {
    jpeg,
    score,
    onProgress: (done) => progress.push(done),
  });
  expect(failures).toEqual([]);
  expect(progress).toEqual([3]);
  expect(results.map(({ tag, correct, reason }) => ({ tag, correct, reason }))).toEqual([
    { tag: 'single_object', correct: true, reason: '' },
    { tag: 'single_object', correct: false, reason: 'expected circle>=1, found 0' },
    { tag: 'colors', correct: false, reason: 'expected blue circle>=1, found 0 blue; and 1 red' },
  ]);
  expect(JSON.parse(results[0]?.details ?? '')).toMatchObject({ circle: [expect.any(Array)] });
  expect(results[0]?.metadata).toBe(JSON.stringify(single));
  expect(summarizeGeneval(results)).toMatchObject({ overall: 0.25, prompts: { correct: 1, total: 2 } });
});

test.each([
  [false, async (image: RgbImage) => image],
  [true, throughJpeg],
])('the scorer sees the picture, or what JPEG leaves of it: %s', async (jpeg, change) => {
  await addPrompt('00000', single, ['red-circle-blue-square']);
  const seen: Buffer[] = [];
  await evaluateGenevalFolder(folder, {
    jpeg,
    score: async (requests) => {
      for (const { image } of requests) seen.push(Buffer.from((await decodePng(image)).data));
      return score(requests);
    },
    onProgress: () => undefined,
  });
  const original = await decodePng(await readFile(fixture('red-circle-blue-square')));
  expect(seen).toEqual([Buffer.from((await change(original)).data)]);
});

test('a picture without a score is listed and not counted', async () => {
  await addPrompt('00000', single, ['blank']);
  const failure = { reason: 'IMAGE_INVALID', message: 'too small' } as const;
  const { results, failures } = await evaluateGenevalFolder(folder, {
    jpeg: false,
    score: async () => [{ kind: 'failed', failure }],
    onProgress: () => undefined,
  });
  expect(results).toEqual([]);
  expect(failures).toEqual([{ ...failure, filename: join(folder, '00000/samples/0000.png') }]);
});

test('names what is missing', async () => {
  const options = { jpeg: false, score, onProgress: () => undefined };
  await expect(evaluateGenevalFolder(folder, options)).rejects.toMatchObject({
    reason: 'NOT_FOUND',
    message: expect.stringContaining('NNNNN/samples'),
  });
  await mkdir(join(folder, '00000'));
  await expect(evaluateGenevalFolder(folder, options)).rejects.toMatchObject({
    reason: 'PROMPT_INVALID',
    message: expect.stringContaining('metadata.jsonl'),
  });
});
