import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkAdvantages } from '../golden/check-method.js';
import { batchStandardDeviation, groupAdvantages, iterationAdvantages } from './advantages.js';

const rewards = fc.array(fc.option(fc.double({ min: -20, max: 20, noNaN: true }), { nil: null }), { maxLength: 24 });

describe('advantages', () => {
  it('reproduces the independent reference', () => {
    const text = readFileSync(new URL('../../../golden/advantages.json', import.meta.url), 'utf8');
    expect(checkAdvantages(text).every((comparison) => comparison === null)).toBe(true);
  });

  it('leaves missing rewards out instead of counting them as 0', () => {
    const with0 = groupAdvantages([1, 0, null, 1], 5);
    expect(with0.advantages[2]).toBeNull();
    expect(with0.validCount).toBe(3);
    expect(with0.mean).toBeCloseTo(2 / 3, 12);
    expect([with0.advantages[0], with0.advantages[1]]).toEqual(groupAdvantages([1, 0, 1], 5).advantages.slice(0, 2));
  });

  it('drops a group with fewer than two rewards', () => {
    expect(groupAdvantages([null, 1, null], 5)).toMatchObject({ dropped: true, advantages: [null, null, null] });
    expect(groupAdvantages([null], 5)).toMatchObject({ dropped: true, mean: null, standardDeviation: null });
  });

  it('gives exactly 0 to equal rewards, also where their mean is not exact', () => {
    const result = groupAdvantages([0.1, 0.1, 0.1, null], 5, 0.4);
    expect(result).toMatchObject({ zeroVariance: true, advantages: [0, 0, 0, null] });
  });

  it('clips and counts', () => {
    const result = groupAdvantages([0, 0, 0, 0, 1], 1.5);
    expect(result.advantages[4]).toBe(1.5);
    expect(result.clippedCount).toBe(1);
  });

  it('sums to 0 in every group, below the clip', () => {
    fc.assert(
      fc.property(fc.array(rewards, { maxLength: 5 }), (groups) => {
        for (const group of iterationAdvantages(groups, { standardDeviation: 'group', clip: 100 })) {
          const sum = group.advantages.reduce<number>((total, value) => total + (value ?? 0), 0);
          expect(Math.abs(sum)).toBeLessThan(1e-7);
        }
      }),
    );
  });

  it('uses all valid rewards of the iteration for the batch deviation', () => {
    const groups = [[0, 1], [1], [null, 0]];
    expect(batchStandardDeviation(groups)).toBeCloseTo(0.5, 12);
    const [first] = iterationAdvantages(groups, { standardDeviation: 'batch', clip: 5 });
    expect(first?.advantages[1]).toBeCloseTo(0.5 / 0.5001, 12);
    expect(batchStandardDeviation([[null]])).toBeNull();
  });
});
