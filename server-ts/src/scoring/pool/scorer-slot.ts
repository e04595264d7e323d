import type { Batch } from './batch-queue.js';
import type { ScorerChild } from './scorer-child.js';
import type { PoolMessage } from './scorer-messages.js';

/**
 * Batches that a process may hold: one in its graph, one that is decoded meanwhile, one on the way. With two, decoding waits for
 * the graph: a running graph blocks the process, so the next batch is read only when it ends.
 */
const CREDITS = 3;

/** A socket that reaches processes by their identity. */
export interface ScorerLink {
  send(identity: string, message: PoolMessage): void;
}

/** Place of one process; a process of this machine may be replaced, one of another host leaves with its place. */
export interface Slot {
  readonly link: ScorerLink;
  /** Whether the process belongs to another host, which starts and ends it. */
  readonly remote: boolean;
  state: 'starting' | 'ready' | 'waiting' | 'lost';
  /** New for every process, so that a late word of a replaced one is not taken for its successor's. */
  identity: string;
  child: ScorerChild | null;
  /** What the process runs on, for lineage. */
  runtime: string;
  /** First entry is at work. */
  inFlight: Batch[];
  /** Start limit, batch limit or backoff: a slot waits for one thing at a time. */
  timer: NodeJS.Timeout | undefined;
  missedBeats: number;
  failuresInARow: number;
}

export function newSlot(link: ScorerLink, known: Partial<Slot> = {}): Slot {
  return {
    link,
    remote: false,
    state: 'starting',
    identity: '',
    child: null,
    runtime: '',
    inFlight: [],
    timer: undefined,
    missedBeats: 0,
    failuresInARow: 0,
    ...known,
  };
}

/** For logs and messages. */
export function slotName({ child, identity }: Slot): string {
  return child === null ? `process ${identity} of another host` : `process ${child.pid}`;
}

/**
 * Process for the next live batch: the one that holds the fewest, as long as it has a credit left. A shadow batch goes only to
 * a process without any work, so that a live one never waits for more than one of them.
 */
export function freestSlot(slots: readonly Slot[], priority: Batch['priority']): Slot | undefined {
  const credits = priority === 'live' ? CREDITS : 1;
  const free = slots.filter((slot) => slot.state === 'ready' && slot.inFlight.length < credits);
  return free.sort((a, b) => a.inFlight.length - b.inFlight.length)[0];
}
