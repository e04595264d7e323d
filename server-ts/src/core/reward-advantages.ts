import {
  batchStandardDeviation,
  type GroupAdvantages,
  groupAdvantages,
  iterationAdvantages,
  type MaybeReward,
} from './advantages.js';
import type { Reward } from './types.js';

/** How rewards become advantages. */
export interface AdvantageSettings {
  /** `standardized`: every component by itself, then summed by weight. */
  readonly combination: 'weighted_sum' | 'standardized';
  readonly standardDeviation: 'group' | 'batch';
  /** > 0. */
  readonly clip: number;
  readonly terms: readonly { readonly name: string; readonly weight: number }[];
}

/**
 * Advantages of an iteration.
 *
 * @returns one entry per group, in order
 */
export function rewardAdvantages(
  groups: readonly (readonly Reward[])[],
  settings: AdvantageSettings,
): GroupAdvantages[] {
  if (settings.combination === 'standardized') return standardizedAdvantages(groups, settings);
  return iterationAdvantages(groups.map(rewardNumbers), settings);
}

/** Rewards of a group as numbers; null: none. */
export function rewardNumbers(rewards: readonly Reward[]): MaybeReward[] {
  return rewards.map((reward) => (reward.kind === 'value' ? reward.reward : null));
}

/**
 * GDPO (arXiv 2601.05242, equations 4 to 6): the advantages of every component are formed by themselves, summed by weight,
 * and divided by the standard deviation of the sums over the batch. So a component with a wide range does not drown the
 * others, and pictures that reach the same sum in different ways stay apart. The batch mean of the sums is 0 in every group
 * by construction and is not subtracted, which keeps groups of equal rewards at exactly 0. Rollouts without a reward are left
 * out of every component's statistics. Mean and deviation of the result are those of the weighted sum.
 */
function standardizedAdvantages(
  groups: readonly (readonly Reward[])[],
  settings: AdvantageSettings,
): GroupAdvantages[] {
  const sums = groups.map((rewards) => rewards.map((reward): MaybeReward => (reward.kind === 'value' ? 0 : null)));
  for (const { name, weight } of settings.terms) {
    if (weight === 0) continue;
    const columns = groups.map((rewards) => rewards.map((reward) => componentOf(reward, name)));
    iterationAdvantages(columns, { ...settings, clip: Infinity }).forEach(({ advantages }, group) => {
      const row = sums[group] as MaybeReward[];
      advantages.forEach((value, index) => {
        if (row[index] !== null) row[index] = (row[index] as number) + weight * (value ?? 0);
      });
    });
  }
  const comparable = sums.filter((row) => row.filter((value) => value !== null).length > 1);
  const deviation = batchStandardDeviation(comparable) ?? undefined;
  return sums.map((row, index) => {
    const own = groupAdvantages(row, settings.clip, deviation);
    const { mean, standardDeviation } = groupAdvantages(rewardNumbers(groups[index] as Reward[]), settings.clip);
    return { ...own, mean, standardDeviation };
  });
}

function componentOf(reward: Reward, name: string): MaybeReward {
  return reward.kind === 'value' ? (reward.components[name] ?? null) : null;
}
