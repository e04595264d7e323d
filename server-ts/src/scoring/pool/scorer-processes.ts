import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ErrorReason, StarError } from '../../core/errors.js';
import type { ScorerOutcome } from '../scorer.js';
import type { Batch } from './batch-queue.js';
import { ScorerChild } from './scorer-child.js';
import type { Guest, GuestPool } from './scorer-hub.js';
import { MAX_MISSED_BEATS, type ProcessMessage } from './scorer-messages.js';
import type { ScorerPoolOptions } from './scorer-pool-options.js';
import { freestSlot, newSlot, type Slot, slotName } from './scorer-slot.js';
import { ScorerSocket } from './scorer-socket.js';

const MAX_BACKOFF_MS = 5000;
/** How long a process may take to leave after it was asked to. */
const EXIT_GRACE_MS = 5000;

/** What the owner of the processes does with what happens to them. */
export interface ScorerProcessEvents {
  /** A process has room for work. */
  onRoom(): void;
  /** A batch is done. */
  onOutcomes(batch: Batch, outcomes: ScorerOutcome[], runtime: string): void;
  /** A process is gone: the batch at work has used up a try, the others were not touched. */
  onGone(
    lost: { readonly atWork: Batch | null; readonly untouched: Batch[] },
    reason: ErrorReason,
    message: string,
  ): void;
  /** No process is left and none will be started. */
  onNoneLeft(message: string): void;
}

/**
 * Processes of one bundle, of this machine and of other hosts: starts them, watches over them by heartbeats and time limits, and
 * replaces those that end. Knows nothing of queues.
 */
export class ScorerProcesses implements GuestPool {
  readonly scorer: string;
  readonly bundleHash: string;
  readonly #options: ScorerPoolOptions;
  readonly #events: ScorerProcessEvents;
  readonly #slots: Slot[] = [];
  readonly #children = new Set<ScorerChild>();
  /** Emits `ready`, `notLoadable`. */
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #socket: ScorerSocket | null = null;
  #leaveHub: (() => void) | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: ScorerPoolOptions, events: ScorerProcessEvents) {
    this.#options = options;
    this.#events = events;
    this.scorer = options.lineage.scorer;
    this.bundleHash = options.lineage.bundleHash;
  }

  get count(): number {
    return this.#slots.length;
  }

  /** Whether no process has work. */
  get idle(): boolean {
    return this.#slots.every((slot) => slot.inFlight.length === 0);
  }

  /**
   * Starts the processes of this machine and waits until all have loaded the bundle; then lets other hosts help.
   *
   * @throws StarError SCORER_NOT_LOADABLE when one of them cannot; what the signal says on abort
   */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const socket = await ScorerSocket.bindLocal(this);
    this.#socket = socket;
    for (let index = 0; index < this.#options.processCount; index++) this.#slots.push(newSlot(socket));
    const failed = once(this.#changes, 'notLoadable', { signal }).then(([error]) => {
      throw error as StarError;
    });
    for (const slot of this.#slots) this.#startProcess(slot);
    const allReady = this.#allReady(signal);
    allReady.catch(() => undefined);
    failed.catch(() => undefined);
    await Promise.race([allReady, failed]);
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs());
    this.#leaveHub = this.#options.hub?.join(this);
  }

  /** Starts those again that were given up. */
  restartLost(): void {
    for (const slot of this.#slots) if (slot.state === 'lost') this.#startProcess(slot);
  }

  /** A process that has room for a batch of this priority. */
  free(priority: Batch['priority']): Slot | undefined {
    return freestSlot(this.#slots, priority);
  }

  send(slot: Slot, batch: Batch): void {
    slot.inFlight.push(batch);
    if (slot.inFlight.length === 1) this.#limitBatch(slot);
    const { batchId, attempt, items } = batch;
    slot.link.send(slot.identity, { kind: 'batch', batchId, attempt, items });
    this.#event('scorer_batch_sent', { pid: slot.child?.pid ?? -1, attempt, count: items.length });
  }

  adopt({ identity, runtime, link }: Guest): void {
    this.#slots.push(newSlot(link, { remote: true, state: 'ready', identity, runtime }));
    this.#events.onRoom();
  }

  onMessage(identity: string, message: ProcessMessage): void {
    const slot = this.#slotOf(identity);
    if (slot === undefined) return;
    slot.missedBeats = 0;
    if (message.kind === 'ready') this.#onReady(slot, message);
    if (message.kind === 'loadFailure') this.#onLoadFailure(slot, message.failure.reason, message.failure.message);
    if (message.kind === 'result') this.#onResult(slot, message);
  }

  onBroken(identity: string, error: unknown): void {
    const slot = this.#slotOf(identity);
    if (slot === undefined) return;
    this.#replace(slot, 'SCORER_CRASHED', `cannot be talked to: ${StarError.from(error).message}`);
  }

  /** Lets the processes of other hosts go, ends those of this machine. */
  async terminate(): Promise<void> {
    clearInterval(this.#heartbeat);
    for (const slot of this.#slots.splice(0)) {
      clearTimeout(slot.timer);
      this.#release(slot);
    }
    this.#leaveHub?.();
    const force = setTimeout(() => {
      for (const child of this.#children) child.kill();
    }, EXIT_GRACE_MS);
    await Promise.all([...this.#children].map((child) => child.exited));
    clearTimeout(force);
    await this.#socket?.close();
  }

  async #allReady(signal: AbortSignal): Promise<void> {
    while (this.#slots.some((slot) => slot.state !== 'ready')) await once(this.#changes, 'ready', { signal });
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

  #onReady(slot: Slot, message: ProcessMessage & { kind: 'ready' }): void {
    if (message.bundleHash !== this.bundleHash) {
      const text = `the bundle changed on disk: expected hash ${this.bundleHash}, received ${message.bundleHash}`;
      this.#onLoadFailure(slot, 'SCORER_NOT_LOADABLE', text);
      return;
    }
    clearTimeout(slot.timer);
    slot.runtime = message.runtime;
    slot.state = 'ready';
    this.#event('scorer_process_ready', { pid: slot.child?.pid ?? -1, runtime: message.runtime });
    this.#changes.emit('ready');
    this.#events.onRoom();
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
    this.#events.onOutcomes(batch, result.outcomes, slot.runtime);
    this.#events.onRoom();
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

  /** Ends the process of a slot and gives its work back; one of this machine is started again after a pause. */
  #replace(slot: Slot, reason: ErrorReason, what: string): void {
    const message = `${slotName(slot)} of ${this.scorer} ${what}`;
    const neverReady = slot.state === 'starting';
    this.#event('scorer_process_ended', { pid: slot.child?.pid ?? -1, reason, message });
    clearTimeout(slot.timer);
    if (slot.remote) this.#drop(slot);
    else slot.child?.kill();
    Object.assign(slot, { child: null, identity: '', missedBeats: 0, state: 'waiting' });
    slot.failuresInARow += 1;
    if (neverReady) this.#changes.emit('notLoadable', new StarError('SCORER_NOT_LOADABLE', message));
    const [atWork = null, ...untouched] = slot.inFlight.splice(0);
    this.#events.onGone({ atWork, untouched }, reason, message);
    if (neverReady && slot.failuresInARow >= this.#options.maxAttempts) this.#lose(slot, message);
    else if (!slot.remote) this.#limit(slot, this.#backoffOf(slot), () => this.#startProcess(slot));
    this.#events.onRoom();
  }

  #drop(slot: Slot): void {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    this.#options.hub?.dismiss(slot.identity);
  }

  /** A process of another host without work waits for the next pool; one with work must forget it. */
  #release(slot: Slot): void {
    if (slot.remote && slot.inFlight.length > 0) this.#options.hub?.dismiss(slot.identity);
    if (slot.remote) return;
    if (slot.state === 'ready') slot.link.send(slot.identity, { kind: 'shutdown' });
    else slot.child?.kill();
  }

  /** Gives a slot up until somebody asks to start it again. */
  #lose(slot: Slot, message: string): void {
    slot.state = 'lost';
    if (this.#slots.every((other) => other.state === 'lost')) this.#events.onNoneLeft(message);
  }

  #beat(): void {
    for (const slot of this.#slots.filter(({ state }) => state === 'ready')) {
      slot.missedBeats = slot.inFlight.length > 0 ? 0 : slot.missedBeats + 1;
      if (slot.missedBeats > MAX_MISSED_BEATS) {
        this.#replace(slot, 'SCORER_TIMEOUT', `was silent for ${slot.missedBeats} heartbeats`);
      } else {
        slot.link.send(slot.identity, { kind: 'heartbeat' });
      }
    }
  }

  #slotOf(identity: string): Slot | undefined {
    return this.#slots.find((slot) => slot.identity === identity && slot.identity !== '');
  }

  #backoffOf(slot: Slot): number {
    return Math.min((this.#options.backoffMs ?? 200) * 2 ** (slot.failuresInARow - 1), MAX_BACKOFF_MS);
  }

  #heartbeatMs(): number {
    return this.#options.heartbeatMs ?? 1000;
  }

  #event(name: string, fields: Readonly<Record<string, string | number>>): void {
    this.#options.onEvent(name, { scorer: this.scorer, ...fields });
  }
}
