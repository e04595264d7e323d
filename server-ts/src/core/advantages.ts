/** Keeps the division defined for groups of equal rewards, as in Flow-GRPO (flow-grpo-reference 2.3). */
export const ADVANTAGE_EPSILON = 1e-4;

/** A reward of a group; null: missing. */
export type MaybeReward = number | null;

/** Advantages of one group with what they came from. */
export interface GroupAdvantages {
  /** Per rollout, within +-clip; null: no reward, or the group was dropped. */
  readonly advantages: readonly MaybeReward[];
  /** Rollouts with a reward. */
  readonly validCount: number;
  /** Mean of the valid rewards; null: none. */
  readonly mean: number | null;
  /** Population standard deviation of the valid rewards; null: none. */
  readonly standardDeviation: number | null;
  /** Fewer than 2 valid rewards: nothing to compare, all advantages are null. */
  readonly dropped: boolean;
  /** All valid rewards are equal: all advantages are exactly 0. */
  readonly zeroVariance: boolean;
  /** Advantages that the clip changed. */
  readonly clippedCount: number;
}

/**
 * Group-relative advantages, float64: (reward - group mean) / (standard deviation + 1e-4), clipped. Missing rewards are left
 * out of the statistics.
 *
 * @param clip > 0
 * @param standardDeviation that of the iteration (`batchStandardDeviation`); left out: that of the group, so that a group can
 * be finished as soon as its rewards are known
 */
export function groupAdvantages(
  rewards: readonly MaybeReward[],
  clip: number,
  standardDeviation?: number,
): GroupAdvantages {
  const valid = rewards.filter((reward) => reward !== null);
  const mean = valid.length === 0 ? null : meanOf(valid);
  const own = mean === null ? null : deviationOf(valid, mean);
  const statistics = { validCount: valid.length, mean, standardDeviation: own };
  if (mean === null || own === null || valid.length < 2) {
    const advantages = rewards.map(() => null);
    return { ...statistics, advantages, dropped: true, zeroVariance: false, clippedCount: 0 };
  }
  const zeroVariance = valid.every((reward) => reward === valid[0]);
  const scale = (standardDeviation ?? own) + ADVANTAGE_EPSILON;
  const raw = rewards.map((reward) => (reward === null ? null : zeroVariance ? 0 : (reward - mean) / scale));
  const advantages = raw.map((value) => (value === null ? null : Math.max(-clip, Math.min(clip, value))));
  const clippedCount = raw.filter((value) => value !== null && Math.abs(value) > clip).length;
  return { ...statistics, advantages, dropped: false, zeroVariance, clippedCount };
}

/**
 * Population standard deviation of all valid rewards of an iteration, groups of one included, as in Flow-GRPO's `global_std`.
 *
 * @returns null when there is no valid reward
 */
export function batchStandardDeviation(groups: readonly (readonly MaybeReward[])[]): number | null {
  const valid = groups.flat().filter((reward) => reward !== null);
  return valid.length === 0 ? null : deviationOf(valid, meanOf(valid));
}

/**
 * Advantages of a whole iteration.
 *
 * @returns one entry per group, in order
 */
export function iterationAdvantages(
  groups: readonly (readonly MaybeReward[])[],
  settings: { readonly standardDeviation: 'group' | 'batch'; readonly clip: number },
): GroupAdvantages[] {
  const shared = settings.standardDeviation === 'batch' ? (batchStandardDeviation(groups) ?? undefined) : undefined;
  return groups.map((rewards) => groupAdvantages(rewards, settings.clip, shared));
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function deviationOf(values: readonly number[], mean: number): number {
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
