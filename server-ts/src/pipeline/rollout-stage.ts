import type { Recipe } from '../config/recipe.js';
import { type Allocation, AllocationMapper } from '../core/allocation-map.js';
import type { PreparedModel, Rollout, RolloutGroup, RolloutPlan } from '../core/types.js';
import type { ArtifactStore, TaskContext, Trainer } from './ports.js';
import type { RewardStage } from './reward-stage.js';
import { imagePath, keepsArtifacts } from './rollout-artifacts.js';
import type { Stopwatch } from './stopwatch.js';

/** What sampling leaves behind beside the pictures, which the reward stage has. */
export interface SampledRollouts {
  /** By rollout id; null: weight 1 everywhere. */
  readonly allocations: ReadonlyMap<string, Allocation | null>;
}

/** Everything that sampling needs. */
export interface RolloutStageInput {
  readonly context: TaskContext;
  readonly recipe: Recipe;
  readonly model: PreparedModel;
  readonly plan: RolloutPlan;
  readonly trainer: Trainer;
  readonly artifacts: ArtifactStore;
  readonly rewards: RewardStage;
  readonly stopwatch: Stopwatch;
}

/**
 * Samples a plan. While the worker goes on, every rollout that arrives gets its allocation maps, and every group that is
 * complete goes to the scorers.
 */
export async function sampleRollouts(input: RolloutStageInput): Promise<SampledRollouts> {
  const { context, recipe, plan, stopwatch } = input;
  const allocate = allocator(recipe, input.model);
  const allocations = new Map<string, Allocation | null>();
  const places = placesOf(plan);
  const keeps = keepsArtifacts(plan.iteration, recipe.iterations);
  await input.trainer.rollout(context, plan, async (rollout) => {
    const groupIndex = places.get(rollout.rolloutId) as number;
    const group = plan.groups[groupIndex] as RolloutGroup;
    input.rewards.take(groupIndex, rollout.image);
    allocations.set(
      rollout.rolloutId,
      stopwatch.timeNow('allocation', () => allocate(rollout, group)),
    );
    if (keeps) await input.artifacts.put(context.runId, imagePath(plan.iteration, rollout.rolloutId), rollout.image);
  });
  return { allocations };
}

function allocator(recipe: Recipe, model: PreparedModel): (rollout: Rollout, group: RolloutGroup) => Allocation | null {
  if (recipe.allocation === null) return () => null;
  const mapper = new AllocationMapper(model.tokenRows, model.tokenColumns, recipe.allocation);
  return ({ attention }, group) => (attention === null ? null : mapper.map(attention, group.coreContent.concepts));
}

/** Rollout id to index of its group. */
function placesOf(plan: RolloutPlan): Map<string, number> {
  return new Map(
    plan.groups.flatMap((group, index) => group.rollouts.map(({ rolloutId }) => [rolloutId, index] as const)),
  );
}
