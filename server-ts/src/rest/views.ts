import { latestVersion, pendingVersion } from '../core/reward-version.js';
import type { EvaluationRecord, StoredRewardVersion, StoredRollout, StoredRun } from '../pipeline/ports.js';

/** JSON of a run. */
export function runView(run: StoredRun): Record<string, unknown> {
  return {
    runId: run.runId,
    name: run.recipe.name,
    state: run.state,
    completedIterations: run.completedIterations,
    iterations: run.recipe.iterations,
    checkpointVersion: run.checkpointVersion,
    createdAt: run.createdAt,
    updatedAt: run.updatedAt,
    failure: run.failure,
    recipe: run.recipe,
  };
}

/** JSON of a run's reward: what is in effect, what waits, and all versions. */
export function rewardView(runId: string, versions: readonly StoredRewardVersion[]): Record<string, unknown> {
  return { runId, inEffect: latestVersion(versions), pending: pendingVersion(versions), versions };
}

/** JSON of a rollout: seeds as text (63 bits), links instead of paths. */
export function rolloutView(runId: string, rollout: StoredRollout): Record<string, unknown> {
  const { imagePath, mapsPath, seed, ...rest } = rollout;
  const base = `/v1/runs/${runId}/rollouts/${rollout.rolloutId}`;
  return {
    ...rest,
    seed: seed.toString(),
    image: imagePath === null ? null : `${base}/image`,
    maps: mapsPath === null ? null : `${base}/maps`,
  };
}

/** JSON of an evaluation. */
export function evaluationView(evaluation: EvaluationRecord): Record<string, unknown> {
  const base = `/v1/runs/${evaluation.runId}/evaluations/${evaluation.policyVersion}`;
  return {
    policyVersion: evaluation.policyVersion,
    items: evaluation.items.map(({ imagePath, seed, ...item }, position) => ({
      ...item,
      seed: seed.toString(),
      image: imagePath === null ? null : `${base}/${position}/image`,
    })),
  };
}
