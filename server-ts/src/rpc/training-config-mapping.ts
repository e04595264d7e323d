import type { Recipe } from '../config/recipe.js';
import { sampleSigmas } from '../core/schedule.js';
import {
  CaptureConfig_DataKind,
  ForwardProcessConfig_Form,
  type KlConfig,
  KlConfig_Kind,
  type ObjectiveConfig,
  PolicyGradientConfig_StepWeight,
  PolicyGradientConfig_TrustRegion,
  RatioLevel,
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
  position: RatioLevel.RATIO_LEVEL_POSITION,
  rollout: RatioLevel.RATIO_LEVEL_ROLLOUT,
  gspo_token: RatioLevel.RATIO_LEVEL_GSPO_TOKEN,
} as const;

const TRUST_REGIONS = {
  clip: PolicyGradientConfig_TrustRegion.TRUST_REGION_CLIP,
  kl_mask: PolicyGradientConfig_TrustRegion.TRUST_REGION_KL_MASK,
} as const;

const STEP_WEIGHTS = {
  none: PolicyGradientConfig_StepWeight.STEP_WEIGHT_NONE,
  std_over_dt: PolicyGradientConfig_StepWeight.STEP_WEIGHT_STD_OVER_DT,
  inverse_dt: PolicyGradientConfig_StepWeight.STEP_WEIGHT_INVERSE_DT,
} as const;

const FORMS = { nft: ForwardProcessConfig_Form.FORM_NFT, awm: ForwardProcessConfig_Form.FORM_AWM } as const;

const KL_KINDS = {
  none: KlConfig_Kind.KIND_NONE,
  mean: KlConfig_Kind.KIND_MEAN,
  velocity: KlConfig_Kind.KIND_VELOCITY,
  anchored: KlConfig_Kind.KIND_ANCHORED,
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
      detachesUnconditional: sampling.guidanceGradient === 'conditional',
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
    lora: model.lora ?? undefined,
    gradientCheckpointing: model.gradientCheckpointing,
  };
}

function toObjectiveConfig(objective: Recipe['objective']): ObjectiveConfig {
  if (objective.kind === 'policy_gradient') {
    const { kind: _, ratioLevel, trustRegion, stepWeight, kl, optimizerSteps, ...rest } = objective;
    const value = {
      ...rest,
      ratioLevel: RATIO_LEVELS[ratioLevel],
      trustRegion: TRUST_REGIONS[trustRegion],
      stepWeight: STEP_WEIGHTS[stepWeight],
      kl: toKlConfig(kl),
      optimizerStepCount: optimizerSteps,
    };
    return { kind: { $case: 'policyGradient', value } };
  }
  const { kind: _, form, ratioLevel, kl, noiseLevels, optimizerSteps, ...rest } = objective;
  const value = {
    ...rest,
    form: FORMS[form],
    ratioLevel: RATIO_LEVELS[ratioLevel],
    kl: toKlConfig(kl),
    noiseLevelCount: noiseLevels,
    optimizerStepCount: optimizerSteps,
  };
  return { kind: { $case: 'forwardProcess', value } };
}

function toKlConfig({ kind, beta, target }: Recipe['objective']['kl']): KlConfig {
  return { kind: KL_KINDS[kind], beta, target: target ?? undefined };
}

function toOptimizerConfig(optimizer: Recipe['optimizer']): TrainingConfig['optimizer'] {
  const { warmupSteps, emaDecay, ...rest } = optimizer;
  return { ...rest, warmupStepCount: warmupSteps, emaDecay: emaDecay ?? undefined };
}
