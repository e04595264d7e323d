import { describe, expect, it } from 'vitest';
import { assertLease, isLeaseExpired, moveTask, renewLease, TASK_STATES } from './task-state.js';

const lease = { taskId: 't1', token: 'secret', attempt: 1, expiresAtMs: 100 };

describe('moveTask', () => {
  it('allows exactly the listed moves', () => {
    const allowed = TASK_STATES.flatMap((from) =>
      TASK_STATES.filter((to) => {
        try {
          return moveTask(from, to) === to;
        } catch {
          return false;
        }
      }).map((to) => `${from}>${to}`),
    );
    expect(allowed).toEqual(['QUEUED>LEASED', 'QUEUED>DONE', 'LEASED>DRAINING', 'LEASED>DONE', 'DRAINING>DONE']);
  });

  it('refuses a second end with STATE_CONFLICT', () => {
    expect(() => moveTask('DONE', 'LEASED')).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
  });
});

describe('lease', () => {
  it('ends exactly at its time and is moved by a renewal', () => {
    expect(isLeaseExpired(lease, 99)).toBe(false);
    expect(isLeaseExpired(lease, 100)).toBe(true);
    expect(renewLease(lease, 99, 50).expiresAtMs).toBe(149);
  });

  it.each([
    ['no lease at all', null, 't1', 'secret', 0],
    ['another task', lease, 't2', 'secret', 0],
    ['another token', lease, 't1', 'guess', 0],
    ['after its end', lease, 't1', 'secret', 100],
  ] as const)('is refused: %s', (_, held, taskId, token, now) => {
    expect(() => assertLease(held, taskId, token, now)).toThrow(expect.objectContaining({ reason: 'LEASE_EXPIRED' }));
  });

  it('is accepted with the right token in time', () => {
    expect(() => assertLease(lease, 't1', 'secret', 99)).not.toThrow();
  });
});
