import { z } from 'zod';
import { gate, monitor, quorum, transform } from './reward-recipe.js';

/**
 * Recipe of a run: one YAML file. Unknown keys are refused (`read-recipe.ts` adds the nearest valid name). Defaults are
 * filled here and only here; after parsing nothing is optional, and absent parts are null.
 */

const lora = z.strictObject({
  rank: z.int().min(1).max(1024).default(16).describe('rank of the low-rank update'),
  alpha: z.int().min(1).default(32).describe('scale is alpha / rank'),
  rankStabilised: z.boolean().default(false).describe('scale is alpha / sqrt(rank) instead (RSLoRA)'),
  targetModules: z
    .array(z.string().min(1))
    .min(1)
    .default([
      'attn.to_q',
      'attn.to_k',
      'attn.to_v',
      'attn.to_out.0',
      'attn.add_q_proj',
      'attn.add_k_proj',
      'attn.add_v_proj',
      'attn.to_add_out',
    ])
    .describe('linear layers that get an adapter, suffixes as in peft'),
});

const model = z.strictObject({
  path: z.string().min(1).describe('folder in diffusers format, or a hub id that the worker may load'),
  precision: z
    .enum(['float32', 'bfloat16', 'float16'])
    .default('float32')
    .describe('number format of the forward pass'),
  height: z.int().min(16).multipleOf(8).describe('pixels'),
  width: z.int().min(16).multipleOf(8).describe('pixels'),
  maxSequenceLength: z.int().min(8).max(512).describe('T5 token positions'),
  lora: lora.nullable().default(lora.parse({})).describe('null: full fine-tune of the transformer'),
  gradientCheckpointing: z.boolean().default(false).describe('trade time for memory in the update'),
});

const prompts = z.strictObject({
  train: z.string().min(1).describe('prompt file: .jsonl with metadata, or .txt with one prompt a line'),
  evaluation: z.string().min(1).describe('prompt file with held-out prompts'),
  tagWeights: z
    .record(z.string(), z.number().min(0))
    .nullable()
    .default(null)
    .describe('how often a prompt kind is drawn, and which kinds are evaluated; null: every line equally'),
  groupsPerIteration: z.int().min(1).describe('prompts per iteration'),
  groupSize: z.int().min(2).describe('rollouts per prompt (G)'),
});

const windowMove = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('fixed') }),
  z.strictObject({
    kind: z.literal('random'),
    lastStart: z.int().min(0).describe('the first step is drawn from windowStart to this, new in every iteration'),
  }),
  z.strictObject({
    kind: z.literal('sliding'),
    lastStart: z.int().min(0).describe('the window moves on from windowStart to this, then starts again'),
    stride: z.int().min(1).default(1).describe('steps that it moves by'),
    every: z.int().min(1).default(25).describe('iterations between moves'),
  }),
]);

const sampling = z.strictObject({
  numInferenceSteps: z.int().min(1).max(200).describe('denoising steps (T) of training rollouts'),
  schedule: z
    .enum(['linear', 'diffusers'])
    .default('diffusers')
    .describe('diffusers: FlowMatchEulerDiscreteScheduler.set_timesteps(T); linear: linspace(1, 1/T, T), shifted'),
  shift: z.number().positive().default(3).describe('time shift of the schedule'),
  sampler: z.enum(['flow_sde', 'cps']).default('flow_sde').describe('rule of the stochastic steps'),
  noiseLevel: z.number().min(0).max(10).default(0.7).describe('noise level a'),
  windowStart: z.int().min(0).default(0).describe('first stochastic step; earlier ones are ODE steps'),
  windowSize: z.int().min(0).describe('stochastic (and trained) steps; the rest are ODE steps; 0: ODE only'),
  windowMove: windowMove
    .default({ kind: 'fixed' })
    .describe('where the window lies from iteration to iteration: fixed, random (Flow-GRPO-Fast), sliding (MixGRPO)'),
  guidanceScale: z.number().min(1).default(1).describe('classifier-free guidance in training and evaluation; 1: off'),
  guidanceGradient: z
    .enum(['both', 'conditional'])
    .default('both')
    .describe(
      'passes that are trained; conditional: the empty prompt runs without a graph, which saves its backward pass',
    ),
});

const evaluation = z.strictObject({
  numInferenceSteps: z.int().min(1).max(200).describe('ODE steps'),
  promptCount: z.int().min(1).describe('pictures per evaluation; prompts repeat with new noise when there are fewer'),
  every: z.int().min(0).default(0).describe('evaluate after every n-th iteration; 0: only before and after the run'),
  seed: z.int().min(0).default(20_260).describe('seed of the fixed noise'),
});

const rewardComponent = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_]*$/)
    .describe('name of the component in metrics'),
  scorer: z
    .enum(['geneval', 'ocr', 'image_text', 'http'])
    .describe('kind of scorer; http: a reward server of your own'),
  bundle: z
    .string()
    .nullable()
    .default(null)
    .describe('scorer bundle: folder, name, name@version or hash; null: the one shipped for this scorer'),
  value: z.string().default('score').describe('which reported value is the reward, for example score or strict'),
  processCount: z
    .int()
    .min(1)
    .max(64)
    .nullable()
    .default(null)
    .describe('processes of its scorer; null: as the reward says; components that share a scorer get the largest'),
  weight: z.number().default(1).describe('weight in the sum; 0: monitor only, scored and logged'),
  transform: transform.nullable().default(null).describe('applied to the reported value; null: as reported'),
  gate: gate.nullable().default(null).describe('counts only where another component passes; null: always'),
  heldOut: z
    .boolean()
    .default(false)
    .describe('scored and logged, but nothing of the run may depend on it: no weight, gate, hold or stop'),
});

const reward = z.strictObject({
  components: z
    .array(rewardComponent)
    .min(1)
    .describe('the reward is the weighted sum; one missing component makes it missing'),
  combination: z
    .enum(['weighted_sum', 'standardized'])
    .default('weighted_sum')
    .describe('advantages of the weighted sum, or of every component by itself, then summed by weight (GDPO)'),
  quorum: quorum.default(quorum.parse({})),
  monitors: z.array(monitor).default([]).describe('signs that a component is not to be trusted any more'),
  strictValue: z
    .string()
    .default('strict')
    .describe('reported value of the first component that evaluation calls accuracy'),
  processCount: z.int().min(1).max(64).default(1).describe('processes of every scorer that says nothing else'),
  timeoutMs: z.int().min(100).default(60_000).describe('limit for one batch'),
  maxAttempts: z.int().min(1).default(3).describe('tries of a batch before its scores are missing'),
});

const advantages = z.strictObject({
  standardDeviation: z
    .enum(['group', 'batch'])
    .default('batch')
    .describe('group: per prompt; batch: over the iteration'),
  clip: z.number().positive().default(5).describe('advantages are clipped to +- this'),
});

const allocation = z.strictObject({
  strength: z.number().min(0).max(1).default(0.5).describe('alpha: 0 uniform, 1 the attention map itself'),
  floor: z.number().min(0).max(1).default(0.3).describe('smallest weight before the mean is made 1'),
  cap: z.number().min(1).default(4).describe('largest weight before the mean is made 1'),
  smoothing: z.number().min(0).default(1).describe('Gaussian sigma in image tokens; 0: none'),
  entropyGate: z.number().min(0).max(1).default(0.25).describe('kappa0: diffuse maps fade to uniform; 0: no gate'),
  blocks: z.array(z.int().min(0)).min(1).describe('transformer blocks whose attention is read'),
  t5Weight: z.number().min(0).max(1).default(0.7).describe('share of the T5 columns against the CLIP columns'),
  sigmaRange: z
    .tuple([z.number(), z.number()])
    .default([0, 1])
    .describe('steps with sigma inside are read; others get a uniform map'),
  wire: z.enum(['uint8', 'float16']).default('uint8').describe('number format of attention and maps on the wire'),
});

const ratioLevel = z
  .enum(['position', 'rollout', 'gspo_token'])
  .describe(
    'position: a ratio and clip per latent position; rollout: one per picture, positions weighted inside it (without ' +
      'allocation: Flow-GRPO); gspo_token: the ratio of the picture, the gradient of the position',
  );

const clipRange = z.number().positive().describe('per position it is sqrt(positions) times that of a picture');

const kl = z
  .strictObject({
    kind: z
      .enum(['none', 'mean', 'velocity', 'anchored'])
      .describe('mean: Flow-GRPO; velocity: same strength at every step; anchored: mean, stronger where w is small'),
    beta: z.number().positive().default(0.04).describe('weight, at first'),
    target: z.number().positive().nullable().default(null).describe('KL that the weight adapts to; null: it stays'),
  })
  .default({ kind: 'none', beta: 0.04, target: null })
  .describe('KL against the untrained policy; kind none: no reference pass');

const policyGradient = z.strictObject({
  kind: z.literal('policy_gradient'),
  ratioLevel: ratioLevel.default('position'),
  trustRegion: z
    .enum(['clip', 'kl_mask'])
    .default('clip')
    .describe('clip: PPO; kl_mask: no gradient where the KL passed klThreshold and would grow (Flow-DPPO)'),
  clipRange,
  klThreshold: z.number().positive().default(1e-6).describe('for trustRegion kl_mask'),
  ratioNorm: z.boolean().default(false).describe("GRPO-Guard's RatioNorm: log-ratios of mean 0"),
  stepWeight: z
    .enum(['none', 'std_over_dt', 'inverse_dt'])
    .default('none')
    .describe("factor of a step's loss; std_over_dt evens out gradients, inverse_dt is GRPO-Guard's"),
  kl,
  optimizerSteps: z.int().min(1).default(1).describe('optimiser steps an iteration'),
  onPolicyTolerance: z
    .number()
    .min(0)
    .default(0)
    .describe('largest |ratio - 1| before the first optimiser step; 0: exact'),
});

const forwardProcess = z.strictObject({
  kind: z.literal('forward_process'),
  form: z
    .enum(['nft', 'awm'])
    .default('nft')
    .describe('nft: DiffusionNFT; awm: advantage weighted matching, a clipped ratio of matching errors'),
  beta: z.number().positive().default(1).describe('nft: strength of the implicit positive and negative policy'),
  advantageScale: z
    .number()
    .positive()
    .default(2.5)
    .describe('nft: Z divides advantage x weight before the clip to [-1, 1]'),
  ratioLevel: ratioLevel.default('position').describe('awm: as in policy_gradient'),
  clipRange: clipRange.default(3.2e-3).describe('awm: clip range of the ratio'),
  oldPolicyBeta: z.number().min(0).default(0.1).describe('awm: weight of the velocity distance from the old policy'),
  kl,
  noiseLevels: z.int().min(1).default(2).describe('noise levels per rollout and optimiser step'),
  optimizerSteps: z.int().min(1).default(2).describe('optimiser steps an iteration'),
  sigmaMin: z.number().min(0).max(1).default(0.3).describe('lowest noise level drawn'),
  sigmaShift: z.number().positive().default(3).describe('shift of the uniform noise levels'),
  oldPolicyDecayMax: z.number().min(0).max(1).default(0.9).describe('decay of the old policy, at most'),
  oldPolicyDecaySlope: z
    .number()
    .min(0)
    .default(0.02)
    .describe('decay of the old policy after iteration k is slope * k'),
});

const optimizer = z.strictObject({
  learningRate: z.number().positive(),
  beta1: z.number().min(0).max(1).default(0.9),
  beta2: z.number().min(0).max(1).default(0.999),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(1e-4),
  maxGradNorm: z.number().positive().default(1).describe('gradient norm clip'),
  warmupSteps: z.int().min(0).default(0).describe('optimiser steps over which the rate rises from 0'),
  emaDecay: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('largest decay of a moving average of the trainable part, for evaluation and export; null: none'),
});

const worker = z.strictObject({
  microBatchSize: z.int().min(1).describe('rollouts per forward pass, in sampling and training alike'),
  threads: z.int().min(0).default(0).describe('PyTorch threads; 0: its own default'),
});

const checkpoint = z.strictObject({
  every: z.int().min(1).default(5).describe('iterations between checkpoints; the last iteration always has one'),
  keep: z.int().min(2).default(2).describe('checkpoints kept on disk; the one before the last is needed after a crash'),
});

export const recipeSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/)
    .describe('short name: lower case, digits, dashes'),
  description: z.string().default(''),
  task: z.enum(['geneval', 'ocr', 'pickscore']).describe('decides how core content is found and prompts are read'),
  seed: z.int().min(0).default(0).describe('root of every random draw of the run'),
  iterations: z.int().min(1),
  model,
  prompts,
  sampling,
  evaluation,
  reward,
  advantages: advantages.default(advantages.parse({})),
  allocation: allocation
    .nullable()
    .default(null)
    .describe('null: one scalar advantage everywhere (no attention is read)'),
  objective: z.discriminatedUnion('kind', [policyGradient, forwardProcess]),
  optimizer,
  worker,
  checkpoint: checkpoint.default(checkpoint.parse({})),
});

/** A resolved recipe: all defaults filled. */
export type Recipe = z.infer<typeof recipeSchema>;
