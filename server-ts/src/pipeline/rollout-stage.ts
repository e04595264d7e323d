import type { Recipe } from '../config/recipe.js';
import { type Allocation, AllocationMapper } from '../core/allocation-map.js';
import type { PreparedModel, Rollout, RolloutGroup, RolloutPlan } from '../core/types.js';
import type { ArtifactStore, TaskContext, Trainer } from './ports.js';
import type { RewardStage } from './reward-stage.js';
import { encodeMaps, imagePath, keepsArtifacts, mapsPath } from './rollout-artifacts.js';
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
    const allocation = stopwatch.timeNow('allocation', () => allocate(rollout, group));
    allocations.set(rollout.rolloutId, allocation);
    if (keeps) await keep(input, group, rollout, allocation);
  });
  return { allocations };
}

/** Writes picture and maps while the worker samples: after the update, nobody would have anything else to do. */
async function keep(
  { artifacts, context, plan }: RolloutStageInput,
  group: RolloutGroup,
  { rolloutId, image }: Rollout,
  allocation: Allocation | null,
): Promise<void> {
  const writes = [artifacts.put(context.runId, imagePath(plan.iteration, rolloutId), image)];
  if (allocation !== null) {
    const maps = encodeMaps(group, rolloutId, allocation);
    writes.push(artifacts.put(context.runId, mapsPath(plan.iteration, rolloutId), maps));
  }
  await Promise.all(writes);
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
