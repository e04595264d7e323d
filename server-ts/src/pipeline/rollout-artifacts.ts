import type { Allocation } from '../core/allocation-map.js';
import type { CoreContent, RolloutGroup } from '../core/types.js';

/** About this many iterations of a run keep their pictures and maps. */
const KEPT_ITERATIONS = 10;

/** Content of a maps file (`mapsPath`): the allocation maps of one rollout and the words that they came from. */
export interface StoredMaps {
  readonly rolloutId: string;
  readonly prompt: string;
  readonly concepts: CoreContent['concepts'];
  readonly spans: CoreContent['spans'];
  readonly stepIndexes: readonly number[];
  /** [S, h, w]. */
  readonly shape: readonly number[];
  /** Row-major, mean 1 over h, w; rounded to 4 decimals. */
  readonly values: readonly number[];
}

/** Rule of what is kept: pictures and maps of the first, the last and every n-th iteration, n = iterations / 10 rounded up. */
export function keepsArtifacts(iteration: number, iterations: number): boolean {
  return iteration === iterations - 1 || iteration % Math.ceil(iterations / KEPT_ITERATIONS) === 0;
}

/** Place of a rollout's picture. */
export function imagePath(iteration: number, rolloutId: string): string {
  return `rollouts/${iteration}/${rolloutId}.png`;
}

/** Place of a rollout's maps. */
export function mapsPath(iteration: number, rolloutId: string): string {
  return `rollouts/${iteration}/${rolloutId}.maps.json`;
}

/** Place of a picture of an evaluation. */
export function evaluationImagePath(policyVersion: number, position: number): string {
  return `evaluations/${policyVersion}/${position}.png`;
}

/** A maps file (UTF-8 JSON of `StoredMaps`). */
export function encodeMaps(group: RolloutGroup, rolloutId: string, allocation: Allocation): Uint8Array {
  const maps: StoredMaps = {
    rolloutId,
    prompt: group.prompt.prompt,
    concepts: group.coreContent.concepts,
    spans: group.coreContent.spans,
    stepIndexes: allocation.stepIndexes,
    shape: allocation.maps.shape,
    values: Array.from(allocation.maps.data, (value) => Math.round(value * 1e4) / 1e4),
  };
  return new TextEncoder().encode(JSON.stringify(maps));
}
