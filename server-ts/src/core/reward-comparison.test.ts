import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupAdvantages, type MaybeReward } from './advantages.js';
import { type ComparedGroup, compareRewards } from './reward-comparison.js';

const judged = (rewards: readonly MaybeReward[]) => ({ rewards, advantages: groupAdvantages(rewards, 5).advantages });
const group = (before: readonly MaybeReward[], after: readonly MaybeReward[]): ComparedGroup => ({
  before: judged(before),
  after: judged(after),
});

describe('comparison of two rewards', () => {
  it('counts what is missing, and compares the pictures that both have', () => {
    const compared = compareRewards([group([0, 1, null, 1], [2, 1, 3, null]), group([null, null], [1, 2])]);
    expect(compared).toMatchObject({
      groupCount: 2,
      pictureCount: 6,
      bothCount: 2,
      missingBefore: 3,
      missingAfter: 1,
      before: { mean: 0.5, standardDeviation: 0.5 },
      after: { mean: 1.5, standardDeviation: 0.5 },
      agreement: 0,
      rankedGroupCount: 1,
      spearman: -1,
      kendall: -1,
    });
    // Picture 0: -, then 0 (2 is the mean of 2, 1, 3). Picture 1: + then -.
    expect(compared.flipped).toBe(0.5);
  });

  it('is null, not 0, where nothing can be compared', () => {
    expect(compareRewards([group([null, 1], [1, null])])).toMatchObject({
      bothCount: 0,
      before: null,
      after: null,
      agreement: null,
      flipped: null,
      spearman: null,
      kendall: null,
    });
  });

  const rewards = fc.array(fc.array(fc.option(fc.integer({ min: 0, max: 4 })), { maxLength: 8 }), { maxLength: 4 });

  it('of a reward with itself, or with another scale of it, is perfect', () => {
    fc.assert(
      fc.property(rewards, fc.double({ min: 0.1, max: 50, noNaN: true }), (groups, scale) => {
        const scaled = (values: readonly MaybeReward[]) => values.map((each) => (each === null ? null : each * scale));
        const compared = compareRewards(groups.map((each) => group(each, scaled(each))));
        expect(compared.flipped ?? 0).toBe(0);
        expect(compared.spearman ?? 1).toBeCloseTo(1, 12);
        expect(compared.kendall ?? 1).toBeCloseTo(1, 12);
        expect(compared.missingBefore).toBe(compared.missingAfter);
      }),
    );
  });

  it('mirrors when the two change places', () => {
    fc.assert(
      fc.property(rewards, rewards, (a, b) => {
        const groups = a.map((each, index) =>
          group(
            each,
            each.map((_, place) => b[index]?.[place] ?? null),
          ),
        );
        const there = compareRewards(groups);
        const back = compareRewards(groups.map(({ before, after }) => ({ before: after, after: before })));
        expect(back).toMatchObject({
          before: there.after,
          after: there.before,
          missingBefore: there.missingAfter,
          agreement: there.agreement,
          flipped: there.flipped,
          rankedGroupCount: there.rankedGroupCount,
        });
        expect(back.spearman ?? 9).toBeCloseTo(there.spearman ?? 9, 12);
      }),
    );
  });
});
