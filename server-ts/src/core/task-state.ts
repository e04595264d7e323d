import { StarError } from './errors.js';

/**
 * Life cycle of a task. LEASED: the worker works on it. DRAINING: its outcome is decided (cancelled or refused), and the
 * worker has been told to stop but has not reported yet. DONE: the worker holds nothing of it any more.
 */
export const TASK_STATES = ['QUEUED', 'LEASED', 'DRAINING', 'DONE'] as const;
export type TaskState = (typeof TASK_STATES)[number];

const MOVES: Readonly<Record<TaskState, readonly TaskState[]>> = {
  QUEUED: ['LEASED', 'DONE'],
  LEASED: ['DRAINING', 'DONE'],
  DRAINING: ['DONE'],
  DONE: [],
};

/**
 * The one transition function of tasks.
 *
 * @throws StarError STATE_CONFLICT for a move that is not allowed
 */
export function moveTask(from: TaskState, to: TaskState): TaskState {
  if (!MOVES[from].includes(to)) {
    throw new StarError(
      'STATE_CONFLICT',
      `a task cannot go from ${from} to ${to}; allowed: ${MOVES[from].join(', ') || 'none'}`,
    );
  }
  return to;
}

/** Right to work on a task until `expiresAtMs`; every heartbeat that carries the token moves the end. */
export interface Lease {
  readonly taskId: string;
  /** Proof of the right; never used twice. */
  readonly token: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** On the clock that granted it. */
  readonly expiresAtMs: number;
}

/** @returns the lease with its end moved to `nowMs + durationMs` */
export function renewLease(lease: Lease, nowMs: number, durationMs: number): Lease {
  return { ...lease, expiresAtMs: nowMs + durationMs };
}

/** True from the end of the lease on. */
export function isLeaseExpired(lease: Lease, nowMs: number): boolean {
  return nowMs >= lease.expiresAtMs;
}

/**
 * Checks a caller's proof against the lease in force.
 *
 * @param lease lease in force; null: no task is leased
 * @throws StarError LEASE_EXPIRED when there is none, when task or token differ, or when its time is over
 */
export function assertLease(lease: Lease | null, taskId: string, token: string, nowMs: number): void {
  if (lease === null || lease.taskId !== taskId || lease.token !== token) {
    const held = lease === null ? 'no task is leased' : `the lease in force is of task ${lease.taskId}`;
    throw new StarError('LEASE_EXPIRED', `the lease of task ${taskId} is not valid any more: ${held}; drop the task`, {
      taskId,
    });
  }
  if (isLeaseExpired(lease, nowMs)) {
    throw new StarError(
      'LEASE_EXPIRED',
      `the lease of task ${taskId} ran out; heartbeats must renew it; drop the task`,
      {
        taskId,
      },
    );
  }
}
