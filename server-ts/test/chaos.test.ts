import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { deriveSeed } from '../src/core/seeds.js';
import type { LossMask } from '../src/core/types.js';
import type { StoredRollout, Trainer } from '../src/pipeline/ports.js';
import { RunController } from '../src/pipeline/run-controller.js';
import { BundleStore } from '../src/scoring/bundle/bundle-store.js';
import { writeDetectorBundle } from '../src/scoring/fixtures/detector-bundle.js';
import { createRewardScorer } from '../src/scoring/reward-scorer.js';
import { openDatabase } from '../src/storage/database.js';
import { SqliteRunStore } from '../src/storage/sqlite-run-store.js';
import { FakeClock } from './fake-clock.js';
import { fateOf, startFaultyServer, writeHttpBundle } from './faulty-reward-server.js';
import { MemoryArtifacts } from './memory-artifacts.js';
import { ScriptedTrainer, TINY_PROMPTS } from './scripted-trainer.js';
import { tinyRecipe } from './tiny-recipe.js';

/**
 * A run whose scorers fail: a fifth of the scores of a reward server fails, a twentieth is infinite, its answers are late, and
 * scorer processes, its own and those of a detector, are killed all the time. Processes, ZeroMQ, ONNX, HTTP and SQLite are real.
 * What the failures do to the optimiser behind the loss masks is tested by the worker.
 */

const RUN_MS = 300_000;
const ITERATIONS = 2;
/** Batches between two kills. */
const KILL_EVERY = 9;

let folder: string;
let server: Awaited<ReturnType<typeof startFaultyServer>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'star-chaos-'));
  server = await startFaultyServer();
  await writeDetectorBundle(join(folder, 'detector'));
  await writeHttpBundle(join(folder, 'faulty'), server.url);
});

afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** A picture of one colour; the detector of the fixture finds a circle in the darker ones. */
async function pictureOf(rolloutId: string): Promise<Uint8Array> {
  const seed = deriveSeed(1, rolloutId);
  const [r, g, b] = [0n, 8n, 16n].map((shift) => Number((seed >> shift) & 0xffn)) as [number, number, number];
  return sharp({ create: { width: 64, height: 64, channels: 3, background: { r, g, b } } })
    .png()
    .toBuffer();
}

/** The scripted worker, with real pictures. */
function withPictures(trainer: ScriptedTrainer): Trainer {
  return {
    ready: (signal) => trainer.ready(signal),
    prepare: (context, recipe) => trainer.prepare(context, recipe),
    rollout: (context, plan, onRollout) =>
      trainer.rollout(context, plan, async (rollout) =>
        onRollout({ ...rollout, image: await pictureOf(rollout.rolloutId) }),
      ),
    update: (context, work, masks) => trainer.update(context, work, masks),
    export: (context) => trainer.export(context),
  };
}

interface ChaoticRun {
  readonly masks: readonly (readonly LossMask[])[];
  readonly rollouts: readonly (readonly StoredRollout[])[];
  readonly metrics: ReadonlyMap<string, number>;
  readonly kills: number;
}

async function run(): Promise<ChaoticRun> {
  const recipe = tinyRecipe({
    iterations: ITERATIONS,
    prompts: { train: 'a', evaluation: 'b', groupsPerIteration: 4, groupSize: 6 },
    reward: {
      components: [
        { name: 'geneval', scorer: 'geneval', bundle: join(folder, 'detector'), weight: 0.5 },
        { name: 'mine', scorer: 'http', bundle: join(folder, 'faulty'), processCount: 2 },
      ],
      quorum: { share: 0.3 },
    },
    // Masks of a group leave before later groups are scored.
    advantages: { standardDeviation: 'group' },
  });
  const store = new SqliteRunStore(openDatabase(join(folder, 'star.db')), () => '2026-01-01T00:00:00.000Z');
  const trainer = new ScriptedTrainer();
  let sent = 0;
  let kills = 0;
  const controller = new RunController({
    store,
    artifacts: new MemoryArtifacts(),
    trainer: withPictures(trainer),
    createScorer: (needed, signal) =>
      createRewardScorer(needed, signal, {
        bundles: new BundleStore(join(folder, 'stored'), folder),
        onEvent: (name, { pid }) => {
          if (name !== 'scorer_batch_sent' || ++sent % KILL_EVERY !== 0) return;
          kills += 1;
          process.kill(Number(pid), 'SIGKILL');
        },
      }),
    loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock: new FakeClock(),
    onFinished: async () => undefined,
  });
  store.createRun({ runId: 'r1', recipe, recipeText: '' });
  controller.submit('r1');
  await controller.idle();
  expect(store.getRun('r1')).toMatchObject({ state: 'SUCCEEDED', failure: null });
  const metrics = new Map<string, number>();
  for (const { name, value } of store.metrics('r1')) metrics.set(name, (metrics.get(name) ?? 0) + value);
  return {
    masks: trainer.masks,
    rollouts: Array.from({ length: ITERATIONS }, (_, iteration) => store.rollouts('r1', iteration)),
    metrics,
    kills,
  };
}

/** Reward from the stored scores alone; null where one of them is missing. */
function rewardOf({ scores }: StoredRollout): number | null {
  const { geneval, mine } = scores;
  if (geneval?.kind !== 'value' || mine?.kind !== 'value') return null;
  return 0.5 * (geneval.values.score as number) + (mine.values.score as number);
}

/** Advantages by rollout id, computed from nothing but the rollouts that survived. */
function survivorAdvantages(rows: readonly StoredRollout[]): Map<string, number> {
  const survivors = rows.flatMap((row) => {
    const reward = rewardOf(row);
    return reward === null ? [] : [{ ...row, reward }];
  });
  return new Map(
    survivors.flatMap(({ rolloutId, promptIndex, reward }) => {
      const group = survivors.filter((other) => other.promptIndex === promptIndex).map((other) => other.reward);
      if (group.length < 2) return [];
      const mean = group.reduce((sum, value) => sum + value, 0) / group.length;
      const variance = group.reduce((sum, value) => sum + (value - mean) ** 2, 0) / group.length;
      return [[rolloutId, (reward - mean) / (Math.sqrt(variance) + 1e-4)] as const];
    }),
  );
}

it(
  'the update gets what the surviving rollouts alone give, and nothing hangs',
  async () => {
    const chaos = await run();
    expect(chaos.kills).toBeGreaterThan(2);
    expect(chaos.metrics.get('reward_missing_scorer_crashed_count')).toBeGreaterThan(0);
    expect(chaos.metrics.get('reward_missing_score_not_finite_count')).toBeGreaterThan(0);
    for (const [iteration, rows] of chaos.rollouts.entries()) {
      const expected = survivorAdvantages(rows);
      const masks = chaos.masks[iteration] ?? [];
      expect(masks.map(({ rolloutId }) => rolloutId)).toEqual(rows.map(({ rolloutId }) => rolloutId));
      for (const { rolloutId, advantage, allocationMaps } of masks) {
        const alone = expected.get(rolloutId);
        if (alone === undefined) expect([rolloutId, advantage, allocationMaps]).toEqual([rolloutId, null, null]);
        else expect(advantage, rolloutId).toBeCloseTo(alone, 10);
      }
      for (const row of rows) await expectTrueScore(row);
    }
  },
  RUN_MS,
);

/** No failure became a number, and no number went to another picture. */
async function expectTrueScore({ rolloutId, scores }: StoredRollout): Promise<void> {
  const fate = fateOf(await pictureOf(rolloutId));
  const { mine } = scores;
  if (mine?.kind === 'value') expect({ kind: 'value', score: mine.values.score }, rolloutId).toEqual(fate);
  else if (fate.kind === 'notFinite') expect(mine).not.toHaveProperty('values');
}
