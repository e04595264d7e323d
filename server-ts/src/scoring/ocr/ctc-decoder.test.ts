import { expect, test } from 'vitest';
import { decodeCtc } from './ctc-decoder.js';

const alphabet = ['', 'A', 'B'];

function rows(...best: [number, number][]): Float32Array {
  return Float32Array.from(best.flatMap(([index, probability]) => [0, 0, 0].with(index, probability)));
}

test('drops blanks and repeats, keeps a letter that a blank separates', () => {
  const line = decodeCtc(rows([1, 0.5], [1, 0.9], [0, 1], [1, 0.75], [2, 1]), alphabet);
  expect(line).toEqual({ text: 'AAB', confidence: 0.75 });
});

test('only blanks are no text', () => {
  expect(decodeCtc(rows([0, 1], [0, 1]), alphabet)).toEqual({ text: '', confidence: 0 });
});

test('a value that is not a number shows in the confidence', () => {
  expect(decodeCtc(Float32Array.of(0.9, Number.NaN, 0.1), alphabet).confidence).toBeNaN();
});
