import { expect, test } from 'vitest';
import type { Quad } from './rotated-rectangle.js';
import { findTextBoxes, inReadingOrder } from './text-boxes.js';

const thresholds = { pixel: 0.3, box: 0.6, unclip: 1.5 };

type Rectangle = [left: number, top: number, right: number, bottom: number, probability: number];

/** 40x20 map with filled rectangles. */
function map(...rectangles: Rectangle[]) {
  const data = new Float32Array(40 * 20);
  for (const [left, top, right, bottom, value] of rectangles) {
    for (let y = top; y < bottom; y++) data.fill(value, y * 40 + left, y * 40 + right);
  }
  return { width: 40, height: 20, data };
}

/** Corners of an upright box. */
function upright(left: number, top: number, right: number, bottom: number): Quad {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
}

test('grows a box by area * unclip / perimeter', () => {
  // 12x4: offset 48 * 1.5 / 32 = 2.25.
  expect(findTextBoxes(map([10, 8, 22, 12, 0.9]), thresholds)).toEqual([upright(7.75, 5.75, 24.25, 14.25)]);
});

test('joins pixels that touch at a corner', () => {
  expect(findTextBoxes(map([4, 4, 10, 8, 0.9], [10, 8, 16, 12, 0.9]), { ...thresholds, box: 0.4 })).toHaveLength(1);
});

test('drops faint and thin regions', () => {
  expect(findTextBoxes(map([4, 4, 20, 10, 0.5]), thresholds)).toEqual([]);
  expect(findTextBoxes(map([4, 4, 20, 6, 0.9]), thresholds)).toEqual([]);
  expect(findTextBoxes(map(), thresholds)).toEqual([]);
});

test('boxes follow the direction of the text and take the mean inside, not around', () => {
  // A bar along a diagonal: its upright rectangle is mostly empty.
  const bar = Array.from({ length: 14 }, (_, i): Rectangle => [5 + i, 2 + i, 11 + i, 3 + i, 0.9]);
  const [box] = findTextBoxes(map(...bar), { ...thresholds, box: 0.55 });
  const [[ax, ay], [bx, by]] = box as Quad;
  expect((by - ay) / (bx - ax)).toBeCloseTo(1, 9);
});

test('keeps at most 1000 candidates', () => {
  const dots = { width: 4000, height: 8, data: new Float32Array(4000 * 8) };
  for (let x = 0; x < 4000; x += 4) for (let y = 2; y < 5; y++) dots.data.fill(0.9, y * 4000 + x, y * 4000 + x + 3);
  expect(findTextBoxes(dots, thresholds)).toHaveLength(1000);
  expect(findTextBoxes({ ...dots, data: dots.data.map((value) => value / 2) }, thresholds)).toEqual([]);
});

test('reads lines from top to bottom and a line from left to right', () => {
  const [right, left, below] = [upright(30, 2, 38, 8), upright(2, 6, 10, 12), upright(0, 30, 10, 36)];
  expect(inReadingOrder([below, right, left])).toEqual([left, right, below]);
});
