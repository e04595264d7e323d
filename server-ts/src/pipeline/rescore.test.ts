import { beforeAll, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { MemoryRunStore } from '../storage/memory-run-store.js';
import { type RescoreInput, rescore } from './rescore.js';
import { RunController } from './run-controller.js';

const artifacts = new MemoryArtifacts();
const store = new MemoryRunStore(() => 'now');
const value = (image: Uint8Array): number => (image[0] ?? 0) / 255;

/** Twelve iterations: every second one keeps its pictures, and the last one. */
beforeAll(async () => {
  const controller = new RunController({
    store,
    artifacts,
    trainer: new ScriptedTrainer(),
    createScorer: async () => new ScriptedScorer({ value, fails: (id) => id === '2-0-0' }),
    loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
    telemetry: { event: () => undefined, metrics: () => undefined },
    clock: new FakeClock(),
    onFinished: async () => undefined,
  });
  const groups = { train: 'a', evaluation: 'b', groupsPerIteration: 2, groupSize: 4 };
  store.createRun({ runId: 'r1', recipe: tinyRecipe({ iterations: 12, prompts: groups }), recipeText: '' });
  controller.submit('r1');
  await controller.idle();
});

function judge(scorer: ScriptedScorer, changes: Partial<RescoreInput> = {}) {
  return rescore({
    runId: 'r1',
    reward: tinyRecipe().reward,
    iterations: null,
    store,
    artifacts,
    createScorer: async () => scorer,
    loadPrompts: async () => ({ train: TINY_PROMPTS }),
    signal: new AbortController().signal,
    ...changes,
  });
}

describe('scoring stored pictures again', () => {
  it('under the same reward changes nothing, and says what is missing', async () => {
    const scorer = new ScriptedScorer({ value });
    const report = await judge(scorer);
    expect(report).toMatchObject({ iterations: [0, 2, 4, 6, 8, 10, 11], iterationsWithoutPictures: 5 });
    expect(report.overall).toMatchObject({ pictureCount: 56, missingBefore: 1, missingAfter: 0, flipped: 0 });
    expect(report.overall.spearman).toBeCloseTo(1, 12);
    expect(report.overall.after).toEqual(report.overall.before);
    expect(report.groups).toHaveLength(14);
    expect(report.groups.map(({ comparison }) => comparison.missingBefore)).toEqual([0, 0, 1, ...Array(11).fill(0)]);
    expect(report.byTag).toEqual([{ tag: 'single', comparison: report.overall }]);
    expect(scorer.closed).toBe(true);
  });

  it('under the opposite reward turns every order and every sign around', async () => {
    const report = await judge(new ScriptedScorer({ value: (image) => 5 - value(image) }), { iterations: [4, 7] });
    expect(report).toMatchObject({ iterations: [4, 6], iterationsWithoutPictures: 2 });
    expect(report.overall.spearman).toBeCloseTo(-1, 12);
    expect(report.overall.flipped).toBeGreaterThan(0.5);
  });

  it('says which iterations kept pictures where a range has none', async () => {
    await expect(judge(new ScriptedScorer(), { iterations: [3, 3] })).rejects.toMatchObject({
      reason: 'NOT_FOUND',
      message: 'run r1 kept no pictures of iterations 3..3; it has those of: 0, 2, 4, 6, 8, 10, 11',
    });
  });

  it('refuses prompts that are not those of the run', async () => {
    const others = TINY_PROMPTS.map((record) => ({ ...record, prompt: `${record.prompt}s` }));
    await expect(judge(new ScriptedScorer(), { loadPrompts: async () => ({ train: others }) })).rejects.toMatchObject({
      reason: 'STATE_CONFLICT',
      message: expect.stringContaining('restore the file'),
    });
  });
});
