import type Database from 'better-sqlite3';
import { type Recipe, recipeSchema } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { RewardComparison } from '../core/reward-comparison.js';
import { advanceLineage, firstLineage, type RewardVersionState } from '../core/reward-version.js';
import { moveRun, type RunState } from '../core/run-state.js';
import type { ScoreLineage } from '../core/types.js';
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
import { packScores, type Scores, unpackScores } from './score-lineages.js';
import { assertCommittable, noRollout, noRun } from './store-rules.js';

interface RunRow {
  run_id: string;
  recipe_json: string;
  state: string;
  completed_iterations: number;
  checkpoint_version: number;
  created_at: string;
  updated_at: string;
  failure: string | null;
}

interface RolloutRow {
  rollout_id: string;
  iteration: number;
  prompt_index: number;
  prompt: string;
  tag: string;
  seed: string;
  reward: number | null;
  advantage: number | null;
  scores_json: string;
  image_path: string | null;
  maps_path: string | null;
  reward_version: number;
}

interface RewardVersionRow {
  version: number;
  reward_json: string;
  state: string;
  earliest_iteration: number;
  effective_iteration: number | null;
  rollback_of: number | null;
  author: string;
  staged_at: string;
  failure: string | null;
  shadow_json: string | null;
}

interface EvaluationItemRow {
  prompt: string;
  tag: string;
  seed: string;
  scores_json: string;
  image_path: string | null;
}

type PointKind = 'metric' | 'seconds';

/** Runs in SQLite. Synchronous; every method is one transaction, durable when it returns. */
export class SqliteRunStore implements RunStore {
  /**
   * @param database opened by `openDatabase`; this store is its one writer
   * @param now time of day, ISO 8601
   */
  constructor(
    private readonly database: Database.Database,
    private readonly now: () => string,
  ) {}

  createRun(run: { runId: string; recipe: Recipe; recipeText: string }): StoredRun {
    return this.#transaction(() => {
      if (this.#runRow(run.runId) !== undefined) {
        throw new StarError('STATE_CONFLICT', `run ${run.runId} exists already`);
      }
      const at = this.now();
      this.#run(
        `INSERT INTO runs VALUES (?, ?, ?, 'QUEUED', 0, 0, ?, ?, NULL, (SELECT ifnull(max(sequence), 0) + 1 FROM runs))`,
        [run.runId, JSON.stringify(run.recipe), run.recipeText, at, at],
      );
      for (const version of firstLineage(run.recipe.reward, at)) this.#putRewardVersion(run.runId, version);
      return this.getRun(run.runId);
    });
  }

  getRun(runId: string): StoredRun {
    const row = this.#runRow(runId);
    if (row === undefined) throw noRun(runId);
    return toRun(row);
  }

  listRuns(limit: number): StoredRun[] {
    return this.#all<RunRow>('SELECT * FROM runs ORDER BY sequence DESC LIMIT ?', [limit]).map(toRun);
  }

  setState(runId: string, state: RunState, failure?: string): StoredRun {
    return this.#transaction(() => {
      const next = moveRun(this.getRun(runId).state, state);
      this.#run('UPDATE runs SET state = ?, failure = ?, updated_at = ? WHERE run_id = ?', [
        next,
        failure ?? null,
        this.now(),
        runId,
      ]);
      return this.getRun(runId);
    });
  }

  rewardVersions(runId: string): StoredRewardVersion[] {
    this.getRun(runId);
    return this.#all<RewardVersionRow>('SELECT * FROM reward_versions WHERE run_id = ? ORDER BY version', [runId]).map(
      toRewardVersion,
    );
  }

  advanceReward(runId: string, event: StoredRewardEvent): StoredRewardVersion[] {
    return this.#transaction(() => {
      const before = this.rewardVersions(runId);
      const after = advanceLineage(before, event, this.now());
      for (const version of after.filter((each) => !before.includes(each))) this.#putRewardVersion(runId, version);
      return after;
    });
  }

  commitIteration(record: IterationRecord): void {
    this.#transaction(() => {
      const run = this.getRun(record.runId);
      assertCommittable(run, record);
      this.#run('INSERT INTO iterations VALUES (?, ?, ?)', [record.runId, record.iteration, record.checkpointVersion]);
      this.#insertPoints(record, 'metric', record.metrics);
      this.#insertPoints(record, 'seconds', record.seconds);
      for (const [position, rollout] of record.rollouts.entries()) this.#insertRollout(record.runId, position, rollout);
      this.#setProgress(record.runId, record.iteration + 1, record.checkpointVersion ?? run.checkpointVersion);
    });
  }

  rewind(runId: string, iteration: number): void {
    this.#transaction(() => {
      const run = this.getRun(runId);
      for (const table of ['iterations', 'points', 'rollouts']) {
        this.#run(`DELETE FROM ${table} WHERE run_id = ? AND iteration >= ?`, [runId, iteration]);
      }
      const [left] = this.#all<{ version: number }>(
        'SELECT ifnull(max(checkpoint_version), 0) AS version FROM iterations WHERE run_id = ?',
        [runId],
      );
      this.#setProgress(runId, Math.min(run.completedIterations, iteration), left?.version ?? 0);
    });
  }

  commitEvaluation(record: EvaluationRecord): void {
    this.#transaction(() => {
      const key = [record.runId, record.policyVersion];
      this.getRun(record.runId);
      this.#run('INSERT OR REPLACE INTO evaluations VALUES (?, ?)', key);
      this.#run('DELETE FROM evaluation_items WHERE run_id = ? AND policy_version = ?', key);
      for (const [position, item] of record.items.entries()) {
        this.#run('INSERT INTO evaluation_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
          ...key,
          position,
          item.prompt,
          item.tag,
          item.seed.toString(),
          this.#packScores(record.runId, item.scores),
          item.imagePath,
        ]);
      }
    });
  }

  evaluations(runId: string): EvaluationRecord[] {
    return this.#transaction(() => {
      this.getRun(runId);
      return this.#all<{ version: number }>(
        'SELECT policy_version AS version FROM evaluations WHERE run_id = ? ORDER BY policy_version',
        [runId],
      ).map(({ version }) => ({ runId, policyVersion: version, items: this.#evaluationItems(runId, version) }));
    });
  }

  metrics(runId: string, since = 0): MetricPoint[] {
    return this.#points(runId, 'metric', since);
  }

  timings(runId: string): MetricPoint[] {
    return this.#points(runId, 'seconds', 0);
  }

  rollouts(runId: string, iteration: number): StoredRollout[] {
    this.getRun(runId);
    const lineages = this.#lineages(runId);
    return this.#all<RolloutRow>('SELECT * FROM rollouts WHERE run_id = ? AND iteration = ? ORDER BY position', [
      runId,
      iteration,
    ]).map((row) => toRollout(row, lineages));
  }

  getRollout(runId: string, rolloutId: string): StoredRollout {
    this.getRun(runId);
    const [row] = this.#all<RolloutRow>('SELECT * FROM rollouts WHERE run_id = ? AND rollout_id = ?', [
      runId,
      rolloutId,
    ]);
    if (row === undefined) throw noRollout(runId, rolloutId);
    return toRollout(row, this.#lineages(runId));
  }

  runsScoredBy(bundleHash: string): string[] {
    return this.#all<{ run_id: string }>(
      `SELECT DISTINCT run_id FROM score_lineages WHERE lineage_json ->> '$.bundleHash' = ? ORDER BY run_id`,
      [bundleHash],
    ).map((row) => row.run_id);
  }

  #runRow(runId: string): RunRow | undefined {
    return this.#all<RunRow>('SELECT * FROM runs WHERE run_id = ?', [runId])[0];
  }

  #setProgress(runId: string, completedIterations: number, checkpointVersion: number): void {
    this.#run('UPDATE runs SET completed_iterations = ?, checkpoint_version = ?, updated_at = ? WHERE run_id = ?', [
      completedIterations,
      checkpointVersion,
      this.now(),
      runId,
    ]);
  }

  #putRewardVersion(runId: string, version: StoredRewardVersion): void {
    this.#run('INSERT OR REPLACE INTO reward_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', [
      runId,
      version.version,
      JSON.stringify(version.reward),
      version.state,
      version.earliestIteration,
      version.effectiveIteration,
      version.rollbackOf,
      version.author,
      version.stagedAt,
      version.failure,
      version.shadow === null ? null : JSON.stringify(version.shadow),
    ]);
  }

  #insertPoints(record: IterationRecord, kind: PointKind, values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values)) {
      this.#run('INSERT INTO points VALUES (?, ?, ?, ?, ?)', [record.runId, kind, name, record.iteration, value]);
    }
  }

  #insertRollout(runId: string, position: number, rollout: StoredRollout): void {
    this.#run('INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', [
      runId,
      rollout.rolloutId,
      rollout.iteration,
      position,
      rollout.promptIndex,
      rollout.prompt,
      rollout.tag,
      rollout.seed.toString(),
      rollout.reward,
      rollout.advantage,
      this.#packScores(runId, rollout.scores),
      rollout.imagePath,
      rollout.mapsPath,
      rollout.rewardVersion,
    ]);
  }

  /** @returns the scores as text, after their lineages are stored */
  #packScores(runId: string, scores: Scores): string {
    const { json, lineages } = packScores(scores);
    for (const [hash, lineage] of lineages) {
      this.#run('INSERT OR IGNORE INTO score_lineages VALUES (?, ?, ?)', [runId, hash, lineage]);
    }
    return json;
  }

  #lineages(runId: string): ReadonlyMap<string, ScoreLineage> {
    const rows = this.#all<{ lineage_hash: string; lineage_json: string }>(
      'SELECT lineage_hash, lineage_json FROM score_lineages WHERE run_id = ?',
      [runId],
    );
    return new Map(rows.map((row) => [row.lineage_hash, JSON.parse(row.lineage_json) as ScoreLineage]));
  }

  #evaluationItems(runId: string, policyVersion: number): EvaluationRecord['items'] {
    const lineages = this.#lineages(runId);
    return this.#all<EvaluationItemRow>(
      'SELECT * FROM evaluation_items WHERE run_id = ? AND policy_version = ? ORDER BY position',
      [runId, policyVersion],
    ).map((row) => ({
      prompt: row.prompt,
      tag: row.tag,
      seed: BigInt(row.seed),
      scores: unpackScores(row.scores_json, lineages),
      imagePath: row.image_path,
    }));
  }

  #points(runId: string, kind: PointKind, since: number): MetricPoint[] {
    this.getRun(runId);
    return this.#all<MetricPoint>(
      'SELECT iteration, name, value FROM points WHERE run_id = ? AND kind = ? AND iteration >= ? ORDER BY name, iteration',
      [runId, kind, since],
    );
  }

  #run(sql: string, values: readonly unknown[]): void {
    this.database.prepare(sql).run(...values);
  }

  #all<Row>(sql: string, values: readonly unknown[]): Row[] {
    return this.database.prepare<unknown[], Row>(sql).all(...values);
  }

  #transaction<Result>(work: () => Result): Result {
    try {
      return this.database.transaction(work)();
    } catch (error) {
      if (error instanceof StarError) throw error;
      throw new StarError('STORAGE_FAILED', `the database refused: ${StarError.from(error).message}`, {}, error);
    }
  }
}

function toRun(row: RunRow): StoredRun {
  return {
    runId: row.run_id,
    recipe: toRecipe(row.recipe_json),
    state: row.state as RunState,
    completedIterations: row.completed_iterations,
    checkpointVersion: row.checkpoint_version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    failure: row.failure,
  };
}

/**
 * As resolved when the run was created. Fields that the schema got later have their defaults; a recipe that it does not take
 * any more stays as it was, so that old runs can be read.
 */
function toRecipe(json: string): Recipe {
  const stored = JSON.parse(json) as Recipe;
  return recipeSchema.safeParse(stored).data ?? stored;
}

function toRewardVersion(row: RewardVersionRow): StoredRewardVersion {
  return {
    version: row.version,
    reward: JSON.parse(row.reward_json) as Recipe['reward'],
    state: row.state as RewardVersionState,
    earliestIteration: row.earliest_iteration,
    effectiveIteration: row.effective_iteration,
    rollbackOf: row.rollback_of,
    author: row.author,
    stagedAt: row.staged_at,
    failure: row.failure,
    shadow: row.shadow_json === null ? null : (JSON.parse(row.shadow_json) as RewardComparison),
  };
}

function toRollout(row: RolloutRow, lineages: ReadonlyMap<string, ScoreLineage>): StoredRollout {
  return {
    rolloutId: row.rollout_id,
    iteration: row.iteration,
    promptIndex: row.prompt_index,
    prompt: row.prompt,
    tag: row.tag,
    seed: BigInt(row.seed),
    reward: row.reward,
    advantage: row.advantage,
    rewardVersion: row.reward_version,
    scores: unpackScores(row.scores_json, lineages),
    imagePath: row.image_path,
    mapsPath: row.maps_path,
  };
}
