import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkStandardizedAdvantages } from '../golden/check-method.js';
import { iterationAdvantages } from './advantages.js';
import { type AdvantageSettings, rewardAdvantages, rewardNumbers } from './reward-advantages.js';
import type { Reward } from './types.js';

const TERMS = [
  { name: 'a', weight: 1 },
  { name: 'b', weight: 0.5 },
];
const number = fc.double({ min: -20, max: 20, noNaN: true });
const reward = fc
  .option(fc.tuple(number, number))
  .map((pair): Reward => (pair === null ? { kind: 'abstained' } : rewardOf(...pair)));
const groups = fc.array(fc.array(reward, { maxLength: 6 }), { maxLength: 5 });
const settings = (changes: Partial<AdvantageSettings> = {}): AdvantageSettings => ({
  combination: 'standardized',
  standardDeviation: 'group',
  clip: 5,
  terms: TERMS,
  ...changes,
});

function rewardOf(a: number, b: number): Reward {
  return { kind: 'value', reward: a + 0.5 * b, components: { a, b } };
}

function flat(results: readonly { readonly advantages: readonly (number | null)[] }[]): (number | null)[] {
  return results.flatMap(({ advantages }) => advantages);
}

describe('rewardAdvantages', () => {
  it('reproduces the independent reference', () => {
    const text = readFileSync(new URL('../../../golden/standardized_advantages.json', import.meta.url), 'utf8');
    expect(checkStandardizedAdvantages(text).filter((comparison) => comparison !== null)).toEqual([]);
  });

  it('of a weighted sum are those of its numbers, bit for bit', () => {
    fc.assert(
      fc.property(groups, fc.constantFrom('group', 'batch'), (rewards, standardDeviation) => {
        const received = rewardAdvantages(rewards, settings({ combination: 'weighted_sum', standardDeviation }));
        expect(received).toEqual(iterationAdvantages(rewards.map(rewardNumbers), { standardDeviation, clip: 5 }));
      }),
    );
  });

  it('standardised, depend on the surviving rollouts alone and sum to 0 in every group', () => {
    fc.assert(
      fc.property(groups, fc.constantFrom('group', 'batch'), (rewards, standardDeviation) => {
        const chosen = settings({ standardDeviation, clip: 1e9 });
        const all = rewardAdvantages(rewards, chosen);
        const survivors = rewards.map((group) => group.filter(({ kind }) => kind === 'value'));
        expect(flat(all).filter((value) => value !== null)).toEqual(
          flat(rewardAdvantages(survivors, chosen)).filter((value) => value !== null),
        );
        for (const { advantages, dropped, validCount } of all) {
          expect(dropped).toBe(validCount < 2);
          expect(Math.abs(advantages.reduce<number>((sum, value) => sum + (value ?? 0), 0))).toBeLessThan(1e-6);
        }
      }),
    );
  });

  it('standardised, do not change with the range of a component', () => {
    const rows: [number, number][] = [
      [0, 1],
      [0.5, 0],
      [1, 1],
      [0.75, 0.5],
    ];
    const [narrow] = rewardAdvantages([rows.map(([a, b]) => rewardOf(a, b))], settings());
    const [wide] = rewardAdvantages([rows.map(([a, b]) => rewardOf(1000 * a, b))], settings());
    narrow?.advantages.forEach((value, index) => {
      expect(wide?.advantages[index]).toBeCloseTo(value ?? Number.NaN, 3);
    });
  });

  it('standardised, keep groups of equal rewards at exactly 0 and clip', () => {
    const equal = [rewardOf(0.1, 0.3), rewardOf(0.1, 0.3), rewardOf(0.1, 0.3)];
    const far = [...Array.from({ length: 8 }, () => rewardOf(0, 0)), rewardOf(1, 1)];
    const [tied, clipped] = rewardAdvantages([equal, far], settings({ clip: 1.5 }));
    expect(tied).toMatchObject({ zeroVariance: true, advantages: [0, 0, 0] });
    expect(clipped?.advantages.at(-1)).toBe(1.5);
    expect(clipped?.clippedCount).toBe(1);
  });
});
