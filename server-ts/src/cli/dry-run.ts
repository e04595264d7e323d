import type { Recipe } from '../config/recipe.js';
import { type RecipeSummary, summarizeRecipe } from '../config/recipe-summary.js';

/** What `--dry-run --json` prints. */
export interface DryRunView {
  readonly recipe: Recipe;
  readonly summary: RecipeSummary;
}

/** Resolved recipe with its plan and estimates. */
export function dryRunView(recipe: Recipe): DryRunView {
  return { recipe, summary: summarizeRecipe(recipe) };
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes for people, for example `1.5 MiB`. */
export function bytesText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${UNITS[power]}`;
}

/** What is trained on, then what is only watched. */
function rewardText({ components, combination }: DryRunView['recipe']['reward']): string {
  const trained = components.filter(({ weight }) => weight !== 0);
  const sum = trained.map((part) => {
    const gate = part.gate === null ? '' : ` where ${part.gate.component} >= ${part.gate.atLeast}`;
    return `${part.weight} x ${part.name}.${part.value} (${part.scorer})${gate}`;
  });
  const watched = components
    .filter(({ weight }) => weight === 0)
    .map(({ name, heldOut }) => `; ${heldOut ? 'held out' : 'monitor only'}: ${name}`);
  return `${sum.join(' + ')}${combination === 'standardized' ? ', standardised one by one' : ''}${watched.join('')}`;
}

/** Plan of a recipe as text. */
export function dryRunText({ recipe, summary }: DryRunView): string {
  const { prompts, sampling, model, objective, reward } = recipe;
  const lines: readonly (readonly [string, string])[] = [
    ['recipe', `${recipe.name}${recipe.description === '' ? '' : `: ${recipe.description.trim()}`}`],
    [
      'model',
      `${model.path}, ${model.height}x${model.width}, ${model.precision}, ${model.lora === null ? 'full fine-tune' : `LoRA rank ${model.lora.rank}`}`,
    ],
    ['reward', rewardText(reward)],
    ['objective', `${objective.kind}, ${objective.optimizerSteps} optimiser steps an iteration`],
    [
      'allocation',
      recipe.allocation === null
        ? 'none: one scalar advantage'
        : `strength ${recipe.allocation.strength}, blocks ${recipe.allocation.blocks.join(', ')}`,
    ],
    ['iterations', `${recipe.iterations}, seed ${recipe.seed}, checkpoint every ${recipe.checkpoint.every}`],
    [
      'rollouts',
      `${prompts.groupsPerIteration} prompts x ${prompts.groupSize} = ${summary.rolloutsPerIteration} an iteration, ${summary.rolloutsInAll} in all`,
    ],
    [
      'steps',
      `${sampling.numInferenceSteps} (${sampling.sampler}); trained: ${summary.trainedSteps.join(', ') || 'none'}; attention read: ${summary.captureSteps.join(', ') || 'none'}`,
    ],
    ['sigmas', summary.sigmas.map((sigma) => sigma.toFixed(3)).join(' ')],
    [
      'passes',
      `${summary.samplingPassesPerIteration} sampling and ${summary.updatePassesPerIteration} update passes an iteration`,
    ],
    ['evaluations', `${summary.evaluationCount} of ${summary.picturesPerEvaluation} pictures`],
    [
      'wire',
      `${bytesText(summary.upBytesPerIteration)} up, ${bytesText(summary.downBytesPerIteration)} down an iteration (estimate)`,
    ],
    ['memory', `${bytesText(summary.trajectoryBytes)} of latents kept by the worker (estimate)`],
    ['disk', `${bytesText(summary.diskBytes)} of pictures and maps, without checkpoints (estimate)`],
  ];
  return lines.map(([name, text]) => `${name.padEnd(12)}${text}`).join('\n');
}
