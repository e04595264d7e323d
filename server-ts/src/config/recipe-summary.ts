import { captureSteps } from '../core/rollout-plan.js';
import { sampleSigmas } from '../core/schedule.js';
import type { Recipe } from './recipe.js';

/** What a recipe asks for, before anything runs (`--dry-run`). Byte counts are estimates for the stated latent layout. */
export interface RecipeSummary {
  readonly name: string;
  readonly sigmas: readonly number[];
  /** Steps whose attention is read. */
  readonly captureSteps: readonly number[];
  /** Stochastic steps of policy_gradient; empty for forward_process. */
  readonly trainedSteps: readonly number[];
  readonly rolloutsPerIteration: number;
  readonly rolloutsInAll: number;
  /** Transformer passes over one picture, per iteration, guidance counted twice. */
  readonly samplingPassesPerIteration: number;
  /** Forward and backward passes over one picture, per iteration; the reference and old-policy passes are counted too. */
  readonly updatePassesPerIteration: number;
  readonly evaluationCount: number;
  readonly picturesPerEvaluation: number;
  /** Attention maps and pictures, at most `conceptsPerPrompt` concepts. */
  readonly upBytesPerIteration: number;
  /** Loss masks. */
  readonly downBytesPerIteration: number;
  /** Latents that the worker keeps until the update. */
  readonly trajectoryBytes: number;
  /** Pictures and maps of the whole run on disk, without checkpoints. */
  readonly diskBytes: number;
}

/** Assumptions of the byte counts. */
export interface SummaryAssumptions {
  /** Pixels per image token side: 16 for SD3.5 (8 by the autoencoder, 2 by patches). */
  readonly pixelsPerToken: number;
  /** Latent values per image token: 64 for SD3.5. */
  readonly valuesPerToken: number;
  readonly conceptsPerPrompt: number;
  /** Compressed size of a picture per pixel. */
  readonly pictureBytesPerPixel: number;
}

/** SD3.5's layout, two concepts per prompt, PNG at about 1.5 bytes per pixel. */
export const SD35_ASSUMPTIONS: SummaryAssumptions = {
  pixelsPerToken: 16,
  valuesPerToken: 64,
  conceptsPerPrompt: 2,
  pictureBytesPerPixel: 1.5,
};

/**
 * Resolved plan and estimates of a recipe; pure.
 *
 * @param assumptions layout of the model; the worker reports the true one once it is loaded
 */
export function summarizeRecipe(recipe: Recipe, assumptions: SummaryAssumptions = SD35_ASSUMPTIONS): RecipeSummary {
  const { sampling, prompts, evaluation } = recipe;
  const sigmas = sampleSigmas(sampling.schedule, sampling.numInferenceSteps, sampling.shift);
  const steps = captureSteps(recipe, sigmas, sampling.windowStart);
  const trained = Array.from({ length: sampling.windowSize }, (_, index) => sampling.windowStart + index);
  const rollouts = prompts.groupsPerIteration * prompts.groupSize;
  const bytes = byteCounts(recipe, assumptions, rollouts, steps.length);
  const evaluationCount = evaluationsOf(recipe);
  const pictures = recipe.iterations * rollouts + evaluationCount * evaluation.promptCount;
  return {
    name: recipe.name,
    sigmas,
    captureSteps: steps,
    trainedSteps: trained,
    rolloutsPerIteration: rollouts,
    rolloutsInAll: recipe.iterations * rollouts,
    samplingPassesPerIteration: rollouts * sampling.numInferenceSteps * guidancePasses(recipe),
    updatePassesPerIteration: rollouts * updatePasses(recipe),
    evaluationCount,
    picturesPerEvaluation: evaluation.promptCount,
    upBytesPerIteration: bytes.maps * assumptions.conceptsPerPrompt + rollouts * bytes.picture,
    downBytesPerIteration: bytes.maps,
    trajectoryBytes: bytes.trajectory,
    diskBytes: pictures * bytes.picture + recipe.iterations * bytes.maps,
  };
}

function byteCounts(
  recipe: Recipe,
  assumptions: SummaryAssumptions,
  rollouts: number,
  capturedSteps: number,
): { maps: number; picture: number; trajectory: number } {
  const { model, allocation, sampling } = recipe;
  const tokens =
    Math.ceil(model.height / assumptions.pixelsPerToken) * Math.ceil(model.width / assumptions.pixelsPerToken);
  const mapBytes = allocation?.wire === 'float16' ? 2 : 1;
  const latentBytes = tokens * assumptions.valuesPerToken * 4;
  const keptLatents = keptLatentsOf(recipe.objective, sampling.windowSize);
  return {
    maps: rollouts * capturedSteps * tokens * mapBytes,
    picture: Math.ceil(model.height * model.width * assumptions.pictureBytesPerPixel),
    trajectory: rollouts * keptLatents * latentBytes,
  };
}

/** The policy gradient keeps both ends of every trained step and, if asked, its mean; the forward process the final latent. */
function keptLatentsOf(objective: Recipe['objective'], windowSize: number): number {
  if (objective.kind === 'forward_process') return 1;
  const keepsMeans = objective.ratioNorm || objective.trustRegion === 'kl_mask';
  return windowSize + 1 + (keepsMeans ? windowSize : 0);
}

/** Before and after the run, and after every n-th iteration between. */
function evaluationsOf({ evaluation, iterations }: Recipe): number {
  const between = evaluation.every === 0 ? 0 : Math.floor((iterations - 1) / evaluation.every);
  return 2 + between;
}

function guidancePasses({ sampling }: Recipe): number {
  return sampling.guidanceScale > 1 ? 2 : 1;
}

/** Passes over one picture in an update: policy, old policy (forward process) and reference (KL). */
function updatePasses(recipe: Recipe): number {
  const { objective, sampling } = recipe;
  const reference = objective.kl.kind === 'none' ? 0 : 1;
  if (objective.kind === 'forward_process') return objective.optimizerSteps * objective.noiseLevels * (2 + reference);
  return sampling.windowSize * guidancePasses(recipe) * (1 + reference);
}
