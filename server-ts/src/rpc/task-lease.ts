import { assertLease, type Lease, renewLease } from '../core/task-state.js';
import type { Clock } from '../pipeline/clock.js';

export interface TaskLeasesOptions {
  readonly clock: Clock;
  /** Source of ids that cannot be guessed. */
  readonly newId: () => string;
  /** A lease without a heartbeat ends after this. */
  readonly durationMs: number;
}

/** The one lease in force, and how often each piece of work was tried. */
export class TaskLeases {
  #lease: Lease | null = null;
  #stopTimer: () => void = () => undefined;
  readonly #attempts = new Map<string, number>();

  constructor(private readonly options: TaskLeasesOptions) {}

  /**
   * Grants a new lease; the one before it is not valid any more.
   *
   * @param work what is tried, for example run, kind and iteration; tries of the same work are counted until `finish`
   * @param onExpired called once when no heartbeat came in time
   */
  grant(work: string, onExpired: () => void): Lease {
    const attempt = (this.#attempts.get(work) ?? 0) + 1;
    this.#attempts.set(work, attempt);
    const { newId } = this.options;
    this.#start({ taskId: newId(), token: newId(), attempt, expiresAtMs: 0 }, onExpired);
    return this.#lease as Lease;
  }

  /** @throws StarError LEASE_EXPIRED unless task and token are those of the lease in force */
  check(taskId: string, token: string): void {
    assertLease(this.#lease, taskId, token, this.options.clock.nowMs());
  }

  /** Moves the end of the lease. @throws StarError LEASE_EXPIRED as `check` */
  renew(taskId: string, token: string, onExpired: () => void): void {
    this.check(taskId, token);
    this.#start(this.#lease as Lease, onExpired);
  }

  /** Ends the lease. @param finishedWork work that is done: its next try counts from 1 again */
  end(finishedWork?: string): void {
    this.#stopTimer();
    this.#lease = null;
    if (finishedWork !== undefined) this.#attempts.delete(finishedWork);
  }

  #start(lease: Lease, onExpired: () => void): void {
    const { clock, durationMs } = this.options;
    this.#stopTimer();
    this.#lease = renewLease(lease, clock.nowMs(), durationMs);
    this.#stopTimer = clock.after(durationMs, () => {
      this.#lease = null;
      onExpired();
    });
  }
}
