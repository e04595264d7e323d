import type { Clock } from './clock.js';

/** Adds up seconds per phase. */
export class Stopwatch {
  readonly #seconds: Record<string, number> = {};

  constructor(private readonly clock: Clock) {}

  /** Runs `work` and counts its time, also when it fails. */
  async time<Result>(phase: string, work: () => Promise<Result>): Promise<Result> {
    const start = this.clock.nowMs();
    try {
      return await work();
    } finally {
      this.#add(phase, start);
    }
  }

  /** As `time`, for work that does not wait. */
  timeNow<Result>(phase: string, work: () => Result): Result {
    const start = this.clock.nowMs();
    const result = work();
    this.#add(phase, start);
    return result;
  }

  get seconds(): Readonly<Record<string, number>> {
    return { ...this.#seconds };
  }

  #add(phase: string, startMs: number): void {
    this.#seconds[phase] = (this.#seconds[phase] ?? 0) + (this.clock.nowMs() - startMs) / 1000;
  }
}
