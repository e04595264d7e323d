import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kendallCorrelation, spearmanCorrelation } from './rank-correlation.js';

describe('rank correlations', () => {
  /** Third and fourth column: scipy 1.17.1, `spearmanr` and `kendalltau`. */
  it.each([
    [[1, 2, 3, 4], [1, 2, 3, 4], 1, 1],
    [[1, 2, 3, 4], [4, 3, 2, 1], -1, -1],
    [[0, 0, 1, 1, 0.5], [0.2, 0.1, 0.9, 0.1, 0.3], 0.3244428422615251, 0.35355339059327373],
    [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8], 0.19885368120992467, 0.16051447078102563],
    [[0, 1, 1, 1], [0.5, 0.5, 0.5, 0.1], -1 / 3, -1 / 3],
  ])('of %j and %j', (a, b, spearman, kendall) => {
    expect(spearmanCorrelation(a, b)).toBeCloseTo(spearman, 12);
    expect(kendallCorrelation(a, b)).toBeCloseTo(kendall, 12);
  });

  it('are null without an order to compare', () => {
    for (const correlation of [spearmanCorrelation, kendallCorrelation]) {
      expect([correlation([], []), correlation([1], [2]), correlation([1, 1, 1], [0.1, 0.2, 0.3])]).toEqual([
        null,
        null,
        null,
      ]);
    }
  });

  it('lie in [-1, 1], do not depend on scale or order of the pictures, and are 1 with themselves', () => {
    const pairs = fc.array(fc.tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 })), {
      minLength: 2,
      maxLength: 12,
    });
    fc.assert(
      fc.property(pairs, (list) => {
        const [a, b] = [list.map(([x]) => x), list.map(([, y]) => y)];
        for (const correlation of [spearmanCorrelation, kendallCorrelation]) {
          const value = correlation(a, b);
          if (new Set(a).size > 1) expect(correlation(a, a)).toBeCloseTo(1, 12);
          expect(value === null).toBe(new Set(a).size === 1 || new Set(b).size === 1);
          if (value === null) continue;
          expect(Math.abs(value)).toBeLessThanOrEqual(1);
          expect(correlation(b, a)).toBeCloseTo(value, 12);
          expect(
            correlation(
              a.map((x) => Math.exp(x) * 26),
              b,
            ),
          ).toBeCloseTo(value, 12);
          expect(correlation(a.toReversed(), b.toReversed())).toBeCloseTo(value, 12);
          expect(
            correlation(
              a.map((x) => -x),
              b,
            ),
          ).toBeCloseTo(-value, 12);
        }
      }),
    );
  });
});
