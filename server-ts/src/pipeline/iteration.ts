import type { Recipe } from '../config/recipe.js';
import type { GroupAdvantages } from '../core/advantages.js';
import type { Allocation } from '../core/allocation-map.js';
import { iterationMetrics } from '../core/metric-reduction.js';
import type { MetricHistory } from '../core/reward-monitors.js';
import { rolloutPlan } from '../core/rollout-plan.js';
import { deriveSeed } from '../core/seeds.js';
import type { PreparedModel, PromptRecord, RolloutPlan, UpdateOutcome } from '../core/types.js';
import type { Clock } from './clock.js';
import type {
  ArtifactStore,
  EndRun,
  IterationRecord,
  RewardScorer,
  StoredRollout,
  TaskContext,
  Telemetry,
  Trainer,
} from './ports.js';
import { RewardStage, type ScoredGroup, type ScoringObserver } from './reward-stage.js';
import { componentGroups, watchRewards } from './reward-watch.js';
import { imagePath, keepsArtifacts, mapsPath } from './rollout-artifacts.js';
import { sampleRollouts } from './rollout-stage.js';
import { Stopwatch } from './stopwatch.js';
import { lossMasks } from './update-stage.js';

/** What an iteration works with. */
export interface IterationInput {
  readonly runId: string;
  /** With the reward that is in effect. */
  readonly recipe: Recipe;
  readonly rewardVersion: number;
  readonly iteration: number;
  readonly prompts: readonly PromptRecord[];
  readonly model: PreparedModel;
  /** Asked when the update starts. True: write a checkpoint whatever the recipe says. */
  readonly forceCheckpoint: () => boolean;
  /** Metrics of all earlier iterations; asked for by monitors. */
  readonly history: () => MetricHistory;
  readonly endRun: EndRun;
  readonly trainer: Trainer;
  readonly scorer: RewardScorer;
  readonly onGroupScored: ScoringObserver;
  readonly artifacts: ArtifactStore;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * One iteration: plan, rollout, score, allocate, update, record. Scoring and allocation go on while the worker samples, and
 * the update reads loss masks while later groups are still scored.
 *
 * @returns what to commit; nothing is visible before the store has it
 * @throws StarError as the trainer and the scorers do; nothing works for the iteration any more when it throws
 */
export async function runIteration(input: IterationInput): Promise<IterationRecord> {
  const stopwatch = new Stopwatch(input.clock);
  const done = await stopwatch.time('iteration', () => carryOut(input, stopwatch));
  return iterationRecord(input, done, stopwatch);
}

/** What the stages leave for the record. */
interface DoneIteration {
  readonly groups: readonly ScoredGroup[];
  /** Metrics of the monitors. */
  readonly watched: Readonly<Record<string, number>>;
  readonly advantages: readonly GroupAdvantages[];
  readonly allocations: ReadonlyMap<string, Allocation | null>;
  readonly update: UpdateOutcome;
  readonly rollouts: readonly StoredRollout[];
}

async function carryOut(input: IterationInput, stopwatch: Stopwatch): Promise<DoneIteration> {
  const { recipe, iteration, trainer } = input;
  const scoring = new AbortController();
  const signal = AbortSignal.any([input.signal, scoring.signal]);
  const context = taskContext(input, signal);

  const plan = rolloutPlan(recipe, input.prompts, iteration);
  const rewards = new RewardStage({ ...input, plan, signal });
  try {
    const { allocations } = await stopwatch.time('sampling', () =>
      sampleRollouts({ ...input, context, plan, rewards, stopwatch }),
    );
    // Only a run with monitors waits here: whether this iteration has to make a checkpoint depends on its scores.
    const watched =
      recipe.reward.monitors.length === 0
        ? {}
        : await stopwatch.time('watch', async () => watchRewards(input, await rewards.scored()));
    const work = { seed: deriveSeed(recipe.seed, 'update', iteration), forceCheckpoint: input.forceCheckpoint() };
    const masks = lossMasks(plan, rewards, allocations, stopwatch);
    const update = await stopwatch.time('update', () => trainer.update(context, work, masks));
    const groups = await rewards.scored();
    const advantages = await Promise.all(groups.map((_, index) => rewards.advantages(index)));
    const rollouts = rolloutRows(input, plan, groups, advantages, allocations);
    return { groups, watched, advantages, allocations, update, rollouts };
  } catch (error) {
    scoring.abort(error);
    await rewards.settled();
    throw error;
  }
}

function taskContext(input: IterationInput, signal: AbortSignal): TaskContext {
  const { runId, iteration, telemetry } = input;
  return {
    runId,
    iteration,
    // A policy of version v has completed v iterations.
    policyVersion: iteration,
    signal,
    onProgress: (phase, fraction) => telemetry.event('run.progress', { runId, iteration, phase, fraction }),
  };
}

/** Rows of the rollouts. */
function rolloutRows(
  { iteration, recipe, rewardVersion }: IterationInput,
  plan: RolloutPlan,
  groups: readonly ScoredGroup[],
  advantages: readonly GroupAdvantages[],
  allocations: ReadonlyMap<string, Allocation | null>,
): StoredRollout[] {
  const keeps = keepsArtifacts(iteration, recipe.iterations);
  const rows: StoredRollout[] = [];
  for (const [groupIndex, group] of plan.groups.entries()) {
    for (const [position, { rolloutId, seed }] of group.rollouts.entries()) {
      const allocation = allocations.get(rolloutId) ?? null;
      const reward = groups[groupIndex]?.rewards[position];
      rows.push({
        rolloutId,
        iteration,
        promptIndex: group.promptIndex,
        prompt: group.prompt.prompt,
        tag: group.prompt.tag,
        seed,
        reward: reward?.kind === 'value' ? reward.reward : null,
        advantage: advantages[groupIndex]?.advantages[position] ?? null,
        rewardVersion,
        scores: groups[groupIndex]?.scores[position] ?? {},
        imagePath: keeps ? imagePath(iteration, rolloutId) : null,
        mapsPath: keeps && allocation !== null ? mapsPath(iteration, rolloutId) : null,
      });
    }
  }
  return rows;
}

function iterationRecord(
  { runId, iteration, recipe, rewardVersion }: IterationInput,
  done: DoneIteration,
  stopwatch: Stopwatch,
): IterationRecord {
  const { update } = done;
  const reduced = iterationMetrics({
    rewards: done.groups.map((group) => group.rewards),
    components: componentGroups(done.groups, recipe),
    advantages: done.advantages,
    allocation: [...done.allocations.values()].flatMap((allocation) => allocation?.statistics ?? []),
  });
  return {
    runId,
    iteration,
    metrics: { ...reduced, ...done.watched, ...update.metrics, reward_version: rewardVersion },
    // The worker's phases are parts of `sampling` and `update`; ours win where a name is the same.
    seconds: { ...update.seconds, ...stopwatch.seconds },
    rollouts: done.rollouts,
    checkpointVersion: update.checkpointWritten ? update.policyVersion : null,
  };
}
