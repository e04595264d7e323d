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
