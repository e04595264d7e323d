import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readRecipe } from '../src/config/read-recipe.js';
import { loadPrompts } from '../src/local/prompt-files.js';
import { rescoreRun } from '../src/offline-scoring.js';
import { systemClock } from '../src/pipeline/clock.js';
import { RunController } from '../src/pipeline/run-controller.js';
import { ArtifactFiles } from '../src/storage/artifact-files.js';
import { openDatabase } from '../src/storage/database.js';
import { SqliteRunStore } from '../src/storage/sqlite-run-store.js';
import { newFolder, ROOT, START_MS, shrunkRecipe } from './end-to-end.js';
import { ScriptedScorer } from './scripted-trainer.js';
import { SteeredTrainer } from './steered-trainer.js';

/** Stored pictures of a data folder, scored again by a real scorer process. */

const PICTURES = ['red-circle-blue-square', 'blank'].map((name) =>
  readFileSync(new URL(`../src/scoring/fixtures/${name}.png`, import.meta.url)),
);

let folder: string;

/** A run of the small world whose pictures are drawn by hand and whose rewards are made up. */
beforeAll(async () => {
  folder = newFolder();
  mkdirSync(folder, { recursive: true });
  const database = openDatabase(join(folder, 'star.db'));
  const store = new SqliteRunStore(database, () => 'now');
  const draw = ([first]: Uint8Array): Uint8Array => PICTURES[(first ?? 0) % 2] as Uint8Array;
  const controller = new RunController({
    store,
    artifacts: new ArtifactFiles(join(folder, 'runs')),
    trainer: new SteeredTrainer(() => undefined, { draw }),
    createScorer: async () => new ScriptedScorer({ value: (image) => image.length / 1000 }),
    loadPrompts: (recipe) => loadPrompts(recipe, ROOT),
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock: systemClock,
    onFinished: async () => undefined,
  });
  const recipe = readRecipe(shrunkRecipe('tiny-geneval-star.yaml', ['iterations=2']));
  store.createRun({ runId: 'r1', recipe, recipeText: '' });
  controller.submit('r1');
  await controller.idle();
  expect(store.getRun('r1').failure).toBeNull();
  database.close();
}, START_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = (rewardText: string) => ({
  dataDir: folder,
  runId: 'r1',
  rewardText,
  name: 'reward.yaml',
  iterations: null,
  signal: new AbortController().signal,
});

it('compares the stored rewards with those of the detector', { timeout: START_MS }, async () => {
  const report = await rescoreRun(options('components: [{ name: geneval, scorer: geneval }]'));
  expect(report).toMatchObject({ iterations: [0, 1], iterationsWithoutPictures: 0 });
  expect(report.overall).toMatchObject({ groupCount: 4, pictureCount: 16, bothCount: 16, missingAfter: 0 });
  expect(report.overall.after?.mean).not.toBe(report.overall.before?.mean);
  expect(report.byTag.reduce((sum, { comparison }) => sum + comparison.pictureCount, 0)).toBe(16);
});

it('names a misspelt key with file, line and nearest name', async () => {
  await expect(rescoreRun(options('components: [{ name: a, scorr: geneval }]'))).rejects.toMatchObject({
    reason: 'RECIPE_INVALID',
    message: expect.stringMatching(/^reward\.yaml:1:\d+: unknown key components\.0\.scorr; did you mean scorer\?/m),
  });
});
