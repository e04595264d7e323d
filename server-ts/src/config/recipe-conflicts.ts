import type { Recipe } from './recipe.js';
import { componentConflicts, monitorConflicts } from './reward-conflicts.js';

/** Fields that do not fit together. */
export interface RecipeConflict {
  /** Field to change. */
  readonly path: readonly string[];
  /** Received values, why they do not work, and the fix. */
  readonly message: string;
}

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
  const end = sampling.windowStart + sampling.windowSize;
  if (sampling.windowSize === 0 || end <= sampling.numInferenceSteps - 1) return [];
  const received = `windowStart ${sampling.windowStart} + windowSize ${sampling.windowSize} = ${end}`;
  const most = `at most numInferenceSteps - 1 = ${sampling.numInferenceSteps - 1}`;
  return [conflict('sampling.windowSize', `${received} must be ${most}: the last step goes to sigma 0 without noise`)];
}

function objectiveConflicts({ objective, sampling, allocation }: Recipe): RecipeConflict[] {
  if (objective.kind === 'forward_process') {
    if (sampling.windowSize === 0) return [];
    const message = `received ${sampling.windowSize}; forward_process needs ODE rollouts, set 0`;
    return [conflict('sampling.windowSize', message)];
  }
  const found: RecipeConflict[] = [];
  if (sampling.windowSize === 0) {
    found.push(
      conflict('sampling.windowSize', 'received 0; policy_gradient trains the stochastic steps, set at least 1'),
    );
  } else if (sampling.noiseLevel === 0) {
    found.push(conflict('sampling.noiseLevel', 'received 0; policy_gradient needs noise, set a value above 0'));
  }
  if (objective.ratioLevel === 'rollout' && allocation !== null) {
    const message =
      'received "rollout" with an allocation; one ratio per picture cannot be weighted by position, use "position"';
    found.push(conflict('objective.ratioLevel', `${message} or allocation: null`));
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
  const other = reward.components.find(({ scorer }) => scorer !== 'image_text' && scorer !== task);
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
