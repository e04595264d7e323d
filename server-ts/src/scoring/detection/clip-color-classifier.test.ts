import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { writeDetectorBundle } from '../fixtures/detector-bundle.js';
import { writeImageTextBundle } from '../fixtures/image-text-bundle.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { ClipModel } from '../image-text/clip-model.js';
import { loadScorer } from '../load-scorer.js';
import { clipColorClassifier } from './clip-color-classifier.js';
import type { ObjectMask, PixelBox } from './object-detector.js';

const image: RgbImage = { width: 4, height: 2, data: Uint8Array.from({ length: 24 }, (_, index) => 10 * index) };

/** Remembers what it is asked; pictures look like the text number `answer`. */
function spyModel(answer: number): { model: ClipModel; crops: RgbImage[]; texts: string[] } {
  const [crops, texts]: [RgbImage[], string[]] = [[], []];
  const axis = (index: number): Float32Array => new Float32Array(30).with(index, 1);
  const model: ClipModel = {
    embedImages: async (images) => {
      crops.push(...images);
      return images.map(() => (Number.isNaN(answer) ? axis(0).fill(Number.NaN) : axis(answer)));
    },
    embedTexts: async (list) => {
      texts.push(...list);
      return list.map((_, index) => axis(index));
    },
    close: async () => undefined,
  };
  return { model, crops, texts };
}

const view = (box: PixelBox, mask: ObjectMask | null = null) => ({ image, className: 'cup', box, mask });

test('asks three texts per colour, in order, once per class', async () => {
  const { model, texts } = spyModel(3 * 8 + 2);
  const classifier = clipColorClassifier(model);
  expect(await classifier.classify([view([0, 0, 2, 2]), view([2, 0, 4, 2])])).toEqual(['black', 'black']);
  expect(texts.slice(0, 4)).toEqual([
    'a photo of a red cup',
    'a photo of a red-colored cup',
    'a photo of a red object',
    'a photo of a orange cup',
  ]);
  expect([texts.length, texts[29]]).toEqual([30, 'a photo of a white object']);
});

test('hides what is not the object behind grey and cuts as Pillow does', async () => {
  const { model, crops } = spyModel(0);
  const mask = { width: 4, height: 2, data: Float32Array.of(1, 0.6, 0.5, 0, 0, 0, 1, 1) };
  await clipColorClassifier(model).classify([view([0.5, -1, 2.5, 1.5], mask)]);
  const [black, grey] = [
    [0, 0, 0],
    [153, 153, 153],
  ];
  // Columns 0 and 1; a black row above the picture; row 1 is not the object.
  expect(crops).toEqual([
    { width: 2, height: 3, data: Uint8Array.from([black, black, [0, 10, 20], [30, 40, 50], grey, grey].flat()) },
  ]);
});

test('an empty box has no colour, and the others keep theirs', async () => {
  const { model } = spyModel(4);
  const found = await clipColorClassifier(model).classify([
    view([1, 1, 1.4, 2]),
    view([3, 0, 2, 2]),
    view([0, 0, 4, 2]),
  ]);
  expect(found).toEqual([null, null, 'orange']);
});

test('the first colour wins a tie', async () => {
  const model = { ...spyModel(0).model, embedImages: async () => [new Float32Array(30).fill(1)] };
  expect(await clipColorClassifier(model).classify([view([0, 0, 4, 2])])).toEqual(['red']);
});

test('no colour is named by numbers that are none', async () => {
  const found = await clipColorClassifier(spyModel(Number.NaN).model).classify([view([0, 0, 4, 2])]);
  expect(found).toEqual([{ reason: 'SCORE_NOT_FINITE', message: 'CLIP compares a cup with red by NaN' }]);
});

test('a detector bundle may bring the towers of a CLIP', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'star-test-'));
  await writeDetectorBundle(join(folder, 'detector'));
  await writeImageTextBundle(join(folder, 'clip'));
  const { image: imageTower, text } = parse(await readFile(join(folder, 'clip/manifest.yaml'), 'utf8'));
  for (const file of ['image.onnx', 'text.onnx', 'tokenizer.json']) {
    await cp(join(folder, 'clip', file), join(folder, 'detector', file));
  }
  const path = join(folder, 'detector/manifest.yaml');
  const manifest = parse(await readFile(path, 'utf8'));
  await writeFile(path, stringify({ ...manifest, colors: { backend: 'clip', image: imageTower, text } }));
  const scorer = await loadScorer(await loadScorerBundle(join(folder, 'detector')));
  const include = [{ class: 'circle', count: 1, color: 'red' }];
  const prompt = { prompt: 'a red circle', tag: 'colors', include, exclude: [], targetText: null };
  const picture = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(40) };
  const [outcome] = await scorer.score([{ prompt, image: picture, png: new Uint8Array() }]);
  expect(outcome).toMatchObject({
    kind: 'value',
    evidence: { colorBackend: 'clip', detections: [{ className: 'circle', color: expect.stringMatching(/^[a-z]+$/) }] },
  });
  await scorer.close();
  await rm(folder, { recursive: true });
});
