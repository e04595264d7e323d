/**
 * Stops asking somebody who fails again and again: after `limit` failures in a row the circuit is open for `pauseMs`, then one
 * probe decides whether it closes or opens again. Pure: callers bring the time.
 */
export class CircuitBreaker {
  readonly #limit: number;
  readonly #pauseMs: number;
  #failuresInARow = 0;
  #openUntil = 0;

  constructor({ limit, pauseMs }: { readonly limit: number; readonly pauseMs: number }) {
    this.#limit = limit;
    this.#pauseMs = pauseMs;
  }

  /** `closed`: work as usual; `open`: fail at once; `half-open`: let one probe through. */
  state(nowMs: number): 'closed' | 'open' | 'half-open' {
    if (this.#failuresInARow < this.#limit) return 'closed';
    return nowMs < this.#openUntil ? 'open' : 'half-open';
  }

  succeeded(): void {
    this.#failuresInARow = 0;
  }

  /** @returns true when the circuit has opened by it, for the first time or again */
  failed(nowMs: number): boolean {
    const wasOpen = this.state(nowMs) === 'open';
    this.#failuresInARow += 1;
    if (wasOpen || this.#failuresInARow < this.#limit) return false;
    this.#openUntil = nowMs + this.#pauseMs;
    return true;
  }
}
