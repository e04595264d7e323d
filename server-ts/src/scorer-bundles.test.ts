import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tinyRecipe } from '../test/tiny-recipe.js';
import type { Score } from './core/types.js';
import { addScorerBundle, listBundles, removeScorerBundle } from './scorer-bundles.js';
import type { BundleEntry } from './scoring/bundle/bundle-store.js';
import { writeDetectorBundle } from './scoring/fixtures/detector-bundle.js';
import { openDatabase } from './storage/database.js';
import { SqliteRunStore } from './storage/sqlite-run-store.js';

let folder = '';
let data = '';
let entry: BundleEntry;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'star-scorers-'));
  data = join(folder, 'data');
  mkdirSync(data);
  await writeDetectorBundle(join(folder, 'bundle'));
  entry = await addScorerBundle(data, join(folder, 'bundle'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function withRun(work: (store: SqliteRunStore) => void, bundle: string | null = null): void {
  const database = openDatabase(join(data, 'star.db'));
  const store = new SqliteRunStore(database, () => '2026-01-01T00:00:00.000Z');
  const { reward, ...rest } = tinyRecipe();
  const components = reward.components.map((component) => ({ ...component, bundle }));
  store.createRun({ runId: 'r1', recipe: { ...rest, reward: { ...reward, components } }, recipeText: '' });
  work(store);
  database.close();
}

const remove = (force = false): Promise<BundleEntry> => removeScorerBundle(data, 'hand-made-detector', force);
const isStored = async (): Promise<boolean> =>
  (await listBundles(data)).bundles.some(({ bundleHash }) => bundleHash === entry.bundleHash);
const refusal = { reason: 'STATE_CONFLICT', message: expect.stringMatching(/r1 was or will be scored.*--force/) };

it('keeps a bundle that scored a run which is over', async () => {
  withRun((store) => {
    const lineage = { scorer: 's', bundleHash: entry.bundleHash, graphHashes: {}, thresholds: {}, runtime: 'r' };
    const score: Score = { kind: 'abstained', message: 'm', lineage: { ...lineage, preprocessing: '' } };
    const item = { prompt: 'p', tag: 't', seed: 1n, scores: { geneval: score }, imagePath: null };
    store.commitEvaluation({ runId: 'r1', policyVersion: 0, items: [item] });
    for (const state of ['RUNNING', 'SUCCEEDED'] as const) store.setState('r1', state);
  });
  await expect(remove()).rejects.toMatchObject(refusal);
  expect(await isStored()).toBe(true);
  await remove(true);
  expect(await isStored()).toBe(false);
});

it.each(['hand-made-detector', 'hand-made-detector@1'])('keeps a bundle that a run names as %s', async (name) => {
  withRun(() => undefined, name);
  await expect(remove()).rejects.toMatchObject(refusal);
});

it('removes a bundle that no run needs', async () => {
  withRun(() => undefined);
  await remove();
  expect(await isStored()).toBe(false);
});
