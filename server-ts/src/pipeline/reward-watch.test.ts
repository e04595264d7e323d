import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { type Interrupt, ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { StarError } from '../core/errors.js';
import { MemoryRunStore } from '../storage/memory-run-store.js';
import { RunController } from './run-controller.js';

const FAILURE = 'REWARD_NOT_TRUSTED: missing monitor of geneval: 0.25 is above 0.2 over 1 iterations, in iteration 2';

/** A run of 5 iterations in which a quarter of the scores of iterations 2 and 3 is missing, with a monitor of that. */
function world(action: string, interrupt?: Interrupt, quorum: object = {}) {
  const store = new MemoryRunStore(() => '2026-01-01T00:00:00.000Z');
  const outage = { over: false };
  const events: { name: string; iteration: unknown }[] = [];
  const controller = new RunController({
    store,
    artifacts: new MemoryArtifacts(),
    trainer: new ScriptedTrainer(interrupt),
    createScorer: async () => new ScriptedScorer({ fails: (id) => !outage.over && (id === '2-0-1' || id === '3-0-1') }),
    loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
    telemetry: { event: (name, { iteration }) => events.push({ name, iteration }), metrics: () => undefined },
    clock: new FakeClock(),
    onFinished: async () => undefined,
  });
  const monitors = [{ kind: 'missing', component: 'geneval', threshold: 0.2, window: 1, action }];
  const components = [{ name: 'geneval', scorer: 'geneval' }];
  store.createRun({
    runId: 'r1',
    recipe: tinyRecipe({ iterations: 5, reward: { components, monitors, quorum } }),
    recipeText: '',
  });
  controller.submit('r1');
  const alarms = () => events.filter(({ name }) => name === 'reward.alarm').map(({ iteration }) => iteration);
  return { store, controller, alarms, outage };
}

async function warned() {
  const at = world('warn');
  await at.controller.idle();
  return at;
}

describe('a monitor', () => {
  it('warns when its reading crosses the threshold, and is a metric of every iteration', async () => {
    const at = await warned();
    expect(at.store.getRun('r1').state).toBe('SUCCEEDED');
    expect(at.alarms()).toEqual([2]);
    const readings = at.store.metrics('r1').filter(({ name }) => name === 'monitor_geneval_missing');
    expect(readings.map(({ value }) => value)).toEqual([0, 0, 0.25, 0.25, 0]);
  });

  it('holds the run after that iteration, with a checkpoint; resumed, it ends with the same series', async () => {
    const at = world('hold');
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({
      state: 'STOPPED',
      completedIterations: 3,
      checkpointVersion: 3,
      failure: FAILURE,
    });
    at.controller.resume('r1');
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'SUCCEEDED', completedIterations: 5, failure: null });
    expect(at.alarms()).toEqual([2]);
    expect(at.store.metrics('r1')).toEqual((await warned()).store.metrics('r1'));
  });

  it('stops the run as failed after that iteration, with a checkpoint', async () => {
    const at = world('stop');
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'FAILED', checkpointVersion: 3, failure: FAILURE });
  });

  it('alarms again when the iteration was lost and is computed again', async () => {
    let lost = false;
    const at = world('hold', (place, { iteration }) => {
      if (place !== 'masks' || iteration !== 2 || lost) return;
      lost = true;
      throw new StarError('WORKER_LOST', 'the connection broke');
    });
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'STOPPED', completedIterations: 2, failure: FAILURE });
    at.controller.resume('r1');
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'STOPPED', completedIterations: 3, failure: FAILURE });
    expect(at.alarms()).toEqual([2, 2]);
  });

  it('does not hide the failure of the iteration that it wanted to end after', async () => {
    const at = world('hold', (place, { iteration }) => {
      if (place === 'update' && iteration === 2) throw new StarError('NOT_FINITE', 'a gradient is NaN');
    });
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'FAILED', failure: 'NOT_FINITE: a gradient is NaN' });
  });

  it('keeps its reason when the process dies before the run has ended', async () => {
    const at = await warned();
    at.store.createRun({ runId: 'r2', recipe: tinyRecipe(), recipeText: '' });
    at.store.setState('r2', 'RUNNING');
    at.store.setState('r2', 'STOPPING', FAILURE);
    at.controller.start();
    expect(at.store.getRun('r2')).toMatchObject({ state: 'STOPPED', failure: FAILURE });
  });
});

describe('a missed quorum', () => {
  it('holds the run without training on the iteration; resumed after the outage, it goes on', async () => {
    const at = world('warn', undefined, { share: 0.8, action: 'hold' });
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({
      state: 'STOPPED',
      completedIterations: 2,
      failure: expect.stringMatching(/^SCORER_CRASHED: only 3 of the 4 rollouts of iteration 2 .* asks for 0.8;/),
    });
    at.outage.over = true;
    at.controller.resume('r1');
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'SUCCEEDED', completedIterations: 5, failure: null });
  });

  it('fails the run where the recipe says stop', async () => {
    const at = world('warn', undefined, { share: 0.8 });
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'FAILED', completedIterations: 2 });
  });
});
