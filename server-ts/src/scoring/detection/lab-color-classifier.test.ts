import { expect, test } from 'vitest';
import type { ObjectColor } from './color-classifier.js';
import { labColorClassifier, rgbToLab } from './lab-color-classifier.js';
import type { ObjectMask, PixelBox } from './object-detector.js';

const classifier = labColorClassifier([
  { name: 'red', rgb: [220, 30, 35] },
  { name: 'blue', rgb: [35, 75, 230] },
  { name: 'white', rgb: [255, 255, 255] },
]);

/** Left half red, right half blue, 4x4. */
const image = {
  width: 4,
  height: 4,
  data: Uint8Array.from(Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? [200, 40, 40] : [40, 60, 200])).flat()),
};

test('converts reference colours to CIE L*a*b*', () => {
  const known: [[number, number, number], [number, number, number]][] = [
    [
      [255, 255, 255],
      [100, 0, 0],
    ],
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
    [
      [255, 0, 0],
      [53.24, 80.09, 67.2],
    ],
    [
      [0, 0, 255],
      [32.3, 79.19, -107.86],
    ],
  ];
  for (const [rgb, lab] of known) {
    rgbToLab(...rgb).forEach((value, axis) => {
      expect(value).toBeCloseTo(lab[axis] ?? Number.NaN, 1);
    });
  }
});

const colorOf = async (box: PixelBox, mask: ObjectMask | null = null): Promise<ObjectColor | undefined> =>
  (await classifier.classify([{ image, className: 'any', box, mask }]))[0];

test('looks at the box only', async () => {
  expect(await colorOf([0, 0, 2, 4])).toBe('red');
  expect(await colorOf([2, 0, 4, 4])).toBe('blue');
});

test('looks at the masked pixels only, at any resolution of the mask', async () => {
  expect(await colorOf([0, 0, 4, 4], { width: 2, height: 1, data: Float32Array.of(0.2, 0.9) })).toBe('blue');
});

test('has no colour for an object without pixels', async () => {
  expect(await colorOf([1, 1, 1, 3])).toBeNull();
  expect(await colorOf([10, 10, 12, 12])).toBeNull();
  expect(await colorOf([0, 0, 4, 4], { width: 1, height: 1, data: Float32Array.of(0.5) })).toBeNull();
});
