import { expect, test } from 'vitest';
import { findTextRegions, inReadingOrder } from './text-regions.js';

const thresholds = { pixel: 0.3, box: 0.6, unclip: 1.5 };

/** 40x20 map with filled rectangles [left, top, right, bottom, probability]. */
function map(...rectangles: [number, number, number, number, number][]) {
  const data = new Float32Array(40 * 20);
  for (const [left, top, right, bottom, value] of rectangles) {
    for (let y = top; y < bottom; y++) data.fill(value, y * 40 + left, y * 40 + right);
  }
  return { width: 40, height: 20, data };
}

test('grows a region by area * unclip / perimeter', () => {
  // 12x4: offset 48 * 1.5 / 32 = 2.25, rounded to 2.
  expect(findTextRegions(map([10, 8, 22, 12, 0.9]), thresholds)).toEqual([[8, 6, 24, 14]]);
});

test('clips a region at the border', () => {
  expect(findTextRegions(map([0, 0, 12, 4, 0.9]), thresholds)).toEqual([[0, 0, 14, 6]]);
});

test('joins pixels that touch at a corner', () => {
  expect(findTextRegions(map([4, 4, 10, 8, 0.9], [10, 8, 16, 12, 0.9]), { ...thresholds, box: 0.4 })).toHaveLength(1);
});

test('drops faint and thin regions', () => {
  expect(findTextRegions(map([4, 4, 20, 10, 0.5]), thresholds)).toEqual([]);
  expect(findTextRegions(map([4, 4, 20, 6, 0.9]), thresholds)).toEqual([]);
  expect(findTextRegions(map(), thresholds)).toEqual([]);
});

test('reads lines from top to bottom and a line from left to right', () => {
  const [right, left, below] = [
    [30, 2, 38, 8],
    [2, 6, 10, 12],
    [0, 30, 10, 36],
  ] as const;
  expect(inReadingOrder([below, right, left])).toEqual([left, right, below]);
});
