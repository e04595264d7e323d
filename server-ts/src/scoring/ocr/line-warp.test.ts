import { expect, test } from 'vitest';
import type { RgbImage } from '../image/rgb-image.js';
import { warpLine } from './line-warp.js';
import type { Quad } from './rotated-rectangle.js';

const identity = { mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] } as const;

/** Red 10 x + y, so that every place has a value of its own. */
const image: RgbImage = {
  width: 6,
  height: 4,
  data: Uint8Array.from({ length: 6 * 4 * 3 }, (_, index) =>
    index % 3 === 0 ? 10 * (Math.floor(index / 3) % 6) + Math.floor(index / 18) : 0,
  ),
};

function warp(quad: Quad, width: number, height: number): number[] {
  const planes = new Float32Array(3 * height * (width + 1)).fill(-1);
  warpLine(image, quad, { planes, stride: width + 1, width, height }, identity);
  const rows = Array.from({ length: height }, (_, row) =>
    planes.subarray(row * (width + 1), row * (width + 1) + width),
  );
  expect(planes[width]).toBe(-1);
  return rows.flatMap((row) => Array.from(row, (value) => Math.round(value * 1000) / 1000));
}

test('an upright box at its own size is a plain crop', () => {
  const box: Quad = [
    [1, 1],
    [4, 1],
    [4, 3],
    [1, 3],
  ];
  expect(warp(box, 3, 2)).toEqual([11, 21, 31, 12, 22, 32]);
});

test('text that runs upwards is turned to run to the right when its corners say so', () => {
  const upwards: Quad = [
    [1, 4],
    [1, 1],
    [3, 1],
    [3, 4],
  ];
  expect(warp(upwards, 3, 2)).toEqual([13, 12, 11, 23, 22, 21]);
});

test('a trapezoid is straightened in perspective: its far half is stretched', () => {
  const trapezoid: Quad = [
    [0, 0],
    [6, 0],
    [4, 4],
    [2, 4],
  ];
  const column = warp(trapezoid, 1, 2);
  // The diagonals (0,0)-(4,4) and (6,0)-(2,4) meet at y = 3: the middle of the unit square. A quarter down is y = 2.
  expect(column[0]).toBe(25 + 1.5);
});

test('outside the picture its border is repeated', () => {
  const box: Quad = [
    [-2, -2],
    [0, -2],
    [0, 0],
    [-2, 0],
  ];
  expect(warp(box, 2, 2)).toEqual([0, 0, 0, 0]);
});
