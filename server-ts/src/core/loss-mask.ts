import type { Allocation } from './allocation-map.js';
import { StarError } from './errors.js';
import type { LossMask } from './types.js';

/**
 * Loss mask of one rollout. Without an advantage, or with an advantage of 0, its maps have no effect and stay home.
 *
 * @param advantage null: no reward, left out of the loss
 * @param allocation null: weight 1 everywhere (scalar baseline, or nothing was captured)
 * @throws StarError NOT_FINITE for an advantage that is not finite
 */
export function lossMask(rolloutId: string, advantage: number | null, allocation: Allocation | null): LossMask {
  if (advantage !== null && !Number.isFinite(advantage)) {
    throw new StarError(
      'NOT_FINITE',
      `the advantage of rollout ${rolloutId} is ${advantage}; expected a finite number`,
    );
  }
  if (allocation === null || advantage === null || advantage === 0) {
    return { rolloutId, advantage, allocationMaps: null, stepIndexes: [] };
  }
  return { rolloutId, advantage, allocationMaps: allocation.maps, stepIndexes: allocation.stepIndexes };
}
