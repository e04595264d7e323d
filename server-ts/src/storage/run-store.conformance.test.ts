import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import type { Recipe } from '../config/recipe.js';
import { compareRewards } from '../core/reward-comparison.js';
import type { Score } from '../core/types.js';
import type { IterationRecord, RunStore, StoredRollout } from '../pipeline/ports.js';
import { MIGRATIONS, openDatabase } from './database.js';
import { MemoryRunStore } from './memory-run-store.js';
import { SqliteRunStore } from './sqlite-run-store.js';

const score = {
  kind: 'value',
  values: { score: 0.1 + 0.2, strict: 0 },
  evidence: { kind: 'none' },
  lineage: {
    scorer: 'geneval 1',
    bundleHash: 'ab',
    graphHashes: { 'model.onnx': 'cd' },
    thresholds: { threshold: 0.3 },
    preprocessing: 'p',
    runtime: 'onnx',
  },
} satisfies Score;
const abstained: Score = { kind: 'abstained', message: 'asks for no text', lineage: score.lineage };
const failed: Score = { kind: 'failed', failure: { reason: 'SCORER_TIMEOUT', message: 'no answer in 100 ms' } };

const rollout = (iteration: number, index: number): StoredRollout => ({
  rolloutId: `${iteration}-0-${index}`,
  iteration,
  promptIndex: 0,
  prompt: 'a red circle',
  tag: 'single',
  // Needs all 63 bits: a number would lose the end.
  seed: 9_223_372_036_854_775_807n - BigInt(index),
  reward: index === 0 ? 0.1 + 0.2 : null,
  advantage: index === 0 ? 1 / 3 : null,
  rewardVersion: 1 + iteration,
  scores: { geneval: index === 0 ? score : failed, text: abstained },
  imagePath: 'rollouts/0-0-0.png',
  mapsPath: null,
});

const iteration = (index: number, checkpointVersion: number | null = null): IterationRecord => ({
  runId: 'r1',
  iteration: index,
  metrics: { 'reward.mean': 0.1 + 0.2 + index, 'ratio.max': 1 / 3 },
  seconds: { sampling: 1.5 },
  rollouts: [rollout(index, 0), rollout(index, 1)],
  checkpointVersion,
});

const otherReward = { ...tinyRecipe().reward, processCount: 2 };
const staged = { kind: 'staged', reward: otherReward, earliestIteration: 3, author: 'me' } as const;
const shadow = compareRewards([]);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-store-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const now = () => '2026-01-01T00:00:00.000Z';
const stores: readonly (readonly [string, () => RunStore])[] = [
  ['memory', () => new MemoryRunStore(now)],
  ['sqlite', () => new SqliteRunStore(openDatabase(join(folder, 'star.db')), now)],
];

describe.each(stores)('run store: %s', (_, create) => {
  let store: RunStore;
  beforeEach(() => {
    store = create();
    store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: 'name: tiny' });
  });

  it('keeps the recipe and starts at QUEUED with nothing done', () => {
    expect(store.getRun('r1')).toEqual({
      runId: 'r1',
      recipe: tinyRecipe(),
      state: 'QUEUED',
      completedIterations: 0,
      checkpointVersion: 0,
      createdAt: now(),
      updatedAt: now(),
      failure: null,
    });
  });

  it('refuses a run id twice and an unknown one everywhere', () => {
    expect(() => store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: '' })).toThrow(
      expect.objectContaining({ reason: 'STATE_CONFLICT' }),
    );
    const calls = [
      () => store.getRun('x'),
      () => store.setState('x', 'RUNNING'),
      () => store.commitIteration({ ...iteration(0), runId: 'x' }),
      () => store.rewardVersions('x'),
      () => store.advanceReward('x', staged),
      () => store.rewind('x', 0),
      () => store.commitEvaluation({ runId: 'x', policyVersion: 0, items: [] }),
      () => store.evaluations('x'),
      () => store.metrics('x'),
      () => store.timings('x'),
      () => store.rollouts('x', 0),
      () => store.getRollout('x', '0-0-0'),
      () => store.getRollout('r1', '0-0-0'),
    ];
    for (const call of calls) expect(call).toThrow(expect.objectContaining({ reason: 'NOT_FOUND' }));
  });

  it('moves states by the one transition function and keeps the failure until the next move', () => {
    store.setState('r1', 'RUNNING');
    expect(store.setState('r1', 'FAILED', 'no reward').failure).toBe('no reward');
    expect(() => store.setState('r1', 'RUNNING')).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
    expect(store.setState('r1', 'QUEUED').failure).toBeNull();
  });

  it('lists the newest run first, up to the limit', () => {
    store.createRun({ runId: 'r2', recipe: tinyRecipe(), recipeText: '' });
    store.createRun({ runId: 'a3', recipe: tinyRecipe(), recipeText: '' });
    expect(store.listRuns(2).map((run) => run.runId)).toEqual(['a3', 'r2']);
  });

  it('commits everything of an iteration without loss of a bit', () => {
    store.commitIteration(iteration(0, 1));
    expect(store.rollouts('r1', 0)).toEqual(iteration(0).rollouts);
    expect(store.getRollout('r1', '0-0-1')).toEqual(rollout(0, 1));
    expect(store.timings('r1')).toEqual([{ iteration: 0, name: 'sampling', value: 1.5 }]);
    expect(store.getRun('r1')).toMatchObject({ completedIterations: 1, checkpointVersion: 1 });
  });

  it('orders the series by name, then iteration, from a first iteration on', () => {
    for (const index of [0, 1, 2]) store.commitIteration(iteration(index));
    expect(store.metrics('r1', 1)).toEqual([
      { iteration: 1, name: 'ratio.max', value: 1 / 3 },
      { iteration: 2, name: 'ratio.max', value: 1 / 3 },
      { iteration: 1, name: 'reward.mean', value: 0.1 + 0.2 + 1 },
      { iteration: 2, name: 'reward.mean', value: 0.1 + 0.2 + 2 },
    ]);
  });

  it('commits nothing of an iteration out of order or with a number that is not finite', () => {
    expect(() => store.commitIteration(iteration(1))).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
    const broken = { ...iteration(0), metrics: { a: 1, b: Number.NaN } };
    expect(() => store.commitIteration(broken)).toThrow(expect.objectContaining({ reason: 'NOT_FINITE' }));
    expect(store.metrics('r1')).toEqual([]);
    expect(store.getRun('r1').completedIterations).toBe(0);
  });

  it('rewinds to a checkpoint: later iterations go, evaluations stay, the same ids can be committed again', () => {
    store.commitIteration(iteration(0));
    store.commitIteration(iteration(1, 2));
    store.commitIteration(iteration(2));
    store.commitIteration(iteration(3, 4));
    store.commitEvaluation({ runId: 'r1', policyVersion: 4, items: [] });
    store.rewind('r1', 2);
    expect(store.getRun('r1')).toMatchObject({ completedIterations: 2, checkpointVersion: 2 });
    expect(store.metrics('r1').map((point) => point.iteration)).toEqual([0, 1, 0, 1]);
    expect(store.rollouts('r1', 2)).toEqual([]);
    expect(store.evaluations('r1')).toHaveLength(1);
    store.commitIteration(iteration(2));
    expect(store.getRun('r1').completedIterations).toBe(3);
  });

  it("keeps every version of the reward, from the recipe's on", () => {
    expect(store.rewardVersions('r1')).toEqual([
      {
        version: 1,
        reward: tinyRecipe().reward,
        state: 'ACTIVE',
        earliestIteration: 0,
        effectiveIteration: 0,
        rollbackOf: null,
        author: 'recipe',
        stagedAt: now(),
        failure: null,
        shadow: null,
      },
    ]);
    store.advanceReward('r1', staged);
    store.advanceReward('r1', { kind: 'checked', version: 2 });
    store.advanceReward('r1', { kind: 'shadowed', version: 2, shadow });
    const last = store.advanceReward('r1', { kind: 'activated', version: 2, iteration: 3 });
    expect(last.map(({ state }) => state)).toEqual(['RETIRED', 'ACTIVE']);
    expect(last[1]).toMatchObject({ reward: otherReward, author: 'me', effectiveIteration: 3, shadow });
    expect(store.rewardVersions('r1')).toEqual(last);
    store.rewind('r1', 0);
    expect(store.rewardVersions('r1')).toEqual(last);
    const undone = store.advanceReward('r1', { kind: 'rolledBack', earliestIteration: 4, author: 'me' });
    expect(undone[2]).toMatchObject({ rollbackOf: 2, reward: tinyRecipe().reward });
    const refused = store.advanceReward('r1', { kind: 'refused', version: 3, failure: 'no bundle' });
    expect(refused[2]).toMatchObject({ state: 'REFUSED', failure: 'no bundle' });
    expect(store.rewardVersions('r1')).toEqual(refused);
  });

  it('changes nothing of the reward by a move that is not allowed', () => {
    store.advanceReward('r1', staged);
    const before = store.rewardVersions('r1');
    expect(() => store.advanceReward('r1', { kind: 'activated', version: 2, iteration: 3 })).toThrow(
      expect.objectContaining({ reason: 'STATE_CONFLICT' }),
    );
    expect(store.rewardVersions('r1')).toEqual(before);
  });

  it('keeps evaluations by policy version, in order of items; a repeat replaces', () => {
    const item = { prompt: 'p', tag: 't', seed: 2n ** 62n + 1n, scores: { geneval: score }, imagePath: null };
    store.commitEvaluation({ runId: 'r1', policyVersion: 3, items: [item, { ...item, prompt: 'q' }] });
    store.commitEvaluation({ runId: 'r1', policyVersion: 0, items: [item] });
    store.commitEvaluation({ runId: 'r1', policyVersion: 0, items: [{ ...item, prompt: 'z' }] });
    expect(store.evaluations('r1')).toEqual([
      { runId: 'r1', policyVersion: 0, items: [{ ...item, prompt: 'z' }] },
      { runId: 'r1', policyVersion: 3, items: [item, { ...item, prompt: 'q' }] },
    ]);
  });

  it('knows which runs a bundle has scored, by rollouts or evaluations', () => {
    for (const runId of ['r3', 'r2']) store.createRun({ runId, recipe: tinyRecipe(), recipeText: '' });
    expect(store.runsScoredBy('ab')).toEqual([]);
    const item = { prompt: 'p', tag: 't', seed: 1n, scores: { geneval: score, text: failed }, imagePath: null };
    store.commitEvaluation({ runId: 'r3', policyVersion: 0, items: [item] });
    store.commitIteration(iteration(0));
    expect(store.runsScoredBy('ab')).toEqual(['r1', 'r3']);
    expect(store.runsScoredBy('abc')).toEqual([]);
  });
});

describe('SQLite file', () => {
  it('has everything after it is closed and opened again', () => {
    const path = join(folder, 'star.db');
    const first = openDatabase(path);
    const store = new SqliteRunStore(first, now);
    store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: '' });
    store.commitIteration(iteration(0, 1));
    first.close();
    const again = new SqliteRunStore(openDatabase(path), now);
    expect(again.rollouts('r1', 0)).toEqual(iteration(0).rollouts);
  });

  it('reads a run whose recipe was written under an older schema', () => {
    const store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), now);
    const old = { ...tinyRecipe(), gone: { with: 'an earlier version' } };
    store.createRun({ runId: 'r1', recipe: old, recipeText: '' });
    expect(store.listRuns(1)[0]?.recipe).toEqual(old);
  });

  it('gives the runs of the first schema their reward as version 1', () => {
    const path = join(folder, 'old.db');
    const old = new Database(path);
    old.exec(MIGRATIONS[0] ?? '');
    old
      .prepare(`INSERT INTO runs VALUES ('r1', ?, '', 'STOPPED', 1, 1, 'then', 'then', NULL, 1)`)
      .run(JSON.stringify(tinyRecipe()));
    old.exec(`INSERT INTO rollouts VALUES ('r1', '0-0-0', 0, 0, 0, 'p', 't', '1', 0.5, 0.1, '{}', NULL, NULL)`);
    old.pragma('user_version = 1');
    old.close();
    const store = new SqliteRunStore(openDatabase(path), now);
    expect(store.rewardVersions('r1')).toMatchObject([
      { version: 1, reward: tinyRecipe().reward, state: 'ACTIVE', effectiveIteration: 0, stagedAt: 'then' },
    ]);
    expect(store.getRollout('r1', '0-0-0').rewardVersion).toBe(1);
  });

  it('stores a lineage once for all scores that name it', () => {
    const database = openDatabase(join(folder, 'star.db'));
    const store = new SqliteRunStore(database, now);
    store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: '' });
    for (const index of [0, 1]) store.commitIteration(iteration(index));
    expect(database.prepare('SELECT count(*) AS count FROM score_lineages').get()).toEqual({ count: 1 });
  });

  it('takes the lineages out of scores that an earlier version stored', () => {
    const path = join(folder, 'old.db');
    const old = new Database(path);
    for (const migration of MIGRATIONS.slice(0, 2)) old.exec(migration);
    old.pragma('user_version = 2');
    old
      .prepare(`INSERT INTO runs VALUES ('r1', ?, '', 'STOPPED', 1, 1, 'then', 'then', NULL, 1)`)
      .run(JSON.stringify(tinyRecipe()));
    const lineage = { scorer: 'geneval 1', bundleHash: 'ab', runtime: 'onnx' };
    const scores = JSON.stringify({ a: { ...score, lineage }, b: failed, c: { ...abstained, lineage } });
    old
      .prepare(`INSERT INTO rollouts VALUES ('r1', '0-0-0', 0, 0, 0, 'p', 't', '1', 0.5, 0.1, ?, NULL, NULL, 1)`)
      .run(scores);
    old.exec(`INSERT INTO evaluations VALUES ('r1', 0)`);
    old.prepare(`INSERT INTO evaluation_items VALUES ('r1', 0, 0, 'p', 't', '1', ?, NULL)`).run(scores);
    old.close();
    const store = new SqliteRunStore(openDatabase(path), now);
    const complete = { ...lineage, graphHashes: {}, thresholds: {}, preprocessing: '' };
    const expected = { a: { ...score, lineage: complete }, b: failed, c: { ...abstained, lineage: complete } };
    expect(store.getRollout('r1', '0-0-0').scores).toEqual(expected);
    expect(store.evaluations('r1')[0]?.items[0]?.scores).toEqual(expected);
    expect(store.runsScoredBy('ab')).toEqual(['r1']);
  });

  it('refuses a file of a newer version', () => {
    const path = join(folder, 'star.db');
    const database = openDatabase(path);
    database.pragma('user_version = 99');
    database.close();
    expect(() => openDatabase(path)).toThrow(expect.objectContaining({ reason: 'STORAGE_FAILED' }));
  });
});

describe('run store: sqlite', () => {
  it('gives a recipe that an earlier version stored the defaults of fields that came later', () => {
    const store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), now);
    const { reward, ...rest } = tinyRecipe();
    const { quorum, monitors, combination, ...old } = reward;
    store.createRun({ runId: 'r1', recipe: { ...rest, reward: old } as Recipe, recipeText: '' });
    expect(store.getRun('r1').recipe.reward).toEqual({ ...old, quorum, monitors, combination });
  });

  it('can still read a recipe that the schema does not take any more', () => {
    const store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), now);
    const recipe = { ...tinyRecipe(), gone: 1 } as Recipe;
    store.createRun({ runId: 'r1', recipe, recipeText: '' });
    expect(store.getRun('r1').recipe).toEqual(recipe);
  });
});
