import type { GroupAdvantages } from './advantages.js';
import { type AllocationStatistics, FALLBACK_REASONS } from './allocation-map.js';
import { type ComponentGroups, componentMetrics, distribution, mean } from './component-metrics.js';
import type { Reward } from './types.js';

/** What one iteration leaves behind on the control plane's side. */
export interface IterationOutcome {
  /** Per group, per rollout. */
  readonly rewards: readonly (readonly Reward[])[];
  /** Per group, per rollout: what every component says. */
  readonly components: ComponentGroups;
  /** Per group, same order. */
  readonly advantages: readonly GroupAdvantages[];
  /** Per allocation map (rollout and step); empty without allocation. */
  readonly allocation: readonly AllocationStatistics[];
}

/**
 * Metrics of an iteration (docs/metrics.md). Names of numbers that cannot be computed are absent; they are never 0.
 *
 * @returns finite numbers by name
 */
export function iterationMetrics(outcome: IterationOutcome): Record<string, number> {
  return {
    ...rewardMetrics(outcome.rewards.flat()),
    ...componentMetrics(outcome.components),
    ...groupMetrics(outcome.advantages),
    ...allocationMetrics(outcome.allocation),
  };
}

/** Mean, spread and range of rewards, abstentions, and missing rewards by reason. */
export function rewardMetrics(rewards: readonly Reward[]): Record<string, number> {
  const values = rewards.flatMap((reward) => (reward.kind === 'value' ? [reward.reward] : []));
  const failures = rewards.flatMap((reward) => (reward.kind === 'missing' ? [reward.failure] : []));
  const abstained = rewards.length - values.length - failures.length;
  const metrics: Record<string, number> = { reward_count: values.length, reward_missing_count: failures.length };
  if (abstained > 0) metrics.reward_abstained_count = abstained;
  for (const { reason } of failures) {
    const name = `reward_missing_${reason.toLowerCase()}_count`;
    metrics[name] = (metrics[name] ?? 0) + 1;
  }
  return { ...metrics, ...distribution('reward', values) };
}

function groupMetrics(groups: readonly GroupAdvantages[]): Record<string, number> {
  const kept = groups.filter((group) => !group.dropped);
  const advantages = kept.flatMap((group) => group.advantages.filter((value) => value !== null));
  const counts = { group_count: groups.length, group_dropped_count: groups.length - kept.length };
  if (kept.length === 0) return counts;
  return {
    ...counts,
    group_std_mean: mean(kept.flatMap((group) => group.standardDeviation ?? [])),
    zero_std_group_share: mean(kept.map((group) => Number(group.zeroVariance))),
    advantage_abs_mean: mean(advantages.map(Math.abs)),
    advantage_clip_share: kept.reduce((sum, group) => sum + group.clippedCount, 0) / advantages.length,
  };
}

function allocationMetrics(maps: readonly AllocationStatistics[]): Record<string, number> {
  if (maps.length === 0) return {};
  const metrics: Record<string, number> = {
    allocation_map_count: maps.length,
    allocation_fallback_share: mean(maps.map((map) => Number(map.fallback !== null))),
    allocation_concentration_mean: mean(maps.map((map) => map.concentration)),
    allocation_kappa_mean: mean(maps.map((map) => map.kappa)),
    allocation_second_moment_mean: mean(maps.map((map) => map.secondMoment)),
    allocation_weight_max: maps.reduce((largest, map) => Math.max(largest, map.largestWeight), 0),
  };
  for (const reason of FALLBACK_REASONS) {
    const count = maps.filter((map) => map.fallback === reason).length;
    if (count > 0) metrics[`allocation_fallback_${reason}_count`] = count;
  }
  return metrics;
}
