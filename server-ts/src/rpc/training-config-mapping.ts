import type { Recipe } from '../config/recipe.js';
import { sampleSigmas } from '../core/schedule.js';
import {
  CaptureConfig_DataKind,
  type ObjectiveConfig,
  PolicyGradientConfig_RatioLevel,
  SamplingConfig_Sampler,
  type TrainingConfig,
} from '../gen/star/v1/training_config.js';

const SAMPLERS: Readonly<Record<Recipe['sampling']['sampler'], SamplingConfig_Sampler>> = {
  flow_sde: SamplingConfig_Sampler.SAMPLER_FLOW_SDE,
  cps: SamplingConfig_Sampler.SAMPLER_CPS,
};

const DATA_KINDS: Readonly<Record<NonNullable<Recipe['allocation']>['wire'], CaptureConfig_DataKind>> = {
  uint8: CaptureConfig_DataKind.DATA_KIND_UINT8,
  float16: CaptureConfig_DataKind.DATA_KIND_FLOAT16,
};

const RATIO_LEVELS = {
  position: PolicyGradientConfig_RatioLevel.RATIO_LEVEL_POSITION,
  rollout: PolicyGradientConfig_RatioLevel.RATIO_LEVEL_ROLLOUT,
} as const;

/** The worker's part of a recipe. Every field is filled: the worker has no defaults of its own. */
export function toTrainingConfig(recipe: Recipe): TrainingConfig {
  const { sampling, checkpoint, worker } = recipe;
  return {
    model: toModelConfig(recipe.model),
    sampling: {
      sigmas: sampleSigmas(sampling.schedule, sampling.numInferenceSteps, sampling.shift),
      sampler: SAMPLERS[sampling.sampler],
      noiseLevel: sampling.noiseLevel,
      windowStart: sampling.windowStart,
      windowSize: sampling.windowSize,
      guidanceScale: sampling.guidanceScale,
    },
    capture: {
      blocks: recipe.allocation?.blocks ?? [],
      t5Weight: recipe.allocation?.t5Weight ?? 0,
      dataKind: DATA_KINDS[recipe.allocation?.wire ?? 'uint8'],
    },
    objective: toObjectiveConfig(recipe.objective),
    optimizer: toOptimizerConfig(recipe.optimizer),
    microBatchSize: worker.microBatchSize,
    threadCount: worker.threads,
    checkpointEvery: checkpoint.every,
    checkpointKeep: checkpoint.keep,
  };
}

function toModelConfig(model: Recipe['model']): TrainingConfig['model'] {
  return {
    path: model.path,
    precision: model.precision,
    height: model.height,
    width: model.width,
    maxSequenceLength: model.maxSequenceLength,
    lora:
      model.lora === null
        ? undefined
        : { rank: model.lora.rank, alpha: model.lora.alpha, targetModules: model.lora.targetModules },
    gradientCheckpointing: model.gradientCheckpointing,
  };
}

function toObjectiveConfig(objective: Recipe['objective']): ObjectiveConfig {
  if (objective.kind === 'policy_gradient') {
    const { ratioLevel, clipRange, klBeta, optimizerSteps, equalizeSteps, onPolicyTolerance } = objective;
    return {
      kind: {
        $case: 'policyGradient',
        value: {
          ratioLevel: RATIO_LEVELS[ratioLevel],
          clipRange,
          klBeta,
          optimizerStepCount: optimizerSteps,
          equalizeSteps,
          onPolicyTolerance,
        },
      },
    };
  }
  const { beta, advantageScale, noiseLevels, optimizerSteps, sigmaMin, sigmaShift } = objective;
  return {
    kind: {
      $case: 'forwardProcess',
      value: {
        beta,
        advantageScale,
        noiseLevelCount: noiseLevels,
        optimizerStepCount: optimizerSteps,
        sigmaMin,
        sigmaShift,
        oldPolicyDecayMax: objective.oldPolicyDecayMax,
        oldPolicyDecaySlope: objective.oldPolicyDecaySlope,
      },
    },
  };
}

function toOptimizerConfig(optimizer: Recipe['optimizer']): TrainingConfig['optimizer'] {
  const { warmupSteps, ...rest } = optimizer;
  return { ...rest, warmupStepCount: warmupSteps };
}
