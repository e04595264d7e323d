import { StarError } from '../core/errors.js';

/** Lets runs use the one worker one after the other, in the order in which they asked. */
export class WorkerTurn {
  #last: Promise<void> = Promise.resolve();

  /** Runs `work` when its turn has come. @throws StarError CANCELLED when `signal` aborts before */
  async take<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const before = this.#last;
    const done = Promise.withResolvers<void>();
    this.#last = done.promise;
    try {
      await untilAborted(before, signal);
      return await work();
    } finally {
      // Whoever gives up early must not let the next one overtake those before it.
      void before.then(done.resolve);
    }
  }
}

/**
 * Waits for a promise or an abort, whichever comes first.
 *
 * @throws StarError CANCELLED on abort
 */
export async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(new StarError('CANCELLED', 'stopped on request'));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    aborted.promise.catch(() => undefined);
  }
}
