import type { Recipe } from '../config/recipe.js';
import type { StarError } from '../core/errors.js';
import type { RewardEvent, RewardVersion } from '../core/reward-version.js';
import type { RunState } from '../core/run-state.js';
import type {
  ExportOutcome,
  LossMask,
  PreparedModel,
  PromptRecord,
  Rollout,
  RolloutPlan,
  Score,
  UpdateOutcome,
} from '../core/types.js';

/** Place of a task in a run; every task carries it. */
export interface TaskContext {
  readonly runId: string;
  readonly iteration: number;
  /** Policy version that the worker must hold. */
  readonly policyVersion: number;
  /** Aborts the task; the worker is told to stop. */
  readonly signal: AbortSignal;
  /** Share of the task that is done, 0..1. */
  readonly onProgress?: (phase: string, fraction: number) => void;
}

/**
 * Training worker, as the pipeline sees it. Implemented by `rpc/`. Every call leases one task to the one connected worker
 * and resolves when the worker has completed it.
 *
 * Rejects with StarError WORKER_LOST when the lease ends without a result (the run then goes back to its last checkpoint),
 * with CANCELLED when the signal aborts, and with the worker's own reason when it reports a failure.
 */
export interface Trainer {
  /** Resolves when a worker is connected and idle. */
  ready(signal: AbortSignal): Promise<{ workerId: string; device: string }>;
  /** Loads the model at `context.policyVersion` (0: untrained; otherwise from its checkpoint). */
  prepare(context: TaskContext, recipe: Recipe): Promise<PreparedModel>;
  /**
   * Samples a plan. `onRollout` is called once per rollout, in the order of the plan, as they arrive; the next one is read
   * from the wire after it resolves (backpressure).
   */
  rollout(context: TaskContext, plan: RolloutPlan, onRollout: (rollout: Rollout) => Promise<void>): Promise<void>;
  /**
   * Trains on the kept rollouts of the same iteration. `lossMasks` yields them in the order of the plan and may wait for
   * scores. `forceCheckpoint` writes a checkpoint whatever the recipe says.
   */
  update(
    context: TaskContext,
    work: { seed: bigint; forceCheckpoint: boolean },
    lossMasks: AsyncIterable<LossMask>,
  ): Promise<UpdateOutcome>;
  /** Writes the trained part in diffusers format. */
  export(context: TaskContext): Promise<ExportOutcome>;
}

/**
 * Asks for the end of the run under way, because its rewards are not to be trusted: after the iteration at hand, which then
 * makes a checkpoint, or with the error itself where it is thrown. STOPPED: a person looks and resumes; FAILED: it is broken.
 */
export type EndRun = (state: 'STOPPED' | 'FAILED', error: StarError) => void;

/** One picture to score. */
export interface ScoreRequest {
  readonly rolloutId: string;
  readonly prompt: PromptRecord;
  /** PNG file. */
  readonly image: Uint8Array;
}

/** `live`: a run waits for it. `shadow`: a comparison that may take its time and never holds up live work. */
export type ScorePriority = 'live' | 'shadow';

/** How pictures are scored. */
export interface ScoreOptions {
  /** `live` when absent. */
  readonly priority?: ScorePriority;
}

/**
 * Scores pictures with the scorers of a recipe. Implemented by `scoring/`. Never rejects for a picture that cannot be
 * scored: that one's entry is `failed` with a reason. Rejects only on abort or when the scorers cannot be started.
 */
export interface RewardScorer {
  /**
   * @returns per request, in order, the score of every component by component name
   */
  score(
    requests: readonly ScoreRequest[],
    signal: AbortSignal,
    options?: ScoreOptions,
  ): Promise<ReadonlyArray<Readonly<Record<string, Score>>>>;
  /** Stops the processes after the work at hand. */
  close(): Promise<void>;
}

/** Builds the scorer of a recipe; loads and checks its bundles first. */
export type RewardScorerFactory = (recipe: Recipe, signal: AbortSignal) => Promise<RewardScorer>;

/** A run as stored. */
export interface StoredRun {
  readonly runId: string;
  readonly recipe: Recipe;
  readonly state: RunState;
  /** Iterations whose metrics are committed. */
  readonly completedIterations: number;
  /** Policy version of the last durable checkpoint; 0: none. */
  readonly checkpointVersion: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Why it FAILED, or why it was STOPPED where nobody asked for it. */
  readonly failure: string | null;
}

/** A version of a run's reward, as stored. */
export type StoredRewardVersion = RewardVersion<Recipe['reward']>;

/** What happens to the reward of a run. */
export type StoredRewardEvent = RewardEvent<Recipe['reward']>;

/** One point of the reproducible metric series. */
export interface MetricPoint {
  readonly iteration: number;
  readonly name: string;
  readonly value: number;
}

/** Row of a scored rollout. */
export interface StoredRollout {
  readonly rolloutId: string;
  readonly iteration: number;
  readonly promptIndex: number;
  readonly prompt: string;
  readonly tag: string;
  readonly seed: bigint;
  /** Null: missing. */
  readonly reward: number | null;
  readonly advantage: number | null;
  /** Version of the run's reward that it was judged by. */
  readonly rewardVersion: number;
  readonly scores: Readonly<Record<string, Score>>;
  /** Paths in the artifact store; null where not kept. */
  readonly imagePath: string | null;
  readonly mapsPath: string | null;
}

/** Everything that becomes visible at once when an iteration is done. */
export interface IterationRecord {
  readonly runId: string;
  readonly iteration: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** Not reproducible: seconds per phase. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly rollouts: readonly StoredRollout[];
  /** Version of a checkpoint that became durable with it; null: none was written. */
  readonly checkpointVersion: number | null;
}

/** Result of one evaluation: per prompt, in the order of the evaluation prompts. */
export interface EvaluationRecord {
  readonly runId: string;
  /** Policy version that was evaluated. */
  readonly policyVersion: number;
  readonly items: readonly {
    readonly prompt: string;
    readonly tag: string;
    readonly seed: bigint;
    readonly scores: Readonly<Record<string, Score>>;
    readonly imagePath: string | null;
  }[];
}

/** Runs, metrics, rollouts and evaluations. Implemented by `storage/`; every method is one transaction. */
export interface RunStore {
  createRun(run: { runId: string; recipe: Recipe; recipeText: string }): StoredRun;
  /** @throws StarError NOT_FOUND */
  getRun(runId: string): StoredRun;
  listRuns(limit: number): StoredRun[];
  /** @throws StarError STATE_CONFLICT for an illegal move */
  setState(runId: string, state: RunState, failure?: string): StoredRun;
  /** Every version of the run's reward, by version. */
  rewardVersions(runId: string): StoredRewardVersion[];
  /**
   * Applies the transition function of `core/reward-version.ts`.
   *
   * @returns all versions after it
   * @throws StarError STATE_CONFLICT for a move that is not allowed
   */
  advanceReward(runId: string, event: StoredRewardEvent): StoredRewardVersion[];
  commitIteration(record: IterationRecord): void;
  /** Removes everything of iterations >= `iteration` (they are recomputed from a checkpoint). */
  rewind(runId: string, iteration: number): void;
  commitEvaluation(record: EvaluationRecord): void;
  evaluations(runId: string): EvaluationRecord[];
  /** Reproducible series, ordered by name and iteration; `since`: only iterations >= it. */
  metrics(runId: string, since?: number): MetricPoint[];
  /** Seconds per phase, same order. */
  timings(runId: string): MetricPoint[];
  rollouts(runId: string, iteration: number): StoredRollout[];
  getRollout(runId: string, rolloutId: string): StoredRollout;
  /** Ids of the runs that have, or had, scores of a bundle; in order. */
  runsScoredBy(bundleHash: string): string[];
}

/** Files of runs. Paths are relative, with forward slashes, and never leave the run's folder. */
export interface ArtifactStore {
  /**
   * Writes by rename.
   * @throws StarError STORAGE_FAILED, for example on a full disk; no partial file is left
   */
  put(runId: string, path: string, data: Uint8Array): Promise<void>;
  /** @throws StarError NOT_FOUND */
  get(runId: string, path: string): Promise<Uint8Array>;
  /** Absolute path of a file or of the run's folder. */
  locate(runId: string, path?: string): string;
}

/** Receives what happens, for logs, Prometheus and live views. Must not throw. */
export interface Telemetry {
  event(name: string, fields: Readonly<Record<string, string | number | boolean | null>>): void;
  metrics(runId: string, iteration: number, values: Readonly<Record<string, number>>): void;
}
