import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { errorStatus } from '../../core/error-status.js';
import { type ErrorReason, StarError } from '../../core/errors.js';
import type { Score, ScoreFailure, ScoreLineage } from '../../core/types.js';
import type { ScoreOptions, ScorePriority, ScoreRequest } from '../../pipeline/ports.js';
import { failedOutcome, type ScorerOutcome } from '../scorer.js';
import { cancelled, unlessAborted } from './abort.js';
import { type Batch, BatchQueue } from './batch-queue.js';
import { CircuitBreaker } from './circuit-breaker.js';
import { ScorerChild } from './scorer-child.js';
import { MAX_MISSED_BEATS, type ProcessMessage } from './scorer-messages.js';
import type { ScorerPoolOptions } from './scorer-pool-options.js';
import { freestSlot, newSlot, type Slot } from './scorer-slot.js';
import { ScorerSocket } from './scorer-socket.js';

/** Batches of one priority that wait per process before `score` waits. */
const QUEUED_PER_PROCESS = 4;
const MAX_BACKOFF_MS = 5000;
/** A scorer that fails this often in a row gets a pause instead of more work. */
const CIRCUIT = { limit: 5, pauseMs: 10_000 };
/** How long a process may take to leave after the pool asked it to. */
const EXIT_GRACE_MS = 5000;

/**
 * Scorer processes of one bundle behind a ZeroMQ ROUTER, with heartbeats, credits, timeouts, retries and restarts.
 *
 * Batches are fixed slices of the requests in their order, so a score never depends on timing or on the number of
 * processes. A batch whose process dies or exceeds its time is repeated on another or a restarted process; after
 * `maxAttempts` its pictures are failed with SCORER_CRASHED or SCORER_TIMEOUT. After several failed batches in a row the
 * circuit is open: for a while pictures fail at once with SCORER_UNAVAILABLE, then one batch probes whether it works again.
 */
export class ScorerPool {
  readonly #options: ScorerPoolOptions;
  readonly #slots: Slot[] = [];
  readonly #queue = new BatchQueue();
  readonly #circuit: CircuitBreaker;
  readonly #children = new Set<ScorerChild>();
  /** Emits `space`, `ready`, `notLoadable`, `idle`. */
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #socket: ScorerSocket | null = null;
  #heartbeat: NodeJS.Timeout | undefined;
  #runtime = '';
  #nextBatchId = 1n;
  #activeCalls = 0;
  #closing = false;
  #closed: Promise<void> | null = null;

  private constructor(options: ScorerPoolOptions) {
    this.#options = options;
    this.#circuit = new CircuitBreaker(options.circuit ?? CIRCUIT);
  }

  /**
   * Starts the processes and waits until all have loaded the bundle.
   *
   * @throws StarError SCORER_NOT_LOADABLE when one of them cannot, CANCELLED on abort
   */
  static async start(options: ScorerPoolOptions, signal: AbortSignal): Promise<ScorerPool> {
    const pool = new ScorerPool(options);
    try {
      await pool.#start(signal);
      return pool;
    } catch (error) {
      await pool.#terminate();
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

  async #start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#socket = await ScorerSocket.bind({
      onMessage: (identity, message) => this.#onMessage(identity, message),
      onBroken: (identity, error) => this.#onBroken(identity, error),
    });
    for (let index = 0; index < this.#options.processCount; index++) this.#slots.push(newSlot());
    const failed = once(this.#changes, 'notLoadable', { signal }).then(([error]) => {
      throw error as StarError;
    });
    for (const slot of this.#slots) this.#startProcess(slot);
    const allReady = this.#allReady(signal);
    allReady.catch(() => undefined);
    failed.catch(() => undefined);
    await Promise.race([allReady, failed]);
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs());
  }

  async #allReady(signal: AbortSignal): Promise<void> {
    while (this.#slots.some((slot) => slot.state !== 'ready')) await once(this.#changes, 'ready', { signal });
  }

  async #scoreSlices(
    requests: readonly ScoreRequest[],
    signal: AbortSignal,
    priority: ScorePriority,
  ): Promise<Score[]> {
    signal.throwIfAborted();
    for (const slot of this.#slots) if (slot.state === 'lost') this.#startProcess(slot);
    const batches: Batch[] = [];
    const results: Promise<ScorerOutcome[]>[] = [];
    const withdraw = (): void => this.#queue.remove(batches);
    signal.addEventListener('abort', withdraw, { once: true });
    try {
      for (let start = 0; start < requests.length; start += this.#options.batchSize) {
        await this.#space(priority, signal);
        const items = requests.slice(start, start + this.#options.batchSize);
        results.push(new Promise((resolve) => batches.push(this.#enqueue(items, priority, resolve))));
      }
      const outcomes = await unlessAborted(Promise.all(results), signal);
      return outcomes.flat().map((outcome) => this.#toScore(outcome));
    } finally {
      signal.removeEventListener('abort', withdraw);
      if (signal.aborted) withdraw();
    }
  }

  async #space(priority: ScorePriority, signal: AbortSignal): Promise<void> {
    const limit = QUEUED_PER_PROCESS * this.#options.processCount;
    while (this.#queue.count(priority) >= limit) await once(this.#changes, 'space', { signal });
  }

  #enqueue(items: ScoreRequest[], priority: ScorePriority, resolve: Batch['resolve']): Batch {
    const batch: Batch = { batchId: this.#nextBatchId++, items, priority, attempt: 1, resolve };
    this.#queue.add(batch);
    this.#dispatch();
    return batch;
  }

  #toScore(outcome: ScorerOutcome): Score {
    if (outcome.kind === 'failed') return outcome;
    const lineage: ScoreLineage = { ...this.#options.lineage, runtime: this.#runtime };
    return { ...outcome, lineage };
  }

  /** Gives waiting batches to the processes that hold the fewest, live ones first. */
  #dispatch(): void {
    const circuit = this.#circuit.state(performance.now());
    if (circuit === 'open') this.#refuseWaiting();
    for (let next = this.#next(); next !== null; next = this.#next()) {
      const { slot, batch } = next;
      // A probe has one try.
      if (circuit === 'half-open') batch.attempt = this.#options.maxAttempts;
      this.#send(slot, batch);
      if (circuit === 'half-open') return;
    }
  }

  /** Takes the next batch that a process has room for; null: none, or the circuit waits for its probe. */
  #next(): { slot: Slot; batch: Batch } | null {
    const probing = this.#circuit.state(performance.now()) === 'half-open';
    if (probing && this.#slots.some((slot) => slot.inFlight.length > 0)) return null;
    const priority = this.#queue.count('live') > 0 ? 'live' : 'shadow';
    const slot = freestSlot(this.#slots, priority);
    const batch = slot && this.#queue.take(priority);
    return slot && batch ? { slot, batch } : null;
  }

  #send(slot: Slot, batch: Batch): void {
    slot.inFlight.push(batch);
    if (slot.inFlight.length === 1) this.#limitBatch(slot);
    const { batchId, attempt, items } = batch;
    this.#socket?.send(slot.identity, { kind: 'batch', batchId, attempt, items });
    this.#event('scorer_batch_sent', { pid: slot.child?.pid ?? -1, attempt, count: items.length });
    this.#changes.emit('space');
  }

  #startProcess(slot: Slot): void {
    const identity = randomUUID();
    const child = new ScorerChild({
      endpoint: this.#socket?.endpoint ?? '',
      identity,
      bundle: this.#options.bundleFolder,
      'heartbeat-ms': String(this.#heartbeatMs()),
    });
    Object.assign(slot, { identity, child, state: 'starting' });
    this.#children.add(child);
    const limitMs = this.#options.startTimeoutMs ?? 60_000;
    this.#limit(slot, limitMs, () => this.#replace(slot, 'SCORER_TIMEOUT', `did not load its bundle in ${limitMs} ms`));
    void child.exited.then(({ description }) => {
      this.#children.delete(child);
      const dead = this.#slotOf(identity);
      if (dead !== undefined) this.#replace(dead, 'SCORER_CRASHED', `ended: ${description}`);
    });
    this.#event('scorer_process_started', { pid: child.pid });
  }

  #onMessage(identity: string, message: ProcessMessage): void {
    const slot = this.#slotOf(identity);
    if (slot === undefined) return;
    slot.missedBeats = 0;
    if (message.kind === 'ready') this.#onReady(slot, message);
    if (message.kind === 'loadFailure') this.#onLoadFailure(slot, message.failure.reason, message.failure.message);
    if (message.kind === 'result') this.#onResult(slot, message);
  }

  #onBroken(identity: string, error: unknown): void {
    const slot = this.#slotOf(identity);
    if (slot !== undefined)
      this.#replace(slot, 'SCORER_CRASHED', `cannot be talked to: ${StarError.from(error).message}`);
  }

  #onReady(slot: Slot, message: ProcessMessage & { kind: 'ready' }): void {
    if (message.bundleHash !== this.#options.lineage.bundleHash) {
      const text = `the bundle changed on disk: expected hash ${this.#options.lineage.bundleHash}, received ${message.bundleHash}`;
      this.#onLoadFailure(slot, 'SCORER_NOT_LOADABLE', text);
      return;
    }
    clearTimeout(slot.timer);
    this.#runtime = message.runtime;
    slot.state = 'ready';
    this.#event('scorer_process_ready', { pid: slot.child?.pid ?? -1 });
    this.#changes.emit('ready');
    this.#dispatch();
  }

  #onLoadFailure(slot: Slot, reason: ErrorReason, message: string): void {
    this.#changes.emit('notLoadable', new StarError(reason, message));
    this.#replace(slot, 'SCORER_CRASHED', `could not load its bundle: ${message}`);
  }

  #onResult(slot: Slot, result: ProcessMessage & { kind: 'result' }): void {
    const batch = slot.inFlight[0];
    if (batch?.batchId !== result.batchId || batch.items.length !== result.outcomes.length) {
      this.#replace(slot, 'SCORER_CRASHED', `answered batch ${result.batchId} instead of ${batch?.batchId}`);
      return;
    }
    slot.inFlight.shift();
    slot.failuresInARow = 0;
    clearTimeout(slot.timer);
    if (slot.inFlight.length > 0) this.#limitBatch(slot);
    const failure = commonFailure(result.outcomes);
    if (failure === null) {
      this.#circuit.succeeded();
      batch.resolve(result.outcomes);
    } else {
      this.#tryAgain(batch, failure.reason, failure.message);
    }
    this.#dispatch();
  }

  #limitBatch(slot: Slot): void {
    const { timeoutMs } = this.#options;
    this.#limit(slot, timeoutMs, () =>
      this.#replace(slot, 'SCORER_TIMEOUT', `did not score a batch in ${timeoutMs} ms`),
    );
  }

  #limit(slot: Slot, limitMs: number, act: () => void): void {
    clearTimeout(slot.timer);
    slot.timer = setTimeout(act, limitMs);
  }

  /** Ends the process of a slot, gives its work back to the queue and starts another one after a pause. */
  #replace(slot: Slot, reason: ErrorReason, what: string): void {
    const { child } = slot;
    const message = `process ${child?.pid} of ${this.#options.lineage.scorer} ${what}`;
    const neverReady = slot.state === 'starting';
    clearTimeout(slot.timer);
    child?.kill();
    Object.assign(slot, { child: null, identity: '', missedBeats: 0, state: 'waiting' });
    slot.failuresInARow += 1;
    this.#event('scorer_process_ended', { pid: child?.pid ?? -1, reason, message });
    if (neverReady) this.#changes.emit('notLoadable', new StarError('SCORER_NOT_LOADABLE', message));
    this.#giveBack(slot, reason, message);
    if (neverReady && slot.failuresInARow >= this.#options.maxAttempts) this.#lose(slot, message);
    else this.#limit(slot, this.#backoffOf(slot), () => this.#startProcess(slot));
    this.#dispatch();
  }

  /** The batch at work has used up a try; the ones behind it have not been touched. */
  #giveBack(slot: Slot, reason: ErrorReason, message: string): void {
    const [atWork, ...untouched] = slot.inFlight;
    slot.inFlight = [];
    this.#queue.giveBack(untouched);
    if (atWork !== undefined) this.#tryAgain(atWork, reason, message);
  }

  #tryAgain(batch: Batch, reason: ErrorReason, message: string): void {
    if (batch.attempt < this.#options.maxAttempts) {
      batch.attempt += 1;
      this.#queue.giveBack([batch]);
      return;
    }
    this.#fail(batch, reason, `${message} (try ${batch.attempt} of ${this.#options.maxAttempts})`);
  }

  /** Gives a slot up. When no slot is left, nobody could do the waiting work; the next call of `score` tries again. */
  #lose(slot: Slot, message: string): void {
    slot.state = 'lost';
    if (this.#slots.some((other) => other.state !== 'lost')) return;
    for (const batch of this.#queue.clear()) this.#fail(batch, 'SCORER_CRASHED', `no process is left: ${message}`);
    this.#changes.emit('space');
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
    batch.resolve(batch.items.map(() => failedOutcome(reason, message)));
  }

  #beat(): void {
    for (const slot of this.#slots.filter(({ state }) => state === 'ready')) {
      slot.missedBeats = slot.inFlight.length > 0 ? 0 : slot.missedBeats + 1;
      if (slot.missedBeats > MAX_MISSED_BEATS) {
        this.#replace(slot, 'SCORER_TIMEOUT', `was silent for ${slot.missedBeats} heartbeats`);
      } else {
        this.#socket?.send(slot.identity, { kind: 'heartbeat' });
      }
    }
  }

  async #drainAndTerminate(): Promise<void> {
    this.#closing = true;
    if (this.#activeCalls > 0) await once(this.#changes, 'idle');
    await this.#terminate();
  }

  async #terminate(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#heartbeat);
    for (const slot of this.#slots) {
      clearTimeout(slot.timer);
      if (slot.state === 'ready') this.#socket?.send(slot.identity, { kind: 'shutdown' });
      else slot.child?.kill();
      Object.assign(slot, { identity: '', child: null, state: 'lost' });
    }
    const force = setTimeout(() => {
      for (const child of this.#children) child.kill();
    }, EXIT_GRACE_MS);
    await Promise.all([...this.#children].map((child) => child.exited));
    clearTimeout(force);
    await this.#socket?.close();
  }

  #slotOf(identity: string): Slot | undefined {
    return this.#slots.find((slot) => slot.identity === identity && slot.child !== null);
  }

  #backoffOf(slot: Slot): number {
    return Math.min((this.#options.backoffMs ?? 200) * 2 ** (slot.failuresInARow - 1), MAX_BACKOFF_MS);
  }

  #heartbeatMs(): number {
    return this.#options.heartbeatMs ?? 1000;
  }

  #event(name: string, fields: Readonly<Record<string, string | number>>): void {
    this.#options.onEvent(name, { scorer: this.#options.lineage.scorer, ...fields });
  }
}

/** The failure of a batch of which nothing could be scored, for a reason that may pass; null: it has been scored. */
function commonFailure(outcomes: readonly ScorerOutcome[]): ScoreFailure | null {
  const failures = outcomes.flatMap((outcome) => (outcome.kind === 'failed' ? [outcome.failure] : []));
  const [first = null] = failures;
  return failures.length === outcomes.length && failures.every(({ reason }) => errorStatus(reason).retry)
    ? first
    : null;
}
