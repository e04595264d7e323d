import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Evidence, PromptRecord } from '../../core/types.js';
import { loadScorerBundle, type ScorerBundle } from '../bundle/scorer-bundle.js';
import { hasFonts, type TextPicture, textPicture } from '../fixtures/text-picture.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { Scorer, ScorerInput, ScorerOutcome } from '../scorer.js';
import type { OcrManifest } from './ocr-manifest.js';
import { openOcrScorer } from './ocr-scorer.js';

// Graphs run on one core, which other tests may be using.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const folder = fileURLToPath(new URL('../../../../scorers/ppocr-v4', import.meta.url));
const fonts = await hasFonts();

let scorer: Scorer;
beforeAll(async () => {
  scorer = await openOcrScorer((await loadScorerBundle(folder)) as ScorerBundle<OcrManifest>);
});
afterAll(() => scorer.close());

function prompt(targetText: string | null): PromptRecord {
  return { prompt: `a sign that says "${targetText}"`, tag: 'ocr', include: [], exclude: [], targetText };
}

/** The scorer reads the decoded picture; the file is for scorers that send it on. */
function inputOf(image: RgbImage, target: string | null): ScorerInput {
  return { prompt: prompt(target), image, png: new Uint8Array() };
}

async function score(image: RgbImage, target: string): Promise<ScorerOutcome> {
  const [outcome] = await scorer.score([inputOf(image, target)]);
  return outcome as ScorerOutcome;
}

function rewardOf(outcome: ScorerOutcome): number {
  if (outcome.kind !== 'value') throw new Error(`no value: ${JSON.stringify(outcome)}`);
  return outcome.values.score as number;
}

function textOf(outcome: ScorerOutcome): Extract<Evidence, { kind: 'text' }> {
  if (outcome.kind !== 'value' || outcome.evidence.kind !== 'text') throw new Error(JSON.stringify(outcome));
  return outcome.evidence;
}

function blank(side: number): RgbImage {
  return { width: side, height: side, data: new Uint8Array(side * side * 3).fill(200) };
}

test('nothing is read from a blank picture, and nothing read is 0', async () => {
  const outcome = await score(blank(64), 'CAT');
  expect(outcome).toMatchObject({ values: { score: 0, strict: 0 }, evidence: { text: '', lines: [] } });
  expect(textOf(outcome).alignment.map(({ operation }) => operation)).toEqual(['delete', 'delete', 'delete']);
});

test('a prompt without a target fails, it is not 0', async () => {
  const [outcome] = await scorer.score([inputOf(blank(64), null)]);
  expect(outcome).toMatchObject({ kind: 'failed', failure: { reason: 'PROMPT_INVALID' } });
});

describe.skipIf(!fonts)('drawn text', () => {
  test.each<[string, TextPicture]>([
    ['sans', { lines: ['Sunshine'], font: 'sans-serif' }],
    ['serif', { lines: ['Sunshine'], font: 'serif' }],
    ['monospace', { lines: ['Sunshine'], font: 'monospace', ink: '#ffe080', ground: '#224466' }],
    ['a small picture', { lines: ['SEA'], side: 64, fontSize: 24 }],
    ['rotated by -6 degrees', { lines: ['Sunshine'], rotation: -6 }],
    ['rotated by 8 degrees', { lines: ['Sunshine'], rotation: 8, font: 'sans-serif' }],
    ['rotated by 30 degrees', { lines: ['Sunshine'], rotation: 30 }],
    ['downwards', { lines: ['Sunshine'], rotation: 90, font: 'sans-serif' }],
    ['three lines', { lines: ['GRAND', 'HOTEL', 'Paris'] }],
    ['two rotated lines', { lines: ['FRESH', 'Bread'], rotation: 8 }],
    ['a side above the limit', { lines: ['Sunshine'], side: 1100, fontSize: 80 }],
    ['a side that is no multiple of 32', { lines: ['Sunshine'], side: 250 }],
  ])('%s', async (_, picture) => {
    const outcome = await score(await textPicture(picture), picture.lines.join(' '));
    expect(textOf(outcome).text.replaceAll(' ', '')).toBe(picture.lines.join(''));
    expect(rewardOf(outcome)).toBe(1);
  });

  test('the polygon lies along rotated text', async () => {
    const { lines } = textOf(await score(await textPicture({ lines: ['Sunshine'], rotation: 30 }), 'Sunshine'));
    const [[ax, ay], [bx, by]] = lines[0]?.polygon ?? [
      [0, 0],
      [0, 0],
    ];
    expect((Math.atan2(by - ay, bx - ax) * 180) / Math.PI).toBeGreaterThan(27);
    expect((Math.atan2(by - ay, bx - ax) * 180) / Math.PI).toBeLessThan(33);
  });

  test('a wrong letter is strictly between 0 and 1 and named', async () => {
    const outcome = await score(await textPicture({ lines: ['HOTEL'] }), 'MOTEL');
    expect(rewardOf(outcome)).toBe(0.8);
    expect(textOf(outcome).alignment[0]).toEqual({ operation: 'substitute', targetIndex: 0, recognizedIndex: 0 });
  });

  test('text around the target costs nothing', async () => {
    expect(rewardOf(await score(await textPicture({ lines: ['GRAND', 'HOTEL'] }), 'hotel'))).toBe(1);
  });

  test('a batch gives what single pictures give, in any order', async () => {
    const pictures = [
      await textPicture({ lines: ['HOTEL'], rotation: 8 }),
      await textPicture({ lines: ['A', 'BB', 'Wide line of text'], fontSize: 28 }),
      blank(96),
      await textPicture({ lines: ['SEA'], side: 64, fontSize: 24 }),
    ];
    const inputs = pictures.map((image) => inputOf(image, 'HOTEL'));
    const together = await scorer.score(inputs);
    const reversed = await scorer.score([...inputs].reverse());
    expect(reversed.reverse()).toEqual(together);
    for (const [index, input] of inputs.entries()) expect(await scorer.score([input])).toEqual([together[index]]);
  });
});
