import { once } from 'node:events';
import { StarError } from '../../core/errors.js';

/** Waits for work, but no longer than until the abort. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const ended = new AbortController();
  const aborted = once(signal, 'abort', { signal: ended.signal }).then(() => signal.throwIfAborted());
  aborted.catch(() => undefined);
  return Promise.race([work, aborted.then(() => work)]).finally(() => ended.abort());
}

/** The error of work that was stopped. */
export function cancelled(what: string, cause: unknown): StarError {
  return new StarError('CANCELLED', `${what} was stopped`, {}, cause);
}
