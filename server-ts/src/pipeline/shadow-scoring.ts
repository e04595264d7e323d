import type { Recipe } from '../config/recipe.js';
import { compareRewards, type JudgedGroup, judgedGroups, type RewardComparison } from '../core/reward-comparison.js';
import { groupRewards } from '../core/rewards.js';
import type { RewardScorer, ScoreRequest } from './ports.js';
import { isReached, quorumFailure } from './quorum.js';
import { advantageSettings, type ScoredGroup } from './reward-stage.js';

/** A group that the reward in effect has judged, with its pictures. */
export interface ObservedGroup {
  readonly requests: readonly ScoreRequest[];
  readonly inEffect: ScoredGroup;
}

/** The rewards that are compared on the groups of an iteration. */
export interface ShadowInput {
  /** Recipe with the reward in effect. */
  readonly inEffect: Recipe;
  /** Recipe with the staged reward, and its scorer. */
  readonly recipe: Recipe;
  readonly scorer: Promise<RewardScorer>;
  readonly abort: AbortController;
  readonly iteration: number;
}

/**
 * Scores pictures under the staged reward, one group after the other because live work comes first, and compares.
 *
 * @throws StarError when it has a number for too few pictures: it would end the run; CANCELLED on abort; as the scorer does
 */
export async function shadowComparison(
  observed: readonly ObservedGroup[],
  { inEffect, recipe, scorer, abort, iteration }: ShadowInput,
): Promise<RewardComparison> {
  const loaded = await scorer;
  const staged: ScoredGroup[] = [];
  for (const { requests } of observed) {
    const scores = await loaded.score(requests, abort.signal, { priority: 'shadow' });
    staged.push({ scores, rewards: groupRewards(scores, recipe.reward.components) });
  }
  const rewards = staged.flatMap((group) => group.rewards);
  const { share } = recipe.reward.quorum;
  if (!isReached(rewards, share)) throw quorumFailure(iteration, rewards, share);
  const before = observed.map((group) => group.inEffect);
  const after = judged(staged, recipe);
  return compareRewards(judged(before, inEffect).map((each, index) => ({ before: each, after: after[index] ?? each })));
}

function judged(groups: readonly ScoredGroup[], recipe: Recipe): JudgedGroup[] {
  return judgedGroups(
    groups.map(({ rewards }) => rewards),
    advantageSettings(recipe),
  );
}

/** What live views and logs show of a comparison. */
export function comparisonFields(shadow: RewardComparison): Readonly<Record<string, number | null>> {
  const { pictureCount, missingAfter, agreement, flipped, spearman, kendall, before, after } = shadow;
  return {
    pictureCount,
    missingAfter,
    agreement,
    flipped,
    spearman,
    kendall,
    meanBefore: before?.mean ?? null,
    meanAfter: after?.mean ?? null,
    standardDeviationBefore: before?.standardDeviation ?? null,
    standardDeviationAfter: after?.standardDeviation ?? null,
  };
}
