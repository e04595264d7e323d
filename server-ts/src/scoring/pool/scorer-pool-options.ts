import type { BundleLineage } from '../bundle/bundle-lineage.js';
import type { ScorerHub } from './scorer-hub.js';

/** Receives what happens in a pool, for logs and metrics. Must not throw. */
export type ScorerEventSink = (name: string, fields: Readonly<Record<string, string | number>>) => void;

/** Settings of a pool. */
export interface ScorerPoolOptions {
  /** What the bundle, as checked by the caller, adds to every score. A process that loads a bundle of another hash is refused. */
  readonly lineage: BundleLineage;
  /** Absolute path of the bundle. */
  readonly bundleFolder: string;
  readonly processCount: number;
  /** Pictures per batch. It decides which pictures share a graph run. */
  readonly batchSize: number;
  /** Limit for one batch in one process. */
  readonly timeoutMs: number;
  /** Tries of a batch before its pictures fail. */
  readonly maxAttempts: number;
  readonly onEvent: ScorerEventSink;
  /** Where scorer processes of other hosts dial in; absent: only processes of this machine work. */
  readonly hub?: ScorerHub | null;
  readonly heartbeatMs?: number;
  /** Limit for loading a bundle in a process. */
  readonly startTimeoutMs?: number;
  /** Wait before a process is started again; doubles with every failure in a row. */
  readonly backoffMs?: number;
  /** Failed batches in a row after which the pool refuses work, and for how long. */
  readonly circuit?: { readonly limit: number; readonly pauseMs: number };
}
