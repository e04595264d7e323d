import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { advanceLineage, firstLineage } from '../core/reward-version.js';
import { moveRun, type RunState } from '../core/run-state.js';
import type {
  EvaluationRecord,
  IterationRecord,
  MetricPoint,
  RunStore,
  StoredRewardEvent,
  StoredRewardVersion,
  StoredRollout,
  StoredRun,
} from '../pipeline/ports.js';
import { assertCommittable, noRollout, noRun } from './store-rules.js';

interface Entry {
  run: StoredRun;
  rewardVersions: StoredRewardVersion[];
  iterations: IterationRecord[];
  evaluations: Map<number, EvaluationRecord>;
}

/** Runs in memory: for unit tests only. Behaves like the SQLite store; one conformance suite runs on both. */
export class MemoryRunStore implements RunStore {
  readonly #entries = new Map<string, Entry>();

  /** @param now time of day, ISO 8601 */
  constructor(private readonly now: () => string) {}

  createRun(run: { runId: string; recipe: Recipe; recipeText: string }): StoredRun {
    if (this.#entries.has(run.runId)) throw new StarError('STATE_CONFLICT', `run ${run.runId} exists already`);
    const at = this.now();
    const stored: StoredRun = {
      runId: run.runId,
      recipe: structuredClone(run.recipe),
      state: 'QUEUED',
      completedIterations: 0,
      checkpointVersion: 0,
      createdAt: at,
      updatedAt: at,
      failure: null,
    };
    const rewardVersions = firstLineage(stored.recipe.reward, at);
    this.#entries.set(run.runId, { run: stored, rewardVersions, iterations: [], evaluations: new Map() });
    return stored;
  }

  getRun(runId: string): StoredRun {
    return this.#entry(runId).run;
  }

  listRuns(limit: number): StoredRun[] {
    return [...this.#entries.values()]
      .map((entry) => entry.run)
      .reverse()
      .slice(0, limit);
  }

  setState(runId: string, state: RunState, failure?: string): StoredRun {
    const { run } = this.#entry(runId);
    return this.#change(runId, { state: moveRun(run.state, state), failure: failure ?? null });
  }

  rewardVersions(runId: string): StoredRewardVersion[] {
    return this.#entry(runId).rewardVersions;
  }

  advanceReward(runId: string, event: StoredRewardEvent): StoredRewardVersion[] {
    const entry = this.#entry(runId);
    entry.rewardVersions = advanceLineage(entry.rewardVersions, structuredClone(event), this.now());
    return entry.rewardVersions;
  }

  commitIteration(record: IterationRecord): void {
    const { run, iterations } = this.#entry(record.runId);
    assertCommittable(run, record);
    iterations.push(structuredClone(record));
    this.#change(record.runId, {
      completedIterations: record.iteration + 1,
      checkpointVersion: record.checkpointVersion ?? run.checkpointVersion,
    });
  }

  rewind(runId: string, iteration: number): void {
    const entry = this.#entry(runId);
    entry.iterations = entry.iterations.filter((record) => record.iteration < iteration);
    this.#change(runId, {
      completedIterations: Math.min(entry.run.completedIterations, iteration),
      checkpointVersion: Math.max(0, ...entry.iterations.map((record) => record.checkpointVersion ?? 0)),
    });
  }

  commitEvaluation(record: EvaluationRecord): void {
    this.#entry(record.runId).evaluations.set(record.policyVersion, structuredClone(record));
  }

  evaluations(runId: string): EvaluationRecord[] {
    return [...this.#entry(runId).evaluations.values()].sort((a, b) => a.policyVersion - b.policyVersion);
  }

  metrics(runId: string, since = 0): MetricPoint[] {
    return points(this.#entry(runId).iterations, 'metrics').filter((point) => point.iteration >= since);
  }

  timings(runId: string): MetricPoint[] {
    return points(this.#entry(runId).iterations, 'seconds');
  }

  rollouts(runId: string, iteration: number): StoredRollout[] {
    const record = this.#entry(runId).iterations.find((each) => each.iteration === iteration);
    return record === undefined ? [] : [...record.rollouts];
  }

  getRollout(runId: string, rolloutId: string): StoredRollout {
    const all = this.#entry(runId).iterations.flatMap((record) => record.rollouts);
    const found = all.find((rollout) => rollout.rolloutId === rolloutId);
    if (found === undefined) throw noRollout(runId, rolloutId);
    return found;
  }

  runsScoredBy(bundleHash: string): string[] {
    const scored = ({ iterations, evaluations }: Entry): boolean =>
      [...iterations.flatMap(({ rollouts }) => rollouts), ...[...evaluations.values()].flatMap(({ items }) => items)]
        .flatMap(({ scores }) => Object.values(scores))
        .some((score) => score.kind !== 'failed' && score.lineage.bundleHash === bundleHash);
    return [...this.#entries]
      .filter(([, entry]) => scored(entry))
      .map(([runId]) => runId)
      .sort();
  }

  #entry(runId: string): Entry {
    const entry = this.#entries.get(runId);
    if (entry === undefined) throw noRun(runId);
    return entry;
  }

  #change(runId: string, change: Partial<StoredRun>): StoredRun {
    const entry = this.#entry(runId);
    entry.run = { ...entry.run, ...change, updatedAt: this.now() };
    return entry.run;
  }
}

function points(records: readonly IterationRecord[], field: 'metrics' | 'seconds'): MetricPoint[] {
  return records
    .flatMap((record) =>
      Object.entries(record[field]).map(([name, value]) => ({ iteration: record.iteration, name, value })),
    )
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.iteration - b.iteration));
}
