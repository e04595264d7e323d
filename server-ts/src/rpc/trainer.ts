import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { ExportOutcome, LossMask, PreparedModel, Rollout, RolloutPlan, UpdateOutcome } from '../core/types.js';
import type { ConnectRequest, Heartbeat, Progress, TaskCompleted, TaskFailed } from '../gen/star/v1/worker_service.js';
import type { Clock } from '../pipeline/clock.js';
import type { TaskContext, Telemetry, Trainer } from '../pipeline/ports.js';
import { fromWireReason } from './error-mapping.js';
import {
  type ExpectedRollout,
  fromExportCompleted,
  fromPrepareCompleted,
  fromUpdateCompleted,
  type WireFormat,
} from './message-mapping.js';
import { TaskLeases } from './task-lease.js';
import { toTrainingConfig } from './training-config-mapping.js';
import type { WorkerConnection } from './worker-connection.js';
import { toOffer, type Work, WorkerTask } from './worker-task.js';
import { untilAborted, WorkerTurn } from './worker-turn.js';

export interface WorkerTrainerOptions {
  readonly clock: Clock;
  /** Source of ids that cannot be guessed (task ids and lease tokens). */
  readonly newId: () => string;
  /** A worker must send a heartbeat at least this often. */
  readonly heartbeatIntervalMs: number;
  /** A lease without a heartbeat ends after this; several intervals long. */
  readonly leaseDurationMs: number;
  readonly telemetry: Telemetry;
}

/** What the worker has loaded, and over which stream: another stream means another process. */
interface Prepared {
  readonly runId: string;
  readonly connection: WorkerConnection;
  readonly recipe: Recipe;
  readonly model: PreparedModel;
}

/**
 * The Trainer port over the one connected worker. The pipeline calls the port; the gRPC handlers call `connect`,
 * `receive`, `disconnect` and `leasedTask`.
 */
export class WorkerTrainer implements Trainer {
  #connection: WorkerConnection | null = null;
  #task: WorkerTask | null = null;
  #prepared: Prepared | null = null;
  readonly #turn = new WorkerTurn();
  readonly #leases: TaskLeases;
  readonly #watchers = new Set<() => void>();

  constructor(private readonly options: WorkerTrainerOptions) {
    this.#leases = new TaskLeases({ ...options, durationMs: options.leaseDurationMs });
  }

  get heartbeatIntervalMs(): number {
    return this.options.heartbeatIntervalMs;
  }

  /** The connected worker; null: none. */
  get worker(): { readonly workerId: string; readonly device: string } | null {
    return this.#connection;
  }

  async ready(signal: AbortSignal): Promise<{ workerId: string; device: string }> {
    await this.#until(() => this.#connection !== null && this.#task === null, signal);
    const { workerId, device } = this.#connection as WorkerConnection;
    return { workerId, device };
  }

  async prepare(context: TaskContext, recipe: Recipe): Promise<PreparedModel> {
    return this.#turn.take(context.signal, async () => {
      const connection = this.#connection;
      if (connection === null) throw new StarError('WORKER_LOST', 'no worker is connected; start one');
      const config = toTrainingConfig(recipe);
      const completed = await this.#run(connection, context, { kind: 'prepare', recipe, config });
      const model = fromPrepareCompleted(completed, context.policyVersion);
      this.#prepared = { runId: context.runId, connection, recipe, model };
      return model;
    });
  }

  async rollout(
    context: TaskContext,
    plan: RolloutPlan,
    onRollout: (rollout: Rollout) => Promise<void>,
  ): Promise<void> {
    await this.#turn.take(context.signal, async () => {
      const prepared = this.#requirePrepared(context.runId);
      const expected = expectedRollouts(plan, prepared);
      await this.#run(prepared.connection, context, { kind: 'rollout', plan, expected, onRollout, acceptedCount: 0 });
    });
  }

  async update(
    context: TaskContext,
    work: { seed: bigint; forceCheckpoint: boolean },
    lossMasks: AsyncIterable<LossMask>,
  ): Promise<UpdateOutcome> {
    return this.#turn.take(context.signal, async () => {
      const prepared = this.#requirePrepared(context.runId);
      const wire = wireFormat(prepared.recipe);
      const task = { kind: 'update', ...work, lossMasks, wire, masks: 'waiting' } as const;
      const completed = await this.#run(prepared.connection, context, { ...task });
      return fromUpdateCompleted(completed, context.policyVersion);
    });
  }

  async export(context: TaskContext): Promise<ExportOutcome> {
    return this.#turn.take(context.signal, async () => {
      const { connection } = this.#requirePrepared(context.runId);
      return fromExportCompleted(await this.#run(connection, context, { kind: 'export' }));
    });
  }

  /**
   * A worker has said hello. A second stream of the same worker replaces the first: its process was restarted.
   *
   * @throws StarError STATE_CONFLICT when another worker is connected
   */
  connect(connection: WorkerConnection): void {
    const present = this.#connection;
    if (present !== null && present.workerId !== connection.workerId) {
      throw new StarError('STATE_CONFLICT', `worker ${present.workerId} is connected; there can be one worker only`);
    }
    if (present !== null) {
      this.disconnect(present, 'the worker connected anew');
      present.close(new StarError('STATE_CONFLICT', `worker ${present.workerId} connected anew`));
    }
    this.#connection = connection;
    this.options.telemetry.event('worker.connected', { workerId: connection.workerId, device: connection.device });
    this.#changed();
  }

  /** A control stream has ended: its task is lost. */
  disconnect(connection: WorkerConnection, cause: string): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    this.#prepared = null;
    this.options.telemetry.event('worker.disconnected', { workerId: connection.workerId, cause });
    this.#finish((task) => {
      const message = `worker ${connection.workerId} was lost during ${task.work.kind}: ${cause}`;
      task.fail(new StarError('WORKER_LOST', message, { workerId: connection.workerId }));
    });
    this.#changed();
  }

  /**
   * A message of the control stream after hello.
   *
   * @throws StarError LEASE_EXPIRED for a report under a lease that is not in force; ARGUMENT_INVALID for a bad message
   */
  receive(connection: WorkerConnection, message: ConnectRequest['message']): void {
    if (this.#connection !== connection) throw new StarError('LEASE_EXPIRED', 'this control stream was replaced');
    switch (message?.$case) {
      case 'heartbeat':
        this.#heartbeat(message.value);
        break;
      case 'progress':
        this.#progress(message.value);
        break;
      case 'completed':
        this.#completed(message.value);
        break;
      case 'failed':
        this.#failed(message.value);
        break;
      default:
        throw new StarError('ARGUMENT_INVALID', `unexpected message ${message?.$case ?? 'none'} on the control stream`);
    }
  }

  /**
   * The task that a bulk call belongs to.
   *
   * @throws StarError LEASE_EXPIRED when the proof is not that of the lease in force, or the task was stopped
   */
  leasedTask(taskId: string, leaseToken: string): WorkerTask {
    this.#leases.check(taskId, leaseToken);
    const task = this.#task;
    if (task?.state !== 'LEASED') {
      throw new StarError('LEASE_EXPIRED', `task ${taskId} was stopped; drop it`, { taskId });
    }
    return task;
  }

  /** Decides a task for failure and tells the worker to stop; does nothing when it is decided already. */
  abandon(task: WorkerTask, error: StarError): void {
    if (task.state !== 'LEASED') return;
    task.drain(error);
    task.connection.send({ $case: 'cancel', value: { taskId: task.lease.taskId } });
  }

  /** Tells the worker to disconnect. */
  shutdown(message: string): void {
    this.#connection?.send({ $case: 'shutdown', value: { message } });
    this.#connection?.close();
  }

  async #run(connection: WorkerConnection, context: TaskContext, work: Work): Promise<TaskCompleted> {
    // A task that was cancelled before may still drain.
    await this.#until(() => this.#task === null || this.#connection !== connection, context.signal);
    if (this.#connection !== connection) throw new StarError('WORKER_LOST', 'the worker left before the task began');
    const key = `${context.runId}/${work.kind}/${context.iteration}/${context.policyVersion}`;
    const lease = this.#leases.grant(key, () => this.#expired());
    const task = new WorkerTask(lease, context, work, connection);
    this.#task = task;
    connection.send({ $case: 'offer', value: toOffer(lease, context, work) });
    try {
      const completed = await untilAborted(task.outcome, context.signal);
      this.#leases.end(key);
      return completed;
    } catch (error) {
      this.abandon(task, StarError.from(error));
      task.outcome.catch(() => undefined);
      throw error;
    }
  }

  #requirePrepared(runId: string): Prepared {
    const prepared = this.#prepared;
    if (prepared === null || prepared.runId !== runId || prepared.connection !== this.#connection) {
      throw new StarError('WORKER_LOST', `the worker that had loaded run ${runId} is gone; prepare again`, { runId });
    }
    return prepared;
  }

  #heartbeat(heartbeat: Heartbeat): void {
    if (heartbeat.taskId === '') return;
    this.#leases.renew(heartbeat.taskId, heartbeat.leaseToken, () => this.#expired());
  }

  #progress({ taskId, phase, fraction }: Progress): void {
    const task = this.#task;
    if (task?.lease.taskId === taskId && task.state === 'LEASED') task.context.onProgress?.(phase, fraction);
  }

  #completed(completed: TaskCompleted): void {
    this.#leases.check(completed.taskId, completed.leaseToken);
    this.#finish((task) => task.complete(completed));
  }

  #failed(failed: TaskFailed): void {
    this.#leases.check(failed.taskId, failed.leaseToken);
    const reason = fromWireReason(failed.reason);
    this.options.telemetry.event('worker.task_failed', { taskId: failed.taskId, reason, message: failed.message });
    this.#finish((task) => task.fail(new StarError(reason, failed.message, { taskId: failed.taskId })));
  }

  #expired(): void {
    const connection = this.#connection;
    if (connection === null) return;
    const message = `no heartbeat within ${this.options.leaseDurationMs} ms`;
    this.disconnect(connection, message);
    connection.close(new StarError('LEASE_EXPIRED', `${message}; connect again`));
  }

  /** Ends the task at hand; afterwards the worker is free. */
  #finish(decide: (task: WorkerTask) => void): void {
    const task = this.#task;
    this.#task = null;
    this.#leases.end();
    if (task !== null) decide(task);
    this.#changed();
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  async #until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    const met = Promise.withResolvers<void>();
    const watcher = (): void => {
      if (condition()) met.resolve();
    };
    this.#watchers.add(watcher);
    watcher();
    try {
      await untilAborted(met.promise, signal);
    } finally {
      this.#watchers.delete(watcher);
    }
  }
}

function wireFormat(recipe: Recipe): WireFormat {
  return recipe.allocation?.wire ?? 'uint8';
}

function expectedRollouts(plan: RolloutPlan, prepared: Prepared): ExpectedRollout[] {
  const { model, recipe } = prepared;
  const shared = { tokens: [model.tokenRows, model.tokenColumns], wire: wireFormat(recipe) } as const;
  return plan.groups.flatMap((group) => group.rollouts.map((spec) => ({ spec, group, ...shared })));
}
