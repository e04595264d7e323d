import type { MaybeReward } from './advantages.js';
import { kendallCorrelation, spearmanCorrelation } from './rank-correlation.js';
import { type AdvantageSettings, rewardAdvantages, rewardNumbers } from './reward-advantages.js';
import type { Reward } from './types.js';

/** What one reward says of the pictures of a group, in their order. */
export interface JudgedGroup {
  /** Null: missing. */
  readonly rewards: readonly MaybeReward[];
  readonly advantages: readonly MaybeReward[];
}

/** One group under two rewards: the same pictures in the same order. */
export interface ComparedGroup {
  readonly before: JudgedGroup;
  readonly after: JudgedGroup;
}

/** Mean and population standard deviation, in the unit of the reward. */
export interface RewardSpread {
  readonly mean: number;
  readonly standardDeviation: number;
}

/** How far two rewards agree on the same pictures. Null: nothing to compare. */
export interface RewardComparison {
  readonly groupCount: number;
  readonly pictureCount: number;
  /** Pictures that both rewards have a number for; spreads are over these. */
  readonly bothCount: number;
  readonly missingBefore: number;
  readonly missingAfter: number;
  readonly before: RewardSpread | null;
  readonly after: RewardSpread | null;
  /** Share of pictures with two advantages whose advantages have the same sign (0 is a sign of its own), 0..1. */
  readonly agreement: number | null;
  /** Share of the same pictures that one reward would reinforce and the other would suppress, 0..1. */
  readonly flipped: number | null;
  /** Groups in which both rewards tell at least two pictures apart; the correlations are means over these. */
  readonly rankedGroupCount: number;
  /** Mean of Spearman's rho inside groups, -1..1. */
  readonly spearman: number | null;
  /** Mean of Kendall's tau-b inside groups, -1..1. */
  readonly kendall: number | null;
}

/** Rewards of the groups of one iteration with the advantages that they give. */
export function judgedGroups(groups: readonly (readonly Reward[])[], settings: AdvantageSettings): JudgedGroup[] {
  const advantages = rewardAdvantages(groups, settings);
  return groups.map((rewards, index) => ({
    rewards: rewardNumbers(rewards),
    advantages: advantages[index]?.advantages ?? [],
  }));
}

type Pair = readonly [before: number, after: number];

/** Compares two rewards on the same groups. Rewards are compared inside groups only, because advantages are. */
export function compareRewards(groups: readonly ComparedGroup[]): RewardComparison {
  const rewards = groups.map(({ before, after }) => pairs(before.rewards, after.rewards));
  const advantages = groups.flatMap(({ before, after }) => pairs(before.advantages, after.advantages));
  const spearman = rewards.flatMap((pairsOfGroup) => correlate(pairsOfGroup, spearmanCorrelation));
  const kendall = rewards.flatMap((pairsOfGroup) => correlate(pairsOfGroup, kendallCorrelation));
  const both = rewards.flat();
  return {
    groupCount: groups.length,
    pictureCount: groups.reduce((sum, { before }) => sum + before.rewards.length, 0),
    bothCount: both.length,
    missingBefore: missing(groups.map(({ before }) => before)),
    missingAfter: missing(groups.map(({ after }) => after)),
    before: spread(both.map(([before]) => before)),
    after: spread(both.map(([, after]) => after)),
    agreement: share(advantages, ([before, after]) => Math.sign(before) === Math.sign(after)),
    flipped: share(advantages, ([before, after]) => before * after < 0),
    rankedGroupCount: spearman.length,
    spearman: mean(spearman),
    kendall: mean(kendall),
  };
}

function pairs(before: readonly MaybeReward[], after: readonly MaybeReward[]): Pair[] {
  return before.flatMap((value, index) => {
    const other = after[index] ?? null;
    return value === null || other === null ? [] : [[value, other] as const];
  });
}

function correlate(
  pairsOfGroup: readonly Pair[],
  correlation: (a: readonly number[], b: readonly number[]) => number | null,
): number[] {
  const [before, after] = [pairsOfGroup.map(([value]) => value), pairsOfGroup.map(([, value]) => value)];
  return [correlation(before, after)].filter((value) => value !== null);
}

function missing(groups: readonly JudgedGroup[]): number {
  return groups.flatMap(({ rewards }) => rewards).filter((reward) => reward === null).length;
}

function spread(values: readonly number[]): RewardSpread | null {
  const center = mean(values);
  const variance = center === null ? null : mean(values.map((value) => (value - center) ** 2));
  return center === null || variance === null ? null : { mean: center, standardDeviation: Math.sqrt(variance) };
}

function share(pairsOfAll: readonly Pair[], holds: (pair: Pair) => boolean): number | null {
  return mean(pairsOfAll.map((pair) => Number(holds(pair))));
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
