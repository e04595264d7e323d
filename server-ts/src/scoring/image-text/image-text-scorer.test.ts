import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { PromptRecord } from '../../core/types.js';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { type ImageTextFixture, writeImageTextBundle } from '../fixtures/image-text-bundle.js';
import type { RgbImage } from '../image/rgb-image.js';
import { loadScorer } from '../load-scorer.js';
import { requireFinite, type ScorerInput, type ScorerOutcome } from '../scorer.js';

const PROMPTS = ['a red circle', 'a blue square left of a red circle', 'a red circle', 'a zork'];

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('PickScore is the scaled cosine of the embeddings', async () => {
  const outcomes = await score();
  expect(outcomes).toHaveLength(PROMPTS.length);
  for (const { score: value, cosine, logit } of outcomes.map(valuesOf)) {
    expect(Math.abs(cosine)).toBeLessThanOrEqual(1 + 1e-6);
    expect(logit).toBe(100 * cosine);
    expect(value).toBe(logit / 26);
  }
  const [first, , third] = outcomes.map((outcome) => valuesOf(outcome).cosine);
  expect(first).not.toBe(third);
});

test('a batch, single pictures and texts that were kept give the same', async () => {
  await writeImageTextBundle(folder);
  const scorer = await loadScorer(await loadScorerBundle(folder));
  const batch = (await scorer.score(inputs())).map(valuesOf);
  for (const [index, input] of inputs().entries()) {
    const [single] = await scorer.score([input]);
    expect(valuesOf(single).cosine).toBeCloseTo(batch[index]?.cosine ?? Number.NaN, 6);
  }
  expect(await scorer.score([])).toEqual([]);
  await scorer.close();
});

test.each<[string, ImageTextFixture, number]>([
  ['half precision', { type: 'float16' }, 2e-3],
  ['weights beside the graph', { external: true }, 0],
  ['texts of a fixed length', { fixedLength: true }, 1e-6],
])('%s makes no difference', async (_, fixture, tolerance) => {
  const expected = (await score()).map((outcome) => valuesOf(outcome).cosine);
  const received = (await score(fixture)).map((outcome) => valuesOf(outcome).cosine);
  expected.forEach((value, index) => {
    expect(Math.abs((received[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(tolerance);
  });
});

test('an aesthetic head looks at the picture alone', async () => {
  const [first, second, third] = (await score({ head: 'aesthetic' })).map(valuesOf);
  expect(Object.keys(first ?? {})).toEqual(['score']);
  expect(Number.isFinite(first?.score)).toBe(true);
  expect(new Set([first?.score, second?.score, third?.score]).size).toBe(3);
});

test('a picture without a direction has no number', async () => {
  const grey = { width: 8, height: 8, data: new Uint8Array(8 * 8 * 3).fill(0) };
  const [outcome] = await score({ image: { mean: [0, 0, 0] } }, [{ ...(inputs()[0] as ScorerInput), image: grey }]);
  expect(outcome && requireFinite(outcome)).toMatchObject({ failure: { reason: 'SCORE_NOT_FINITE' } });
});

test.each([
  ['a missing output', { output: 'gone' }, /output gone: float32 .* it has image_embeds: float32/],
  ['another input', { input: 'x' }, /one input x: .* it has pixel_values/],
  ['another size', { size: 8 }, /\[n, 3, 8, 8\]; it has pixel_values: float32 \[any, 3, 4, 4\]/],
])('refuses a graph with %s', async (_, image, message) => {
  await writeImageTextBundle(folder, { image });
  await expect(loadScorer(await loadScorerBundle(folder))).rejects.toMatchObject({
    reason: 'SCORER_NOT_LOADABLE',
    message: expect.stringMatching(message),
  });
});

test('weights beside the graph are checked and must be there', async () => {
  await writeImageTextBundle(folder, { external: true });
  await rm(join(folder, 'image.onnx.data'));
  await expect(loadScorerBundle(folder)).rejects.toMatchObject({ message: expect.stringContaining('image.onnx.data') });
});

test('a similarity head needs texts', async () => {
  await writeImageTextBundle(folder);
  const path = join(folder, 'manifest.yaml');
  await writeFile(path, stringify({ ...parse(await readFile(path, 'utf8')), text: null }));
  await expect(loadScorerBundle(folder)).rejects.toMatchObject({ message: expect.stringContaining('text tower') });
});

async function score(fixture: ImageTextFixture = {}, given = inputs()): Promise<ScorerOutcome[]> {
  await writeImageTextBundle(folder, fixture);
  const scorer = await loadScorer(await loadScorerBundle(folder));
  const outcomes = await scorer.score(given);
  await scorer.close();
  return outcomes;
}

function inputs(): ScorerInput[] {
  return PROMPTS.map((text, index) => ({ prompt: promptOf(text), image: imageOf(index), png: new Uint8Array() }));
}

function promptOf(prompt: string): PromptRecord {
  return { prompt, tag: 'pickscore', include: [], exclude: [], targetText: null };
}

function imageOf(index: number): RgbImage {
  const data = Uint8Array.from({ length: 9 * 7 * 3 }, (_, at) => (at * at * (index + 3) + 40 * index) % 256);
  return { width: 9, height: 7, data };
}

function valuesOf(outcome: ScorerOutcome | undefined): { score: number; cosine: number; logit: number } {
  if (outcome?.kind !== 'value') throw new Error(`no value: ${JSON.stringify(outcome)}`);
  return outcome.values as { score: number; cosine: number; logit: number };
}
