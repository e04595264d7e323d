import type { GroupAdvantages } from '../core/advantages.js';
import type { Allocation } from '../core/allocation-map.js';
import { lossMask } from '../core/loss-mask.js';
import type { LossMask, RolloutPlan } from '../core/types.js';
import type { RewardStage } from './reward-stage.js';
import type { Stopwatch } from './stopwatch.js';

/**
 * Loss masks in the order of the plan, each group as soon as its advantages are known. Time that the reader waits for
 * scores counts as `worker_wait`.
 *
 * @throws StarError when too few rollouts of the iteration got a reward
 */
export async function* lossMasks(
  plan: RolloutPlan,
  rewards: RewardStage,
  allocations: ReadonlyMap<string, Allocation | null>,
  stopwatch: Stopwatch,
): AsyncGenerator<LossMask> {
  for (const [index, group] of plan.groups.entries()) {
    const advantages = await stopwatch.time('worker_wait', () => rewards.advantages(index));
    // Before the last group leaves: without the end of the stream the worker does not train.
    if (index === plan.groups.length - 1) await rewards.quorum();
    for (const [position, { rolloutId }] of group.rollouts.entries()) {
      yield lossMask(rolloutId, advantageAt(advantages, position), allocations.get(rolloutId) ?? null);
    }
  }
}

function advantageAt(group: GroupAdvantages, position: number): number | null {
  return group.advantages[position] ?? null;
}
