import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { StarError } from '../../core/errors.js';
import { loadScorerBundle } from '../bundle/scorer-bundle.js';
import { REFUSED_EXIT_CODE, ScorerChild } from './scorer-child.js';
import type { ScorerEventSink } from './scorer-pool-options.js';

const HEARTBEAT_MS = 1000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;

/** What a scorer host does. */
export interface ScorerHostOptions {
  /** Where the control plane listens, for example `tcp://control:7100`. */
  readonly endpoint: string;
  /** Public key of the control plane, Z85. */
  readonly serverKey: string;
  /** Key file of this host. */
  readonly keyFile: string;
  /** Absolute path of the bundle. */
  readonly bundleFolder: string;
  readonly processCount: number;
  readonly onEvent: ScorerEventSink;
}

/**
 * Runs scorer processes of one bundle for a control plane on another machine, and starts those again that end, until the signal
 * aborts.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the bundle is not valid, or the control plane refuses the key of this host or its
 *   bundle
 */
export async function runScorerHost(options: ScorerHostOptions, signal: AbortSignal): Promise<void> {
  await loadScorerBundle(options.bundleFolder);
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  const places = Array.from({ length: options.processCount }, () => keepRunning(options, stop));
  try {
    await Promise.all(places);
  } finally {
    ended.abort();
    await Promise.allSettled(places);
  }
}

/** One process after the other. */
async function keepRunning(options: ScorerHostOptions, signal: AbortSignal): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    const child = new ScorerChild({
      endpoint: options.endpoint,
      identity: randomUUID(),
      bundle: options.bundleFolder,
      'heartbeat-ms': String(HEARTBEAT_MS),
      'key-file': options.keyFile,
      'server-key': options.serverKey,
    });
    const kill = (): void => child.kill();
    signal.addEventListener('abort', kill, { once: true });
    options.onEvent('scorer_process_started', { pid: child.pid });
    const { code, description } = await child.exited;
    signal.removeEventListener('abort', kill);
    if (code === REFUSED_EXIT_CODE) throw new StarError('SCORER_NOT_LOADABLE', `refused: ${description}`);
    // It ends by itself when the control plane does, and then waits for the next one.
    if (!signal.aborted) options.onEvent('scorer_process_ended', { pid: child.pid, message: description });
    await wait(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}
