import type { Recipe } from './recipe.js';
import { componentConflicts, monitorConflicts } from './reward-conflicts.js';

/** Fields that do not fit together. */
export interface RecipeConflict {
  /** Field to change. */
  readonly path: readonly string[];
  /** Received values, why they do not work, and the fix. */
  readonly message: string;
}

/** Scorers that cannot judge prompts of another task; the others take any prompt. */
const NEEDS_ITS_PROMPTS: readonly string[] = ['geneval', 'ocr'];

/** Checks across fields; the schema has checked every field by itself. */
export function recipeConflicts(recipe: Recipe): RecipeConflict[] {
  return [
    ...windowConflicts(recipe),
    ...objectiveConflicts(recipe),
    ...rewardConflicts(recipe),
    ...componentConflicts(recipe),
    ...monitorConflicts(recipe),
    ...batchConflicts(recipe),
    ...allocationConflicts(recipe),
    ...tagConflicts(recipe),
  ];
}

function windowConflicts({ sampling }: Recipe): RecipeConflict[] {
  const { windowStart, windowSize, windowMove, numInferenceSteps } = sampling;
  if (windowSize === 0) {
    if (windowMove.kind === 'fixed') return [];
    return [
      conflict('sampling.windowMove', `received "${windowMove.kind}" with windowSize 0; there is no window to move`),
    ];
  }
  const last = windowMove.kind === 'fixed' ? windowStart : windowMove.lastStart;
  const found: RecipeConflict[] = [];
  if (last < windowStart) {
    found.push(
      conflict('sampling.windowMove.lastStart', `received ${last}; must be at least windowStart ${windowStart}`),
    );
  }
  const end = Math.max(windowStart, last) + windowSize;
  if (end > numInferenceSteps - 1) {
    const name = windowMove.kind === 'fixed' ? 'windowStart' : 'windowMove.lastStart';
    const received = `${name} ${last} + windowSize ${windowSize} = ${end}`;
    const most = `at most numInferenceSteps - 1 = ${numInferenceSteps - 1}`;
    const why = 'the last step goes to sigma 0 without noise';
    found.push(conflict('sampling.windowSize', `${received} must be ${most}: ${why}`));
  }
  return found;
}

function objectiveConflicts(recipe: Recipe): RecipeConflict[] {
  const { objective } = recipe;
  const own =
    objective.kind === 'forward_process'
      ? forwardProcessConflicts(objective, recipe)
      : policyGradientConflicts(objective, recipe);
  if (objective.kl.kind !== 'anchored' || recipe.allocation !== null) return own;
  return [
    ...own,
    conflict('objective.kl.kind', 'received "anchored" without allocation; its anchor follows w, use "mean"'),
  ];
}

type ObjectiveOf<K extends Recipe['objective']['kind']> = Extract<Recipe['objective'], { kind: K }>;

function forwardProcessConflicts(objective: ObjectiveOf<'forward_process'>, { sampling }: Recipe): RecipeConflict[] {
  const found: RecipeConflict[] = [];
  if (sampling.windowSize !== 0) {
    const message = `received ${sampling.windowSize}; forward_process needs ODE rollouts, set 0`;
    found.push(conflict('sampling.windowSize', message));
  }
  if (objective.kl.kind === 'mean' || objective.kl.kind === 'anchored') {
    const message = `received "${objective.kl.kind}"; forward_process has no step means, use "velocity" or "none"`;
    found.push(conflict('objective.kl.kind', message));
  }
  return found;
}

function policyGradientConflicts(objective: ObjectiveOf<'policy_gradient'>, { sampling }: Recipe): RecipeConflict[] {
  const found: RecipeConflict[] = [];
  if (sampling.windowSize === 0) {
    found.push(
      conflict('sampling.windowSize', 'received 0; policy_gradient trains the stochastic steps, set at least 1'),
    );
  } else if (sampling.noiseLevel === 0) {
    found.push(conflict('sampling.noiseLevel', 'received 0; policy_gradient needs noise, set a value above 0'));
  }
  if (sampling.windowSize > 0 && objective.optimizerSteps > sampling.windowSize) {
    const message = `received ${objective.optimizerSteps}; every optimiser step needs trained steps of its own`;
    found.push(conflict('objective.optimizerSteps', `${message}, at most windowSize = ${sampling.windowSize}`));
  }
  if (objective.ratioNorm && sampling.sampler === 'cps') {
    const message = 'received true with sampler cps, whose log-density drops the variance that RatioNorm divides by';
    found.push(conflict('objective.ratioNorm', `${message}; use sampler flow_sde`));
  }
  return found;
}

function rewardConflicts({ reward, task }: Recipe): RecipeConflict[] {
  const names = reward.components.map((component) => component.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  const found: RecipeConflict[] = [];
  if (twice !== undefined) {
    found.push(conflict('reward.components', `two components are named "${twice}"; names must differ`));
  }
  if (reward.components.every((component) => component.weight === 0)) {
    found.push(conflict('reward.components', 'all weights are 0, so there is no reward; give one a weight'));
  }
  const other = reward.components.find(({ scorer }) => NEEDS_ITS_PROMPTS.includes(scorer) && scorer !== task);
  if (other !== undefined) {
    const message = `scorer ${other.scorer} needs prompts of task ${other.scorer}, the recipe's task is ${task}`;
    found.push(conflict('reward.components', message));
  }
  return found;
}

function batchConflicts({ prompts, worker }: Recipe): RecipeConflict[] {
  const rollouts = prompts.groupsPerIteration * prompts.groupSize;
  if (rollouts % worker.microBatchSize === 0) return [];
  const received = `received ${worker.microBatchSize}; it must divide groupsPerIteration x groupSize = ${rollouts}`;
  return [conflict('worker.microBatchSize', `${received}, because the ratio is exactly 1 only for equal batch sizes`)];
}

function allocationConflicts({ allocation, model, task, reward }: Recipe): RecipeConflict[] {
  const found: RecipeConflict[] = [];
  if (allocation !== null) {
    const [low, high] = allocation.sigmaRange;
    if (!(low >= 0 && low < high && high <= 1)) {
      found.push(conflict('allocation.sigmaRange', `received [${low}, ${high}]; needs 0 <= low < high <= 1`));
    }
    if (new Set(allocation.blocks).size !== allocation.blocks.length) {
      found.push(conflict('allocation.blocks', `received [${allocation.blocks.join(', ')}]; every block once`));
    }
  }
  if (model.path.trim() === '') found.push(conflict('model.path', 'is blank; give a folder or a hub id'));
  if (task === 'geneval' && reward.components.every(({ scorer }) => scorer !== 'geneval')) {
    found.push(conflict('reward.components', 'task geneval needs a component with scorer geneval'));
  }
  return found;
}

function tagConflicts({ prompts }: Recipe): RecipeConflict[] {
  if (prompts.tagWeights === null || Object.values(prompts.tagWeights).some((weight) => weight > 0)) return [];
  return [conflict('prompts.tagWeights', 'no tag has a positive weight, so no prompt can be drawn; use null for all')];
}

function conflict(path: string, message: string): RecipeConflict {
  return { path: path.split('.'), message };
}
