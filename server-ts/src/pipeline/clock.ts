import { StarError } from '../core/errors.js';

/** Time source; injected, so that tests decide what time it is. */
export interface Clock {
  /** Milliseconds since any fixed point; never goes back. */
  nowMs(): number;
  /** Calls `callback` once after `delayMs`. @returns function that cancels it */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's monotonic clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Waits. @throws StarError CANCELLED when the signal aborts */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel();
      reject(new StarError('CANCELLED', 'the wait was aborted'));
    };
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
