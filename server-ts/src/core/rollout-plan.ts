import { coreContentOf } from './core-content.js';
import { StarError } from './errors.js';
import { type ScheduleKind, sampleSigmas } from './schedule.js';
import { deriveSeed, deriveUniform, promptHash } from './seeds.js';
import type { PromptRecord, RolloutGroup, RolloutPlan, RolloutSpec, Task } from './types.js';

/** Where the stochastic window lies from iteration to iteration (flow-grpo-reference 1.8 and 1.9). */
export type WindowMove =
  | { readonly kind: 'fixed' }
  | { readonly kind: 'random'; readonly lastStart: number }
  | { readonly kind: 'sliding'; readonly lastStart: number; readonly stride: number; readonly every: number };

/** The parts of a recipe that decide a plan. */
export interface PlanSettings {
  readonly task: Task;
  readonly seed: number;
  readonly prompts: {
    readonly tagWeights: Readonly<Record<string, number>> | null;
    readonly groupsPerIteration: number;
    readonly groupSize: number;
  };
  readonly sampling: {
    readonly numInferenceSteps: number;
    readonly schedule: ScheduleKind;
    readonly shift: number;
    readonly windowStart: number;
    readonly windowSize: number;
    readonly windowMove: WindowMove;
  };
  readonly evaluation: { readonly numInferenceSteps: number; readonly promptCount: number; readonly seed: number };
  readonly allocation: { readonly sigmaRange: readonly [number, number] } | null;
  readonly objective: { readonly kind: 'policy_gradient' | 'forward_process' };
}

/**
 * Rollouts of one iteration: a pure function of its arguments. Prompts are drawn by tag weight, without replacement within the
 * iteration while there are any left; every draw has its own derived seed.
 *
 * @param prompts training prompts
 * @param iteration >= 0
 * @throws StarError PROMPT_INVALID when no prompt has a tag with positive weight
 */
export function rolloutPlan(settings: PlanSettings, prompts: readonly PromptRecord[], iteration: number): RolloutPlan {
  const { sampling } = settings;
  const sigmas = sampleSigmas(sampling.schedule, sampling.numInferenceSteps, sampling.shift);
  const windowStart = windowStartAt(settings, iteration);
  const steps = captureSteps(settings, sigmas, windowStart);
  const groups = drawPrompts(settings, prompts, iteration).map((prompt, promptIndex) => {
    const rollouts = Array.from({ length: settings.prompts.groupSize }, (_, rolloutIndex) => ({
      rolloutId: `${iteration}-${promptIndex}-${rolloutIndex}`,
      rolloutIndex,
      seed: deriveSeed(settings.seed, 'rollout', iteration, promptIndex, rolloutIndex),
    }));
    return group(settings.task, prompt, promptIndex, rollouts, steps);
  });
  return { iteration, sigmas, windowStart, windowSize: sampling.windowSize, keepTrajectory: true, groups };
}

/**
 * First stochastic step of an iteration; all groups share it, so that batches keep one shape.
 *
 * @returns windowStart <= step <= lastStart
 */
export function windowStartAt({ seed, sampling }: Pick<PlanSettings, 'seed' | 'sampling'>, iteration: number): number {
  const { windowStart, windowMove } = sampling;
  if (windowMove.kind === 'fixed') return windowStart;
  const span = windowMove.lastStart - windowStart;
  if (windowMove.kind === 'random') {
    return windowStart + Math.floor(deriveUniform(seed, 'window', iteration) * (span + 1));
  }
  const places = Math.floor(span / windowMove.stride) + 1;
  return windowStart + (Math.floor(iteration / windowMove.every) % places) * windowMove.stride;
}

/**
 * Pictures of an evaluation: always the same prompts and noise, so that evaluations are paired. Tags with a positive weight
 * take turns; within a tag prompts follow the file and start again with new noise when there are too few.
 *
 * @param prompts held-out prompts
 * @param iteration written into the plan; does not change what is drawn
 * @throws StarError PROMPT_INVALID when no prompt has a tag with positive weight
 */
export function evaluationPlan(
  settings: PlanSettings,
  prompts: readonly PromptRecord[],
  iteration: number,
): RolloutPlan {
  const { evaluation, sampling } = settings;
  const pools = [...tagPools(prompts, settings.prompts.tagWeights).values()];
  const groups = Array.from({ length: evaluation.promptCount }, (_, promptIndex) => {
    const { records } = at(pools, promptIndex % pools.length);
    const prompt = at(records, Math.floor(promptIndex / pools.length) % records.length);
    const seed = deriveSeed(evaluation.seed, 'evaluation', promptIndex);
    const rollouts = [{ rolloutId: `eval-${promptIndex}-0`, rolloutIndex: 0, seed }];
    return group(settings.task, prompt, promptIndex, rollouts, []);
  });
  const sigmas = sampleSigmas(sampling.schedule, evaluation.numInferenceSteps, sampling.shift);
  return { iteration, sigmas, windowStart: 0, windowSize: 0, keepTrajectory: false, groups };
}

/**
 * Steps whose attention is read: sigma of x_t inside the allocation's range and, for the policy gradient, inside the stochastic
 * window (other steps are not trained).
 *
 * @param sigmas T + 1 values
 * @param windowStart first stochastic step
 * @returns ascending step indexes
 */
export function captureSteps(
  settings: Pick<PlanSettings, 'allocation' | 'objective' | 'sampling'>,
  sigmas: readonly number[],
  windowStart: number,
): number[] {
  const { allocation, objective, sampling } = settings;
  if (allocation === null) return [];
  const [low, high] = allocation.sigmaRange;
  const windowed = objective.kind === 'policy_gradient';
  return sigmas.slice(0, -1).flatMap((sigma, step) => {
    const inWindow = step >= windowStart && step < windowStart + sampling.windowSize;
    return sigma >= low && sigma <= high && (inWindow || !windowed) ? [step] : [];
  });
}

interface TagPool {
  readonly weight: number;
  readonly records: readonly PromptRecord[];
}

function group(
  task: Task,
  prompt: PromptRecord,
  promptIndex: number,
  rollouts: readonly RolloutSpec[],
  steps: readonly number[],
): RolloutGroup {
  const coreContent = coreContentOf(task, prompt);
  const capture = coreContent.concepts.length === 0 ? [] : steps;
  return { promptIndex, prompt, promptHash: promptHash(prompt.prompt), rollouts, coreContent, captureSteps: capture };
}

function drawPrompts(settings: PlanSettings, prompts: readonly PromptRecord[], iteration: number): PromptRecord[] {
  const pools = [...tagPools(prompts, settings.prompts.tagWeights).values()];
  let left = pools.map((pool) => ({ weight: pool.weight, records: [...pool.records] }));
  return Array.from({ length: settings.prompts.groupsPerIteration }, (_, slot) => {
    if (left.every((pool) => pool.records.length === 0)) {
      left = pools.map((pool) => ({ weight: pool.weight, records: [...pool.records] }));
    }
    const open = left.filter((pool) => pool.records.length > 0);
    const pool = chooseByWeight(open, deriveUniform(settings.seed, 'tag', iteration, slot));
    const place = Math.floor(deriveUniform(settings.seed, 'prompt', iteration, slot) * pool.records.length);
    return at(pool.records.splice(place, 1), 0);
  });
}

function chooseByWeight<T extends { readonly weight: number }>(pools: readonly T[], uniform: number): T {
  let rest = uniform * pools.reduce((sum, pool) => sum + pool.weight, 0);
  for (const pool of pools) {
    rest -= pool.weight;
    if (rest < 0) return pool;
  }
  return at(pools, pools.length - 1);
}

/** Prompts by tag, in the order of the weights; one pool for all without weights. */
function tagPools(
  prompts: readonly PromptRecord[],
  tagWeights: Readonly<Record<string, number>> | null,
): Map<string, TagPool> {
  const pools = new Map<string, TagPool>();
  if (tagWeights === null && prompts.length > 0) pools.set('', { weight: 1, records: prompts });
  for (const [tag, weight] of Object.entries(tagWeights ?? {})) {
    const records = prompts.filter((prompt) => prompt.tag === tag);
    if (weight <= 0) continue;
    if (records.length === 0) {
      const known = [...new Set(prompts.map((prompt) => prompt.tag))].join(', ');
      throw new StarError(
        'PROMPT_INVALID',
        `tagWeights names "${tag}", but no prompt has that tag; tags are: ${known}`,
      );
    }
    pools.set(tag, { weight, records });
  }
  if (pools.size > 0) return pools;
  throw new StarError('PROMPT_INVALID', 'no prompt to draw: give at least one tag a positive weight');
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new StarError('INTERNAL', `no element ${index} in a list of ${list.length}`);
  return item;
}
