import { EventEmitter, once } from 'node:events';
import { errorStatus } from '../../core/error-status.js';
import { type ErrorReason, StarError } from '../../core/errors.js';
import type { Score, ScoreFailure } from '../../core/types.js';
import type { ScoreOptions, ScorePriority, ScoreRequest } from '../../pipeline/ports.js';
import type { ScorerOutcome } from '../scorer.js';
import { cancelled, unlessAborted } from './abort.js';
import { type Batch, BatchQueue } from './batch-queue.js';
import { CircuitBreaker } from './circuit-breaker.js';
import type { ScorerPoolOptions } from './scorer-pool-options.js';
import { ScorerProcesses } from './scorer-processes.js';
import type { Slot } from './scorer-slot.js';

/** Batches of one priority that wait per process before `score` waits. */
const QUEUED_PER_PROCESS = 4;
/** A scorer that fails this often in a row gets a pause instead of more work. */
const CIRCUIT = { limit: 5, pauseMs: 10_000 };

/**
 * Scores pictures by the processes of one bundle: queue, credits, retries and circuit breaker.
 *
 * Batches are fixed slices of the requests in their order, so a score never depends on timing or on the number of
 * processes. A batch whose process dies or exceeds its time is repeated on another or a restarted process; after
 * `maxAttempts` its pictures are failed with SCORER_CRASHED or SCORER_TIMEOUT. After several failed batches in a row the
 * circuit is open: for a while pictures fail at once with SCORER_UNAVAILABLE, then one batch probes whether it works again.
 */
export class ScorerPool {
  readonly #options: ScorerPoolOptions;
  readonly #processes: ScorerProcesses;
  readonly #queue = new BatchQueue();
  readonly #circuit: CircuitBreaker;
  /** Emits `space`, `idle`. */
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #nextBatchId = 1n;
  #activeCalls = 0;
  #closing = false;
  #closed: Promise<void> | null = null;

  private constructor(options: ScorerPoolOptions) {
    this.#options = options;
    this.#circuit = new CircuitBreaker(options.circuit ?? CIRCUIT);
    this.#processes = new ScorerProcesses(options, {
      onRoom: () => this.#dispatch(),
      onOutcomes: (batch, outcomes, runtime) => this.#onOutcomes(batch, outcomes, runtime),
      onGone: ({ atWork, untouched }, reason, message) => {
        this.#queue.giveBack(untouched);
        if (atWork !== null) this.#tryAgain(atWork, reason, message);
      },
      onNoneLeft: (message) => {
        for (const batch of this.#queue.clear()) this.#fail(batch, 'SCORER_CRASHED', `no process is left: ${message}`);
        this.#changes.emit('space');
      },
    });
  }

  /**
   * Starts the processes of this machine and waits until all have loaded the bundle.
   *
   * @throws StarError SCORER_NOT_LOADABLE when one of them cannot, CANCELLED on abort
   */
  static async start(options: ScorerPoolOptions, signal: AbortSignal): Promise<ScorerPool> {
    const pool = new ScorerPool(options);
    try {
      await pool.#processes.start(signal);
      return pool;
    } catch (error) {
      await pool.#processes.terminate();
      throw signal.aborted ? cancelled(`start of ${options.lineage.scorer}`, error) : StarError.from(error);
    }
  }

  /**
   * Scores pictures. Waits while the queue is full. Shadow work runs only where no live work waits: a live batch waits for at
   * most the one shadow batch that its process has begun.
   *
   * @returns one score per request, in order; pictures without a score are `failed`
   * @throws StarError CANCELLED on abort, STATE_CONFLICT after `close`
   */
  async score(requests: readonly ScoreRequest[], signal: AbortSignal, options: ScoreOptions = {}): Promise<Score[]> {
    if (this.#closing) throw new StarError('STATE_CONFLICT', `the pool of ${this.#options.lineage.scorer} is closed`);
    this.#activeCalls += 1;
    try {
      return await this.#scoreSlices(requests, signal, options.priority ?? 'live');
    } catch (error) {
      throw signal.aborted ? cancelled(`scoring by ${this.#options.lineage.scorer}`, error) : StarError.from(error);
    } finally {
      this.#activeCalls -= 1;
      if (this.#activeCalls === 0) this.#changes.emit('idle');
    }
  }

  /** Takes no new work, finishes what was given, then ends the processes. */
  close(): Promise<void> {
    this.#closed ??= this.#drainAndTerminate();
    return this.#closed;
  }

  async #drainAndTerminate(): Promise<void> {
    this.#closing = true;
    if (this.#activeCalls > 0) await once(this.#changes, 'idle');
    await this.#processes.terminate();
  }

  async #scoreSlices(
    requests: readonly ScoreRequest[],
    signal: AbortSignal,
    priority: ScorePriority,
  ): Promise<Score[]> {
    signal.throwIfAborted();
    this.#processes.restartLost();
    const batches: Batch[] = [];
    const results: Promise<Score[]>[] = [];
    const withdraw = (): void => this.#queue.remove(batches);
    signal.addEventListener('abort', withdraw, { once: true });
    try {
      for (let start = 0; start < requests.length; start += this.#options.batchSize) {
        await this.#space(priority, signal);
        const items = requests.slice(start, start + this.#options.batchSize);
        results.push(new Promise((resolve) => batches.push(this.#enqueue(items, priority, resolve))));
      }
      return (await unlessAborted(Promise.all(results), signal)).flat();
    } finally {
      signal.removeEventListener('abort', withdraw);
      if (signal.aborted) withdraw();
    }
  }

  async #space(priority: ScorePriority, signal: AbortSignal): Promise<void> {
    const full = (): boolean => this.#queue.count(priority) >= QUEUED_PER_PROCESS * this.#processes.count;
    while (full()) await once(this.#changes, 'space', { signal });
  }

  #enqueue(items: ScoreRequest[], priority: ScorePriority, resolve: Batch['resolve']): Batch {
    const batch: Batch = { batchId: this.#nextBatchId++, items, priority, attempt: 1, resolve };
    this.#queue.add(batch);
    this.#dispatch();
    return batch;
  }

  /** Gives waiting batches to the processes that hold the fewest, live ones first. */
  #dispatch(): void {
    const circuit = this.#circuit.state(performance.now());
    if (circuit === 'open') this.#refuseWaiting();
    for (let next = this.#next(); next !== null; next = this.#next()) {
      const { slot, batch } = next;
      // A probe has one try.
      if (circuit === 'half-open') batch.attempt = this.#options.maxAttempts;
      this.#processes.send(slot, batch);
      this.#changes.emit('space');
      if (circuit === 'half-open') return;
    }
  }

  /** Takes the next batch that a process has room for; null: none, or the circuit waits for its probe. */
  #next(): { slot: Slot; batch: Batch } | null {
    const probing = this.#circuit.state(performance.now()) === 'half-open';
    if (probing && !this.#processes.idle) return null;
    const priority = this.#queue.count('live') > 0 ? 'live' : 'shadow';
    const slot = this.#processes.free(priority);
    const batch = slot && this.#queue.take(priority);
    return slot && batch ? { slot, batch } : null;
  }

  #onOutcomes(batch: Batch, outcomes: readonly ScorerOutcome[], runtime: string): void {
    const failure = commonFailure(outcomes);
    if (failure !== null) {
      this.#tryAgain(batch, failure.reason, failure.message);
      return;
    }
    this.#circuit.succeeded();
    const lineage = { ...this.#options.lineage, runtime };
    batch.resolve(outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome : { ...outcome, lineage })));
  }

  #tryAgain(batch: Batch, reason: ErrorReason, message: string): void {
    if (batch.attempt < this.#options.maxAttempts) {
      batch.attempt += 1;
      this.#queue.giveBack([batch]);
      return;
    }
    this.#fail(batch, reason, `${message} (try ${batch.attempt} of ${this.#options.maxAttempts})`);
  }

  #fail(batch: Batch, reason: ErrorReason, message: string): void {
    this.#refuse(batch, reason, message);
    if (!this.#circuit.failed(performance.now())) return;
    this.#event('scorer_circuit_opened', { reason, message });
    this.#refuseWaiting();
  }

  #refuseWaiting(): void {
    const message = `${this.#options.lineage.scorer} failed too often in a row and gets a pause; the log has the reasons`;
    for (const batch of this.#queue.clear()) this.#refuse(batch, 'SCORER_UNAVAILABLE', message);
    this.#changes.emit('space');
  }

  #refuse(batch: Batch, reason: ErrorReason, message: string): void {
    this.#event('scorer_batch_failed', { reason, message, count: batch.items.length });
    batch.resolve(batch.items.map(() => ({ kind: 'failed', failure: { reason, message } })));
  }

  #event(name: string, fields: Readonly<Record<string, string | number>>): void {
    this.#options.onEvent(name, { scorer: this.#options.lineage.scorer, ...fields });
  }
}

/** The failure of a batch of which nothing could be scored, for a reason that may pass; null: it has been scored. */
function commonFailure(outcomes: readonly ScorerOutcome[]): ScoreFailure | null {
  const failures = outcomes.flatMap((outcome) => (outcome.kind === 'failed' ? [outcome.failure] : []));
  const [first = null] = failures;
  const passing = failures.length === outcomes.length && failures.every(({ reason }) => errorStatus(reason).retry);
  return passing ? first : null;
}
