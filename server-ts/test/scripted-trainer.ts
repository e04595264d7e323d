import type { Recipe } from '../src/config/recipe.js';
import { StarError } from '../src/core/errors.js';
import type {
  ExportOutcome,
  LossMask,
  PreparedModel,
  PromptRecord,
  Rollout,
  RolloutPlan,
  Score,
  UpdateOutcome,
} from '../src/core/types.js';
import type {
  RewardScorer,
  ScoreOptions,
  ScorePriority,
  ScoreRequest,
  TaskContext,
  Trainer,
} from '../src/pipeline/ports.js';

/** Called before every step of the worker; throws to make it fail there. */
export type Interrupt = (place: 'prepare' | 'rollout' | 'masks' | 'update' | 'export', context: TaskContext) => void;

/**
 * A worker whose policy is one number. Pictures depend on seed and policy, and the policy on every loss mask it was
 * trained with, so that a wrong rewind, seed or mask changes the series. State dies with `lose`, checkpoints do not.
 */
export class ScriptedTrainer implements Trainer {
  readonly calls: string[] = [];
  readonly masks: LossMask[][] = [];
  readonly checkpoints = new Map<number, number>([[0, 1]]);
  #policy: { version: number; value: number } | null = null;
  #recipe: Recipe | null = null;

  constructor(private readonly interrupt: Interrupt = () => undefined) {}

  async ready(signal: AbortSignal): Promise<{ workerId: string; device: string }> {
    signal.throwIfAborted();
    return { workerId: 'w1', device: 'cpu' };
  }

  async prepare(context: TaskContext, recipe: Recipe): Promise<PreparedModel> {
    this.#begin('prepare', context);
    const value = this.checkpoints.get(context.policyVersion);
    if (value === undefined) throw new StarError('CHECKPOINT_INVALID', `no checkpoint ${context.policyVersion}`);
    this.#policy = { version: context.policyVersion, value };
    this.#recipe = recipe;
    return {
      policyVersion: context.policyVersion,
      trainableParameterCount: 1,
      parameterCount: 1,
      tokenRows: 2,
      tokenColumns: 2,
      valuesPerToken: 4,
      environment: {},
    };
  }

  async rollout(
    context: TaskContext,
    plan: RolloutPlan,
    onRollout: (rollout: Rollout) => Promise<void>,
  ): Promise<void> {
    const policy = this.#begin('rollout', context);
    for (const group of plan.groups) {
      for (const spec of group.rollouts) {
        this.#guard('rollout', context);
        const noise = Number(spec.seed % 251n);
        await onRollout({
          rolloutId: spec.rolloutId,
          image: Uint8Array.of(Math.floor(noise * policy.value) % 256, noise),
          attention: attentionOf(group.captureSteps, group.coreContent.concepts.length, noise),
        });
      }
    }
  }

  async update(
    context: TaskContext,
    work: { seed: bigint; forceCheckpoint: boolean },
    lossMasks: AsyncIterable<LossMask>,
  ): Promise<UpdateOutcome> {
    const policy = this.#begin('update', context);
    const received: LossMask[] = [];
    for await (const mask of lossMasks) {
      this.#guard('masks', context);
      received.push(mask);
    }
    this.masks.push(received);
    const push = received.reduce((sum, mask, index) => sum + (mask.advantage ?? 0) * (index + 1) * mapSum(mask), 0);
    const value = policy.value + Math.tanh(push) / 7 + Number(work.seed % 13n) / 1000;
    const version = context.policyVersion + 1;
    const checkpointWritten = work.forceCheckpoint || version % (this.#recipe?.checkpoint.every ?? 1) === 0;
    if (checkpointWritten) this.checkpoints.set(version, value);
    this.#policy = { version, value };
    this.#guard('update', context);
    return {
      policyVersion: version,
      metrics: { policy: value },
      seconds: { checkpoint: 0.1 },
      checkpointWritten,
      checkpointPath: `/c/${version}`,
    };
  }

  async export(context: TaskContext): Promise<ExportOutcome> {
    this.#begin('export', context);
    return { path: '/export', format: 'lora' };
  }

  #begin(call: 'prepare' | 'rollout' | 'update' | 'export', context: TaskContext): { version: number; value: number } {
    this.calls.push(`${call} ${context.policyVersion}`);
    if (call !== 'rollout' && call !== 'update') this.#guard(call, context);
    if (call === 'prepare') return { version: 0, value: 0 };
    if (this.#policy?.version !== context.policyVersion) {
      throw new StarError('STATE_CONFLICT', `holds ${this.#policy?.version}, asked for ${context.policyVersion}`);
    }
    return this.#policy;
  }

  #guard(place: Parameters<Interrupt>[0], context: TaskContext): void {
    if (context.signal.aborted) throw new StarError('CANCELLED', 'aborted');
    try {
      this.interrupt(place, context);
    } catch (error) {
      this.#policy = null;
      throw error;
    }
  }
}

function attentionOf(steps: readonly number[], concepts: number, noise: number): Rollout['attention'] {
  const planes = steps.length * concepts;
  if (planes === 0) return null;
  const data = Float32Array.from({ length: planes * 4 }, (_, index) => (index % 4 === noise % 4 ? 2.5 : 0.5));
  return { values: { shape: [steps.length, concepts, 2, 2], data }, stepIndexes: steps, unmappedConcepts: [] };
}

function mapSum(mask: LossMask): number {
  return [...(mask.allocationMaps?.data ?? [1])].reduce((sum, value, index) => sum + value * (index + 1), 0);
}

/** Scores a picture by its first byte. `fails` makes scores missing; `gate` holds a call back. */
export class ScriptedScorer implements RewardScorer {
  readonly calls: string[][] = [];
  readonly priorities: ScorePriority[] = [];
  closed = false;

  constructor(
    private readonly options: {
      fails?: (rolloutId: string) => boolean;
      gate?: (rolloutIds: string[]) => Promise<void>;
      value?: (image: Uint8Array) => number;
      /** In the lineage of its scores. */
      name?: string;
    } = {},
  ) {}

  get name(): string {
    return this.options.name ?? 'scripted 1';
  }

  async score(
    requests: readonly ScoreRequest[],
    signal: AbortSignal,
    { priority = 'live' }: ScoreOptions = {},
  ): Promise<Readonly<Record<string, Score>>[]> {
    const ids = requests.map((request) => request.rolloutId);
    this.calls.push(ids);
    this.priorities.push(priority);
    await Promise.race([this.options.gate?.(ids) ?? Promise.resolve(), rejectOnAbort(signal)]);
    return requests.map(({ rolloutId, image }) => ({ geneval: this.#score(rolloutId, image) }));
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #score(rolloutId: string, image: Uint8Array): Score {
    if (this.options.fails?.(rolloutId) === true) {
      return { kind: 'failed', failure: { reason: 'SCORER_CRASHED', message: 'the scorer process died 3 times' } };
    }
    const score = this.options.value?.(image) ?? (image[0] ?? 0) / 255;
    return {
      kind: 'value',
      values: { score, strict: Math.round(score) },
      evidence: { kind: 'none' },
      lineage: {
        scorer: this.name,
        bundleHash: '00',
        graphHashes: {},
        thresholds: {},
        preprocessing: 'p',
        runtime: 'test',
      },
    };
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(new StarError('CANCELLED', 'aborted'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** Prompts of the small world. */
export const TINY_PROMPTS: PromptRecord[] = ['red', 'green', 'blue', 'yellow'].map((color) => ({
  prompt: `a photo of a ${color} circle`,
  tag: 'single',
  include: [{ class: 'circle', count: 1, color }],
  exclude: [],
  targetText: null,
}));
