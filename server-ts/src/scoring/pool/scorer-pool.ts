import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ErrorReason, StarError } from '../../core/errors.js';
import type { Score, ScoreLineage } from '../../core/types.js';
import type { ScoreRequest } from '../../pipeline/ports.js';
import { failedOutcome, type ScorerOutcome } from '../scorer.js';
import { ScorerChild } from './scorer-child.js';
import { MAX_MISSED_BEATS, type ProcessMessage } from './scorer-messages.js';
import type { ScorerPoolOptions } from './scorer-pool-options.js';
import { ScorerSocket } from './scorer-socket.js';

/**
 * Batches that a process may hold: one in its graph, one that is decoded meanwhile, one on the way. With two, decoding waits for
 * the graph: a running graph blocks the process, so the next batch is read only when it ends.
 */
const CREDITS = 3;
/** Batches that wait per process before `score` waits. */
const QUEUED_PER_PROCESS = 4;
const MAX_BACKOFF_MS = 5000;
/** How long a process may take to leave after the pool asked it to. */
const EXIT_GRACE_MS = 5000;

interface Job {
  readonly batchId: bigint;
  readonly items: ScoreRequest[];
  attempt: number;
  readonly resolve: (outcomes: ScorerOutcome[]) => void;
}

/** Place of one process; the process in it may be replaced. */
interface Slot {
  state: 'starting' | 'ready' | 'waiting' | 'lost';
  /** New for every process, so that a late word of a replaced one is not taken for its successor's. */
  identity: string;
  child: ScorerChild | null;
  /** First entry is at work. */
  inFlight: Job[];
  /** Start limit, batch limit or backoff: a slot waits for one thing at a time. */
  timer: NodeJS.Timeout | undefined;
  missedBeats: number;
  failuresInARow: number;
}

/**
 * Scorer processes of one bundle behind a ZeroMQ ROUTER, with heartbeats, credits, timeouts, retries and restarts.
 *
 * Batches are fixed slices of the requests in their order, so a score never depends on timing or on the number of
 * processes. A batch whose process dies or exceeds its time is repeated on another or a restarted process; after
 * `maxAttempts` its pictures are failed with SCORER_CRASHED or SCORER_TIMEOUT.
 */
export class ScorerPool {
  readonly #options: ScorerPoolOptions;
  readonly #slots: Slot[] = [];
  readonly #queue: Job[] = [];
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
      throw signal.aborted ? cancelled(`start of ${options.scorer}`, error) : StarError.from(error);
    }
  }

  /**
   * Scores pictures. Waits while the queue is full.
   *
   * @returns one score per request, in order; pictures without a score are `failed`
   * @throws StarError CANCELLED on abort, STATE_CONFLICT after `close`
   */
  async score(requests: readonly ScoreRequest[], signal: AbortSignal): Promise<Score[]> {
    if (this.#closing) throw new StarError('STATE_CONFLICT', `the pool of ${this.#options.scorer} is closed`);
    this.#activeCalls += 1;
    try {
      return await this.#scoreSlices(requests, signal);
    } catch (error) {
      throw signal.aborted ? cancelled(`scoring by ${this.#options.scorer}`, error) : StarError.from(error);
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

  async #scoreSlices(requests: readonly ScoreRequest[], signal: AbortSignal): Promise<Score[]> {
    signal.throwIfAborted();
    for (const slot of this.#slots) if (slot.state === 'lost') this.#startProcess(slot);
    const jobs: Job[] = [];
    const results: Promise<ScorerOutcome[]>[] = [];
    const withdraw = (): void => removeAll(this.#queue, jobs);
    signal.addEventListener('abort', withdraw, { once: true });
    try {
      for (let start = 0; start < requests.length; start += this.#options.batchSize) {
        await this.#space(signal);
        results.push(this.#enqueue(requests.slice(start, start + this.#options.batchSize), jobs));
      }
      const outcomes = await unlessAborted(Promise.all(results), signal);
      return outcomes.flat().map((outcome) => this.#toScore(outcome));
    } finally {
      signal.removeEventListener('abort', withdraw);
      if (signal.aborted) withdraw();
    }
  }

  async #space(signal: AbortSignal): Promise<void> {
    const limit = QUEUED_PER_PROCESS * this.#options.processCount;
    while (this.#queue.length >= limit) await once(this.#changes, 'space', { signal });
  }

  #enqueue(items: ScoreRequest[], jobs: Job[]): Promise<ScorerOutcome[]> {
    return new Promise((resolve) => {
      const job = { batchId: this.#nextBatchId++, items, attempt: 1, resolve };
      jobs.push(job);
      this.#queue.push(job);
      this.#dispatch();
    });
  }

  #toScore(outcome: ScorerOutcome): Score {
    if (outcome.kind === 'failed') return outcome;
    const { scorer, bundleHash } = this.#options;
    const lineage: ScoreLineage = { scorer, bundleHash, runtime: this.#runtime };
    return { ...outcome, lineage };
  }

  /** Gives waiting batches to the processes that hold the fewest. */
  #dispatch(): void {
    while (this.#queue.length > 0) {
      const free = this.#slots.filter((slot) => slot.state === 'ready' && slot.inFlight.length < CREDITS);
      const slot = free.sort((a, b) => a.inFlight.length - b.inFlight.length)[0];
      const job = slot && this.#queue.shift();
      if (slot === undefined || job === undefined) return;
      slot.inFlight.push(job);
      if (slot.inFlight.length === 1) this.#limitBatch(slot);
      const { batchId, attempt, items } = job;
      this.#socket?.send(slot.identity, { kind: 'batch', batchId, attempt, items });
      this.#event('scorer_batch_sent', { pid: slot.child?.pid ?? -1, attempt, count: items.length });
      this.#changes.emit('space');
    }
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
    if (message.bundleHash !== this.#options.bundleHash) {
      const text = `the bundle changed on disk: expected hash ${this.#options.bundleHash}, received ${message.bundleHash}`;
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
    const job = slot.inFlight[0];
    if (job?.batchId !== result.batchId || job.items.length !== result.outcomes.length) {
      this.#replace(slot, 'SCORER_CRASHED', `answered batch ${result.batchId} instead of ${job?.batchId}`);
      return;
    }
    slot.inFlight.shift();
    slot.failuresInARow = 0;
    clearTimeout(slot.timer);
    if (slot.inFlight.length > 0) this.#limitBatch(slot);
    job.resolve(result.outcomes);
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
    const message = `process ${child?.pid} of ${this.#options.scorer} ${what}`;
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
    this.#queue.unshift(...untouched);
    if (atWork === undefined) return;
    if (atWork.attempt < this.#options.maxAttempts) {
      atWork.attempt += 1;
      this.#queue.unshift(atWork);
      return;
    }
    this.#fail(atWork, reason, `${message} (try ${atWork.attempt} of ${this.#options.maxAttempts})`);
  }

  /** Gives a slot up. When no slot is left, nobody could do the waiting work; the next call of `score` tries again. */
  #lose(slot: Slot, message: string): void {
    slot.state = 'lost';
    if (this.#slots.some((other) => other.state !== 'lost')) return;
    for (const job of this.#queue.splice(0)) this.#fail(job, 'SCORER_CRASHED', `no process is left: ${message}`);
    this.#changes.emit('space');
  }

  #fail(job: Job, reason: ErrorReason, message: string): void {
    this.#event('scorer_batch_failed', { reason, message, count: job.items.length });
    job.resolve(job.items.map(() => failedOutcome(reason, message)));
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
    this.#options.onEvent(name, { scorer: this.#options.scorer, ...fields });
  }
}

function newSlot(): Slot {
  return {
    state: 'starting',
    identity: '',
    child: null,
    inFlight: [],
    timer: undefined,
    missedBeats: 0,
    failuresInARow: 0,
  };
}

function removeAll(queue: Job[], jobs: readonly Job[]): void {
  const kept = queue.filter((job) => !jobs.includes(job));
  queue.splice(0, queue.length, ...kept);
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const ended = new AbortController();
  const aborted = once(signal, 'abort', { signal: ended.signal }).then(() => signal.throwIfAborted());
  aborted.catch(() => undefined);
  return Promise.race([work, aborted.then(() => work)]).finally(() => ended.abort());
}

function cancelled(what: string, cause: unknown): StarError {
  return new StarError('CANCELLED', `${what} was stopped`, {}, cause);
}
