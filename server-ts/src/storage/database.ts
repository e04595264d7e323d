import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';
import { StarError } from '../core/errors.js';

/** SQL: `scores_json` with `change` applied to the lineage of every score that has one. */
const changedLineages = (change: string): string =>
  `(SELECT json_group_object(key, CASE WHEN json_type(value, '$.lineage') = 'object' THEN ${change} ELSE json(value) END)
    FROM json_each(scores_json))`;

const withCompleteLineages = changedLineages(
  `json_set(value, '$.lineage.graphHashes', json('{}'), '$.lineage.thresholds', json('{}'), '$.lineage.preprocessing', '')`,
);
const withLineageHashes = changedLineages(`json_set(value, '$.lineage', sha256(json_extract(value, '$.lineage')))`);

/** Numbered migrations: entry i takes a database from `user_version` i to i + 1. Never edit one that was released. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    recipe_json TEXT NOT NULL,
    recipe_text TEXT NOT NULL,
    state TEXT NOT NULL,
    completed_iterations INTEGER NOT NULL,
    checkpoint_version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    failure TEXT,
    -- Order of creation; created_at may repeat.
    sequence INTEGER NOT NULL UNIQUE
  ) STRICT;
  CREATE TABLE iterations (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    iteration INTEGER NOT NULL,
    checkpoint_version INTEGER,
    PRIMARY KEY (run_id, iteration)
  ) STRICT, WITHOUT ROWID;
  -- kind: 'metric' is reproducible, 'seconds' is not.
  CREATE TABLE points (
    run_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (run_id, kind, name, iteration)
  ) STRICT, WITHOUT ROWID;
  -- Seeds are text: they need 63 bits.
  CREATE TABLE rollouts (
    run_id TEXT NOT NULL,
    rollout_id TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    position INTEGER NOT NULL,
    prompt_index INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    tag TEXT NOT NULL,
    seed TEXT NOT NULL,
    reward REAL,
    advantage REAL,
    scores_json TEXT NOT NULL,
    image_path TEXT,
    maps_path TEXT,
    PRIMARY KEY (run_id, rollout_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX rollouts_by_iteration ON rollouts (run_id, iteration, position);
  CREATE TABLE evaluations (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    policy_version INTEGER NOT NULL,
    PRIMARY KEY (run_id, policy_version)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE evaluation_items (
    run_id TEXT NOT NULL,
    policy_version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    tag TEXT NOT NULL,
    seed TEXT NOT NULL,
    scores_json TEXT NOT NULL,
    image_path TEXT,
    PRIMARY KEY (run_id, policy_version, position)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What the reward of a run is, was and might become; version 1 is the recipe's.
  CREATE TABLE reward_versions (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    version INTEGER NOT NULL,
    reward_json TEXT NOT NULL,
    state TEXT NOT NULL,
    earliest_iteration INTEGER NOT NULL,
    effective_iteration INTEGER,
    rollback_of INTEGER,
    author TEXT NOT NULL,
    staged_at TEXT NOT NULL,
    failure TEXT,
    shadow_json TEXT,
    PRIMARY KEY (run_id, version)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO reward_versions
    SELECT run_id, 1, json_extract(recipe_json, '$.reward'), 'ACTIVE', 0, 0, NULL, 'recipe', created_at, NULL, NULL
    FROM runs;
  ALTER TABLE rollouts ADD COLUMN reward_version INTEGER NOT NULL DEFAULT 1;
  `,
  `
  -- Where the scores of a run came from, once for all scores that name it by its hash.
  CREATE TABLE score_lineages (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    lineage_hash TEXT NOT NULL,
    lineage_json TEXT NOT NULL,
    PRIMARY KEY (run_id, lineage_hash)
  ) STRICT, WITHOUT ROWID;
  -- Earlier scores hold theirs, without what was not recorded then.
  UPDATE rollouts SET scores_json = ${withCompleteLineages};
  UPDATE evaluation_items SET scores_json = ${withCompleteLineages};
  INSERT OR IGNORE INTO score_lineages
    SELECT run_id, sha256(json_extract(value, '$.lineage')), json_extract(value, '$.lineage')
    FROM (SELECT run_id, scores_json FROM rollouts UNION ALL SELECT run_id, scores_json FROM evaluation_items),
      json_each(scores_json)
    WHERE json_type(value, '$.lineage') = 'object';
  UPDATE rollouts SET scores_json = ${withLineageHashes};
  UPDATE evaluation_items SET scores_json = ${withLineageHashes};
  `,
];

/**
 * Opens a database file and brings its schema up to date. WAL, `synchronous=FULL`: a committed row survives power loss.
 *
 * @param path file; its folder must exist
 * @throws StarError STORAGE_FAILED when it cannot be opened or was written by a newer version
 */
export function openDatabase(path: string): Database.Database {
  try {
    const database = new Database(path);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('busy_timeout = 5000');
    database.pragma('foreign_keys = ON');
    database.function('sha256', { deterministic: true }, (text) => sha256(String(text)));
    migrate(database, path);
    return database;
  } catch (error) {
    if (error instanceof StarError) throw error;
    throw new StarError(
      'STORAGE_FAILED',
      `cannot open the database ${path}: ${StarError.from(error).message}`,
      {},
      error,
    );
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function migrate(database: Database.Database, path: string): void {
  const version = Number(database.pragma('user_version', { simple: true }));
  if (version > MIGRATIONS.length) {
    throw new StarError(
      'STORAGE_FAILED',
      `the database ${path} has schema version ${version}, this program knows up to ${MIGRATIONS.length}; update it`,
    );
  }
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.exec(migration);
      database.pragma(`user_version = ${index + 1}`);
    })();
  }
}
