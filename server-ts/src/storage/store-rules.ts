import { StarError } from '../core/errors.js';
import type { IterationRecord, StoredRun } from '../pipeline/ports.js';

/**
 * What every store checks before it commits an iteration.
 *
 * @throws StarError STATE_CONFLICT when it is not the next one; NOT_FINITE for a number that is not finite
 */
export function assertCommittable(run: StoredRun, record: IterationRecord): void {
  if (record.iteration !== run.completedIterations) {
    throw new StarError(
      'STATE_CONFLICT',
      `run ${run.runId} needs iteration ${run.completedIterations} next, received ${record.iteration}`,
    );
  }
  for (const [name, value] of [...Object.entries(record.metrics), ...Object.entries(record.seconds)]) {
    if (!Number.isFinite(value)) {
      throw new StarError('NOT_FINITE', `metric ${name} of iteration ${record.iteration} is ${value}`);
    }
  }
}

/** Error for an unknown run. */
export function noRun(runId: string): StarError {
  return new StarError('NOT_FOUND', `there is no run ${runId}; list them with \`star runs\``, { runId });
}

/** Error for an unknown rollout. */
export function noRollout(runId: string, rolloutId: string): StarError {
  return new StarError('NOT_FOUND', `run ${runId} has no rollout ${rolloutId}`, { runId, rolloutId });
}
