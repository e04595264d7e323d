import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { type Lease, moveTask, type TaskState } from '../core/task-state.js';
import type { LossMask, Rollout, RolloutPlan } from '../core/types.js';
import type { TrainingConfig } from '../gen/star/v1/training_config.js';
import type { TaskCompleted, TaskOffer } from '../gen/star/v1/worker_service.js';
import type { TaskContext } from '../pipeline/ports.js';
import type { ExpectedRollout, WireFormat } from './message-mapping.js';
import type { WorkerConnection } from './worker-connection.js';

/** Sampling of a plan, and how far it has come. */
export interface RolloutWork {
  readonly kind: 'rollout';
  readonly plan: RolloutPlan;
  /** In the order of the plan. */
  readonly expected: readonly ExpectedRollout[];
  readonly onRollout: (rollout: Rollout) => Promise<void>;
  /** Rollouts that `onRollout` has taken: the first ones of `expected`. */
  acceptedCount: number;
}

/** An update, and how far its loss masks have come. */
export interface UpdateWork {
  readonly kind: 'update';
  readonly seed: bigint;
  readonly forceCheckpoint: boolean;
  readonly lossMasks: AsyncIterable<LossMask>;
  readonly wire: WireFormat;
  /** Loss masks can be read once. */
  masks: 'waiting' | 'streaming' | 'sent';
}

export type Work =
  | { readonly kind: 'prepare'; readonly recipe: Recipe; readonly config: TrainingConfig }
  | RolloutWork
  | UpdateWork
  | { readonly kind: 'export' };

/** A task under lease. Its outcome is decided once: by the worker's report, by a failure here, by abort, or by loss. */
export class WorkerTask {
  readonly outcome: Promise<TaskCompleted>;
  #state: TaskState = 'LEASED';
  #resolve!: (completed: TaskCompleted) => void;
  #reject!: (error: StarError) => void;

  constructor(
    readonly lease: Lease,
    readonly context: TaskContext,
    readonly work: Work,
    readonly connection: WorkerConnection,
  ) {
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get state(): TaskState {
    return this.#state;
  }

  /** The worker has completed it. After `drain` this only says that the worker is free. */
  complete(completed: TaskCompleted): void {
    const refusal = this.#missingPart();
    this.#state = moveTask(this.#state, 'DONE');
    if (refusal === null) this.#resolve(completed);
    else this.#reject(refusal);
  }

  /** Decides for failure while the worker still works: it must be told to stop and reports later. */
  drain(error: StarError): void {
    this.#state = moveTask(this.#state, 'DRAINING');
    this.#reject(error);
  }

  /** The worker has nothing of it any more: it reported a failure, or it is lost. */
  fail(error: StarError): void {
    this.#state = moveTask(this.#state, 'DONE');
    this.#reject(error);
  }

  #missingPart(): StarError | null {
    const { work } = this;
    if (work.kind === 'rollout' && work.acceptedCount < work.expected.length) {
      return new StarError(
        'TASK_ECHO_MISMATCH',
        `task completed with ${work.acceptedCount} of ${work.expected.length} rollouts`,
      );
    }
    if (work.kind === 'update' && work.masks !== 'sent') {
      return new StarError('TASK_ECHO_MISMATCH', 'update completed before all loss masks were read');
    }
    return null;
  }
}

/** The offer of a task. */
export function toOffer(lease: Lease, context: TaskContext, work: Work): TaskOffer {
  return {
    taskId: lease.taskId,
    runId: context.runId,
    iteration: context.iteration,
    leaseToken: lease.token,
    attempt: lease.attempt,
    policyVersion: BigInt(context.policyVersion),
    work: toOfferedWork(work),
  };
}

function toOfferedWork(work: Work): TaskOffer['work'] {
  switch (work.kind) {
    case 'prepare':
      return { $case: 'prepare', value: { config: work.config, runSeed: BigInt(work.recipe.seed) } };
    case 'rollout':
      return { $case: 'rollout', value: { rolloutCount: work.expected.length } };
    case 'update':
      return { $case: 'update', value: { seed: work.seed, forceCheckpoint: work.forceCheckpoint } };
    case 'export':
      return { $case: 'export', value: {} };
  }
}
