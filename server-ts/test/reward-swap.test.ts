import { EventEmitter, once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Recipe } from '../src/config/recipe.js';
import { latestVersion, versionAt } from '../src/core/reward-version.js';
import { groupRewards } from '../src/core/rewards.js';
import { systemClock } from '../src/pipeline/clock.js';
import type { StoredRollout } from '../src/pipeline/ports.js';
import { RunController } from '../src/pipeline/run-controller.js';
import { BundleStore } from '../src/scoring/bundle/bundle-store.js';
import { loadScorerBundle } from '../src/scoring/bundle/scorer-bundle.js';
import { writeDetectorBundle } from '../src/scoring/fixtures/detector-bundle.js';
import { writeImageTextBundle } from '../src/scoring/fixtures/image-text-bundle.js';
import { createRewardScorer } from '../src/scoring/reward-scorer.js';
import { ArtifactFiles } from '../src/storage/artifact-files.js';
import { openDatabase } from '../src/storage/database.js';
import { SqliteRunStore } from '../src/storage/sqlite-run-store.js';
import { newFolder, ROOT } from './end-to-end.js';
import { type Steer, SteeredTrainer } from './steered-trainer.js';
import { tinyRecipe } from './tiny-recipe.js';

/** A live run whose reward is swapped in every iteration: SQLite, files, real scorer processes; only the worker is scripted. */

const SWAPS = 50;
/** The control plane dies in this iteration, after the stage and before the boundary. */
const KILLED = 46;
/** Starts some 60 scorer processes, on a machine that may be busy. */
const TIMEOUT_MS = 600_000;
const RUN = 'r1';

let folder: string;
let pictures: Buffer[];
const hashes = new Map<string, string>();

beforeAll(async () => {
  folder = newFolder();
  await writeDetectorBundle(join(folder, 'detector'));
  await writeDetectorBundle(join(folder, 'doubtful-detector'), { score: 0.5 });
  await writeDetectorBundle(join(folder, 'damaged-detector'), { sha256: '0'.repeat(64) });
  await writeImageTextBundle(join(folder, 'image-text'));
  for (const name of ['detector', 'doubtful-detector', 'image-text']) {
    hashes.set(join(folder, name), (await loadScorerBundle(join(folder, name))).bundleHash);
  }
  pictures = await Promise.all(
    Array.from({ length: 16 }, (_, index) => {
      const grey = index * 17;
      const background = { r: grey, g: 255 - grey, b: (grey * 7) % 256 };
      return sharp({ create: { width: 64, height: 64, channels: 3, background } })
        .png()
        .toBuffer();
    }),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Components = Record<string, unknown>[];
const reward = (components: Components): Recipe['reward'] => tinyRecipe({ reward: { components } }).reward;
const geneval = (weight: number, bundle = 'detector') => ({
  name: 'geneval',
  scorer: 'geneval',
  bundle: join(folder, bundle),
  weight,
});
const caption = (weight: number) => ({
  name: 'caption',
  scorer: 'image_text',
  bundle: join(folder, 'image-text'),
  weight,
});

/** What is staged in an iteration: another weight, another bundle with other scores, another kind, or two of them. */
function nextReward(iteration: number): Recipe['reward'] {
  const weight = 1 + iteration / 64;
  if (iteration % 4 === 0) return reward([geneval(weight)]);
  if (iteration % 4 === 1) return reward([geneval(weight, 'doubtful-detector')]);
  return iteration % 4 === 2 ? reward([caption(weight)]) : reward([geneval(1, 'doubtful-detector'), caption(weight)]);
}

const prompts = ['circle', 'square', 'red circle', 'blue square'].map((words) => ({
  prompt: `a photo of a ${words}`,
  tag: 'single',
  include: [{ class: words.split(' ').at(-1) as string, count: 1 }],
  exclude: [],
  targetText: null,
}));

class ControlPlane {
  readonly happened = new EventEmitter();
  readonly database;
  readonly store;
  readonly trainer: SteeredTrainer;
  readonly controller: RunController;

  constructor(name: string, steer: (plane: ControlPlane) => Steer) {
    this.database = openDatabase(join(folder, `${name}.db`));
    this.store = new SqliteRunStore(this.database, () => 'now');
    this.trainer = new SteeredTrainer(steer(this), {
      draw: ([first, noise]) => pictureOf((first ?? 0) + (noise ?? 0)),
    });
    this.controller = new RunController({
      store: this.store,
      artifacts: new ArtifactFiles(join(folder, name)),
      trainer: this.trainer,
      createScorer: (recipe, signal) =>
        createRewardScorer(recipe, signal, {
          bundles: new BundleStore(join(folder, 'scorers'), ROOT),
          onEvent: () => undefined,
        }),
      loadPrompts: async () => ({ train: prompts, evaluation: prompts }),
      telemetry: { event: (event, fields) => this.happened.emit(event, fields), metrics: () => undefined },
      clock: systemClock,
      onFinished: async () => undefined,
    });
  }

  /** Stages the change of an iteration and waits until it is loaded: every fifth one goes back to the reward before. */
  async change(iteration: number): Promise<void> {
    const checked = once(this.happened, 'reward.checked');
    if (iteration % 5 === 4) this.controller.changeReward(RUN, { kind: 'rolledBack', author: 'test' });
    else this.controller.changeReward(RUN, { kind: 'staged', reward: nextReward(iteration), author: 'test' });
    await checked;
  }

  async refuseDamaged(): Promise<void> {
    const refused = once(this.happened, 'reward.refused');
    const damaged = reward([geneval(1, 'damaged-detector')]);
    this.controller.changeReward(RUN, { kind: 'staged', reward: damaged, author: 'test' });
    await refused;
  }

  get versions() {
    return this.store.rewardVersions(RUN);
  }

  get rollouts(): StoredRollout[][] {
    return Array.from({ length: SWAPS + 1 }, (_, iteration) => this.store.rollouts(RUN, iteration));
  }
}

function pictureOf(number: number): Uint8Array {
  return pictures[number % pictures.length] as Uint8Array;
}

/** Swaps in every iteration from `first` on; the update waits for the shadow, so that every boundary has its swap. */
const swapEachIteration =
  (first: number, before: (plane: ControlPlane, iteration: number) => Promise<void> | void = () => undefined) =>
  (plane: ControlPlane): Steer => {
    let shadowed: Promise<unknown> = Promise.resolve();
    return async (place, iteration) => {
      if (iteration < first || iteration >= SWAPS) return;
      if (place === 'update') {
        await shadowed;
        await before(plane, iteration);
        return;
      }
      if (iteration === 3) await plane.refuseDamaged();
      shadowed = iteration % 5 === 4 ? Promise.resolve() : once(plane.happened, 'reward.shadowed');
      await plane.change(iteration);
    };
  };

const recipe = (): Recipe => ({
  ...tinyRecipe({
    iterations: SWAPS + 1,
    prompts: { train: 'a', evaluation: 'b', groupsPerIteration: 2, groupSize: 3 },
    checkpoint: { every: 5 },
  }),
  reward: reward([geneval(1)]),
});

it(`${SWAPS} swaps in one live run: nothing lost, nothing mixed, everything traceable; a killed control plane goes on`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const killed = new Map<number, number>();
  const plane = new ControlPlane(
    'live',
    swapEachIteration(0, (at, iteration) => {
      if (iteration !== KILLED) return;
      // What a process that is killed here leaves behind.
      writeFileSync(join(folder, 'killed.db'), at.database.serialize());
      for (const [version, value] of at.trainer.checkpoints) killed.set(version, value);
    }),
  );
  plane.store.createRun({ runId: RUN, recipe: recipe(), recipeText: '' });
  plane.controller.submit(RUN);
  await plane.controller.idle();
  expect(plane.store.getRun(RUN)).toMatchObject({ state: 'SUCCEEDED', failure: null });
  expectSound(plane);

  const again = new ControlPlane('killed', (at) => {
    // What was staged is loaded and scores pictures anew before its boundary.
    const shadowed = once(at.happened, 'reward.shadowed');
    const swaps = swapEachIteration(KILLED + 1)(at);
    return async (place, iteration) => {
      if (place === 'update' && iteration === KILLED) await shadowed;
      await swaps(place, iteration);
    };
  });
  for (const [version, value] of killed) again.trainer.checkpoints.set(version, value);
  again.controller.start();
  await again.controller.idle();
  expect(again.trainer.calls[0]).toBe(`prepare ${KILLED - 1}`);
  expect(again.store.metrics(RUN)).toEqual(plane.store.metrics(RUN));
  expect(again.rollouts).toEqual(plane.rollouts);
  expect(lineageOf(again)).toEqual(lineageOf(plane));
  plane.database.close();
  again.database.close();
});

function expectSound(plane: ControlPlane): void {
  const { versions, rollouts } = plane;
  const effective = versions.flatMap(({ effectiveIteration }) => effectiveIteration ?? []);
  expect(effective).toEqual(Array.from({ length: SWAPS + 1 }, (_, index) => index));
  expect(versions.filter(({ state }) => state === 'REFUSED').map(({ failure }) => failure)).toEqual([
    expect.stringMatching(/^SCORER_NOT_LOADABLE: /),
  ]);
  for (const [iteration, rows] of rollouts.entries()) {
    const version = versionAt(versions, iteration);
    expect(rows.map(({ reward: value, advantage }) => value !== null && advantage !== null)).toEqual(
      Array(6).fill(true),
    );
    expect(new Set(rows.map(({ rewardVersion }) => rewardVersion))).toEqual(new Set([version.version]));
    expect(rows.map(rewardOfScores(version.reward))).toEqual(rows.map(({ reward: value }) => value));
    for (const row of rows) expect(bundlesOf(row)).toEqual(expectedBundles(version.reward));
  }
  const shadows = versions.filter(({ shadow }) => shadow !== null);
  expect(shadows.every(({ shadow }) => shadow?.pictureCount === 6 && shadow.missingAfter === 0)).toBe(true);
  expect(new Set(shadows.map(({ shadow }) => shadow?.spearman ?? null)).size).toBeGreaterThan(2);
  const last = rollouts.at(-1)?.at(-1)?.rewardVersion;
  expect([last, latestVersion(versions).version]).toEqual([versions.length, versions.length]);
}

const rewardOfScores =
  ({ components }: Recipe['reward']) =>
  ({ scores }: StoredRollout): number | null => {
    const [judged] = groupRewards([scores], components);
    return judged?.kind === 'value' ? judged.reward : null;
  };

function bundlesOf({ scores }: StoredRollout): Record<string, string> {
  return Object.fromEntries(
    Object.entries(scores).map(([name, score]) => [name, score.kind === 'value' ? score.lineage.bundleHash : 'none']),
  );
}

function expectedBundles({ components }: Recipe['reward']): Record<string, string | undefined> {
  return Object.fromEntries(components.map(({ name, bundle }) => [name, hashes.get(bundle ?? '')]));
}

function lineageOf({ versions }: ControlPlane) {
  return versions.map(({ version, reward: value, state, effectiveIteration, rollbackOf }) => ({
    version,
    value,
    state,
    effectiveIteration,
    rollbackOf,
  }));
}
