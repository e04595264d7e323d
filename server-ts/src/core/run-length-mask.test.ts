import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeMask } from './run-length-mask.js';

test('alternates from outside, row by row', () => {
  const data = Float32Array.of(0.9, 0.9, 0.1, 0.6, 0.5, 0.51);
  expect(encodeMask({ width: 3, height: 2, data })).toEqual({ width: 3, height: 2, runs: [0, 2, 1, 1, 1, 1] });
});

test('runs give back every pixel', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }), (pixels) => {
      const data = Float32Array.from(pixels, Number);
      const { runs } = encodeMask({ width: pixels.length, height: 1, data });
      expect(runs.flatMap((length, index) => Array.from({ length }, () => index % 2 === 1))).toEqual(pixels);
      expect(runs.slice(1).every((length) => length > 0)).toBe(true);
    }),
  );
});
