import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import type { Recipe } from '../config/recipe.js';
import { runIteration } from './iteration.js';
import type { IterationRecord } from './ports.js';
import type { StoredMaps } from './rollout-artifacts.js';

async function iterate(
  options: { scorer?: ScriptedScorer; trainer?: ScriptedTrainer; recipe?: Recipe; artifacts?: MemoryArtifacts } = {},
): Promise<{ record: IterationRecord; trainer: ScriptedTrainer; scorer: ScriptedScorer; artifacts: MemoryArtifacts }> {
  const { scorer = new ScriptedScorer(), trainer = new ScriptedTrainer(), recipe = tinyRecipe() } = options;
  const { artifacts = new MemoryArtifacts() } = options;
  const { signal } = new AbortController();
  const model = await trainer.prepare({ runId: 'r1', iteration: 0, policyVersion: 0, signal }, recipe);
  const record = await runIteration({
    runId: 'r1',
    recipe,
    iteration: 0,
    prompts: TINY_PROMPTS,
    model,
    forceCheckpoint: () => false,
    history: () => [],
    endRun: () => undefined,
    trainer,
    scorer,
    rewardVersion: 1,
    onGroupScored: () => undefined,
    artifacts,
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock: new FakeClock(),
    signal,
  });
  return { record, trainer, scorer, artifacts };
}

const perGroup = tinyRecipe({ advantages: { standardDeviation: 'group' } });

describe('runIteration', () => {
  it('sends one mask per rollout in the order of the plan, with maps of mean 1', async () => {
    const { trainer, record } = await iterate();
    const [masks = []] = trainer.masks;
    expect(masks.map((mask) => mask.rolloutId)).toEqual(['0-0-0', '0-0-1', '0-1-0', '0-1-1']);
    const maps = masks[0]?.allocationMaps;
    expect(maps?.shape).toEqual([2, 2, 2]);
    expect([...(maps?.data ?? [])].reduce((sum, value) => sum + value, 0) / 8).toBeCloseTo(1, 5);
    expect(record.rollouts.map((row) => row.advantage)).toEqual(masks.map((mask) => mask.advantage));
    expect(record.metrics).toMatchObject({ reward_count: 4, group_count: 2, policy: expect.any(Number) });
    expect(record.seconds).toMatchObject({ checkpoint: 0.1, iteration: 0, sampling: 0, update: 0 });
  });

  it('scores a group while later ones are sampled', async () => {
    const gate = Promise.withResolvers<void>();
    // The first group's score arrives only when the second group was handed over: without overlap this never ends.
    const scorer = new ScriptedScorer({
      gate: async (ids) => {
        if (ids[0] === '0-1-0') gate.resolve();
        await gate.promise;
      },
    });
    await iterate({ scorer });
    expect(scorer.calls).toEqual([
      ['0-0-0', '0-0-1'],
      ['0-1-0', '0-1-1'],
    ]);
  });

  it('with a standard deviation per group, masks of a group leave before later groups are scored', async () => {
    const gate = Promise.withResolvers<void>();
    const scorer = new ScriptedScorer({ gate: async (ids) => (ids[0] === '0-1-0' ? gate.promise : undefined) });
    let seen = 0;
    const trainer = new ScriptedTrainer((place) => {
      if (place === 'masks' && ++seen === 2) gate.resolve();
    });
    await iterate({ scorer, trainer, recipe: perGroup });
    expect(seen).toBe(4);
  });

  it.each([
    ['group', perGroup],
    ['batch', tinyRecipe()],
  ])('a missing reward never reaches the update as a number (%s)', async (_, recipe) => {
    const three = { ...recipe, prompts: { ...recipe.prompts, groupSize: 3 } };
    const scorer = new ScriptedScorer({ fails: (id) => id === '0-1-1' });
    const { trainer, record } = await iterate({ scorer, recipe: three });
    const advantages = new Map(trainer.masks[0]?.map((mask) => [mask.rolloutId, mask.advantage]));
    expect(advantages.get('0-1-1')).toBeNull();
    expect([...advantages.values()].filter((value) => value === null)).toHaveLength(1);
    expect(record.rollouts[4]).toMatchObject({ rolloutId: '0-1-1', reward: null, advantage: null });
    expect(record.metrics).toMatchObject({
      reward_count: 5,
      reward_missing_count: 1,
      reward_missing_scorer_crashed_count: 1,
    });
  });

  it('an iteration of equal rewards works and pushes nothing', async () => {
    const { trainer, record } = await iterate({ scorer: new ScriptedScorer({ value: () => 0.5 }) });
    expect(trainer.masks[0]?.every((mask) => mask.advantage === 0 && mask.allocationMaps === null)).toBe(true);
    expect(record.metrics.zero_std_group_share).toBe(1);
  });

  it.each([
    ['group', perGroup],
    ['batch', tinyRecipe()],
  ])('fails when no rollout got a reward, and counts why (%s)', async (_, recipe) => {
    const scorer = new ScriptedScorer({ fails: () => true });
    await expect(iterate({ scorer, recipe })).rejects.toMatchObject({
      reason: 'SCORER_CRASHED',
      message: expect.stringMatching(/none of the 4 rollouts of iteration 0.*4 x SCORER_CRASHED.*died 3 times/),
    });
  });

  it('ends sampling when a group cannot be scored at all', async () => {
    const scorer = new ScriptedScorer({
      gate: async () => {
        throw new TypeError('scorers cannot be started');
      },
    });
    await expect(iterate({ scorer })).rejects.toThrow('scorers cannot be started');
  });

  it('without allocation sends no maps and measures none', async () => {
    const { trainer, record } = await iterate({ recipe: tinyRecipe({ allocation: null }) });
    expect(trainer.masks[0]?.every((mask) => mask.allocationMaps === null)).toBe(true);
    expect(record.metrics).not.toHaveProperty('allocation_map_count');
  });

  it('keeps pictures and maps of the first iteration, with the words that the maps came from', async () => {
    const { record, artifacts } = await iterate();
    const [row] = record.rollouts;
    expect(artifacts.files.has(`r1/${row?.imagePath}`)).toBe(true);
    const file = await artifacts.get('r1', row?.mapsPath ?? '');
    const maps = JSON.parse(new TextDecoder().decode(file)) as StoredMaps;
    expect(maps).toMatchObject({ rolloutId: '0-0-0', shape: [2, 2, 2], stepIndexes: [0, 1], prompt: row?.prompt });
    expect(maps.spans.length).toBeGreaterThan(0);
    expect(maps.values).toHaveLength(8);
  });
});
