import { StarError } from './errors.js';

/** Life cycle of a run. */
export const RUN_STATES = ['QUEUED', 'RUNNING', 'STOPPING', 'STOPPED', 'SUCCEEDED', 'FAILED'] as const;
export type RunState = (typeof RUN_STATES)[number];

const MOVES: Readonly<Record<RunState, readonly RunState[]>> = {
  QUEUED: ['RUNNING', 'STOPPED', 'FAILED'],
  RUNNING: ['STOPPING', 'STOPPED', 'SUCCEEDED', 'FAILED', 'QUEUED'],
  STOPPING: ['STOPPED', 'SUCCEEDED', 'FAILED', 'QUEUED'],
  STOPPED: ['QUEUED'],
  SUCCEEDED: [],
  FAILED: ['QUEUED'],
};

/**
 * The one transition function of runs. QUEUED from another state means: taken up again from its last checkpoint.
 *
 * @throws StarError STATE_CONFLICT for a move that is not allowed
 */
export function moveRun(from: RunState, to: RunState): RunState {
  if (!MOVES[from].includes(to)) {
    throw new StarError(
      'STATE_CONFLICT',
      `a run cannot go from ${from} to ${to}; allowed: ${MOVES[from].join(', ') || 'none'}`,
    );
  }
  return to;
}

/** True for states that a run does not leave by itself. */
export function isFinal(state: RunState): boolean {
  return state === 'STOPPED' || state === 'SUCCEEDED' || state === 'FAILED';
}
