import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fake-clock.js';
import { MemoryArtifacts } from '../../test/memory-artifacts.js';
import { type Interrupt, ScriptedScorer, ScriptedTrainer, TINY_PROMPTS } from '../../test/scripted-trainer.js';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { StarError } from '../core/errors.js';
import { MemoryRunStore } from '../storage/memory-run-store.js';
import { RunController } from './run-controller.js';

const recipe = tinyRecipe({ iterations: 5 });

interface World {
  store: MemoryRunStore;
  artifacts: MemoryArtifacts;
  trainer: ScriptedTrainer;
  scorers: ScriptedScorer[];
  finished: string[];
  events: string[];
  controller: RunController;
}

function world(options: { interrupt?: Interrupt; scorer?: () => ScriptedScorer; before?: World } = {}): World {
  const store = options.before?.store ?? new MemoryRunStore(() => '2026-01-01T00:00:00.000Z');
  const artifacts = options.before?.artifacts ?? new MemoryArtifacts();
  const trainer = new ScriptedTrainer(options.interrupt);
  for (const [version, value] of options.before?.trainer.checkpoints ?? []) trainer.checkpoints.set(version, value);
  const scorers: ScriptedScorer[] = [];
  const finished: string[] = [];
  const events: string[] = [];
  const controller = new RunController({
    store,
    artifacts,
    trainer,
    createScorer: async () => {
      scorers.push(options.scorer?.() ?? new ScriptedScorer());
      return scorers.at(-1) as ScriptedScorer;
    },
    loadPrompts: async () => ({ train: TINY_PROMPTS, evaluation: TINY_PROMPTS }),
    telemetry: { event: (name) => events.push(name), metrics: () => undefined },
    clock: new FakeClock(),
    onFinished: async (run, _, exported) => {
      finished.push(`${run.runId} ${run.state} ${exported.path}`);
    },
  });
  return { store, artifacts, trainer, scorers, finished, events, controller };
}

function submit(at: World, runId = 'r1', changes = {}): void {
  at.store.createRun({ runId, recipe: { ...recipe, ...changes }, recipeText: '' });
  at.controller.submit(runId);
}

/** Throws once, when `when` first holds. */
function once(when: Interrupt extends (...args: infer Args) => void ? (...args: Args) => boolean : never): Interrupt {
  let done = false;
  return (...args) => {
    if (done || !when(...args)) return;
    done = true;
    throw new StarError('WORKER_LOST', 'the connection broke');
  };
}

async function uninterrupted(): Promise<World> {
  const at = world();
  submit(at);
  await at.controller.idle();
  return at;
}

describe('a run', () => {
  it('evaluates before and after, iterates, exports, reports and succeeds', async () => {
    const at = await uninterrupted();
    expect(at.store.getRun('r1')).toMatchObject({ state: 'SUCCEEDED', completedIterations: 5, checkpointVersion: 5 });
    expect(at.store.evaluations('r1').map((record) => record.policyVersion)).toEqual([0, 5]);
    const [before, after] = at.store.evaluations('r1');
    expect(before?.items.map((item) => [item.prompt, item.seed])).toEqual(
      after?.items.map((item) => [item.prompt, item.seed]),
    );
    expect(at.trainer.calls.slice(0, 4)).toEqual(['prepare 0', 'rollout 0', 'rollout 0', 'update 0']);
    expect(at.trainer.calls.at(-1)).toBe('export 5');
    expect(at.finished).toEqual(['r1 SUCCEEDED /export']);
    expect(at.artifacts.files.has('r1/export.json')).toBe(true);
    expect(at.scorers.every((scorer) => scorer.closed)).toBe(true);
  });

  it('evaluates every n-th iteration where asked', async () => {
    const at = world();
    submit(at, 'r1', { evaluation: { ...recipe.evaluation, every: 2 } });
    await at.controller.idle();
    expect(at.store.evaluations('r1').map((record) => record.policyVersion)).toEqual([0, 2, 4, 5]);
  });

  it('runs follow one another in the order of submission', async () => {
    const at = world();
    submit(at, 'r1', { iterations: 1 });
    submit(at, 'r2', { iterations: 1 });
    await at.controller.idle();
    expect(at.finished).toEqual(['r1 SUCCEEDED /export', 'r2 SUCCEEDED /export']);
  });

  it('fails with reason and message, and does not hold up the next run', async () => {
    let bad = true;
    const at = world({
      interrupt: (place) => {
        if (place === 'prepare' && bad) {
          bad = false;
          throw new StarError('MODEL_NOT_LOADABLE', 'no folder models/typo');
        }
      },
    });
    submit(at, 'r1');
    submit(at, 'r2', { iterations: 1 });
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({
      state: 'FAILED',
      failure: 'MODEL_NOT_LOADABLE: no folder models/typo',
    });
    expect(at.store.getRun('r2').state).toBe('SUCCEEDED');
  });

  it('fails after one iteration without any reward and commits nothing of it', async () => {
    const at = world({ scorer: () => new ScriptedScorer({ fails: () => true }) });
    submit(at);
    await at.controller.idle();
    expect(at.store.getRun('r1')).toMatchObject({
      state: 'FAILED',
      failure: expect.stringMatching(/4 x SCORER_CRASHED/),
    });
    expect(at.store.metrics('r1')).toEqual([]);
  });
});

describe('a lost worker', () => {
  it.each<[string, Parameters<typeof once>[0]]>([
    ['before anything', (place) => place === 'prepare'],
    ['in the first evaluation', (place, context) => place === 'rollout' && context.policyVersion === 0],
    ['while sampling, between checkpoints', (place, context) => place === 'rollout' && context.policyVersion === 3],
    ['while reading loss masks', (place, context) => place === 'masks' && context.policyVersion === 3],
    ['after its update, before the commit', (place, context) => place === 'update' && context.policyVersion === 1],
    ['in the last evaluation', (place, context) => place === 'rollout' && context.policyVersion === 5],
    ['while exporting', (place) => place === 'export'],
  ])('%s: the run goes back to its checkpoint and the series is the same bit for bit', async (_, when) => {
    const expected = await uninterrupted();
    const at = world({ interrupt: once(when) });
    submit(at);
    await at.controller.idle();
    expect(at.events).toContain('run.worker_lost');
    expect(at.store.getRun('r1').state).toBe('SUCCEEDED');
    expect(at.store.metrics('r1')).toEqual(expected.store.metrics('r1'));
    expect(at.store.evaluations('r1')).toEqual(expected.store.evaluations('r1'));
    for (let iteration = 0; iteration < 5; iteration += 1) {
      expect(at.store.rollouts('r1', iteration)).toEqual(expected.store.rollouts('r1', iteration));
    }
  });

  it('three times without a new checkpoint ends the run', async () => {
    const at = world({
      interrupt: (place, context) => {
        if (place === 'update' && context.policyVersion === 3) throw new StarError('WORKER_LOST', 'out of memory');
      },
    });
    submit(at);
    await at.controller.idle();
    const run = at.store.getRun('r1');
    expect(run.failure).toBe('WORKER_LOST: the worker was lost 3 times without a new checkpoint; last: out of memory');
    expect(at.trainer.calls.filter((call) => call === 'prepare 2')).toHaveLength(2);
  });
});

describe('stop and resume', () => {
  /** Calls `act` when the worker is at a place for the n-th time. */
  const at = (place: string, nth: number, act: () => void): Interrupt => {
    let count = 0;
    return (where) => {
      if (where === place && ++count === nth) act();
    };
  };

  it('finishes the iteration with a checkpoint; resume ends with the same series', async () => {
    const expected = await uninterrupted();
    const stopping: World = world({
      interrupt: at('rollout', 5, () => {
        expect(stopping.controller.stop('r1').state).toBe('STOPPING');
      }),
    });
    submit(stopping);
    await stopping.controller.idle();
    expect(stopping.store.getRun('r1')).toMatchObject({
      state: 'STOPPED',
      completedIterations: 1,
      checkpointVersion: 1,
    });
    stopping.controller.resume('r1');
    await stopping.controller.idle();
    expect(stopping.trainer.calls).toContain('prepare 1');
    expect(stopping.store.getRun('r1').state).toBe('SUCCEEDED');
    expect(stopping.store.metrics('r1')).toEqual(expected.store.metrics('r1'));
  });

  it('a second request stops at once', async () => {
    const stopping: World = world({
      interrupt: at('rollout', 5, () => {
        stopping.controller.stop('r1');
        stopping.controller.stop('r1');
      }),
    });
    submit(stopping);
    await stopping.controller.idle();
    expect(stopping.store.getRun('r1')).toMatchObject({ state: 'STOPPED', completedIterations: 0 });
  });

  it('outside an iteration one request is enough', async () => {
    const stopping: World = world({ interrupt: at('rollout', 1, () => stopping.controller.stop('r1')) });
    submit(stopping);
    await stopping.controller.idle();
    expect(stopping.store.getRun('r1').state).toBe('STOPPED');
    expect(stopping.store.evaluations('r1')).toEqual([]);
  });

  it('a queued run leaves the queue', async () => {
    const stopping = world();
    submit(stopping, 'r1', { iterations: 1 });
    submit(stopping, 'r2');
    stopping.controller.stop('r2');
    await stopping.controller.idle();
    expect(stopping.store.getRun('r2').state).toBe('STOPPED');
    expect(() => stopping.controller.stop('r1')).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
    expect(() => stopping.controller.resume('r1')).toThrow(expect.objectContaining({ reason: 'STATE_CONFLICT' }));
  });

  it('closing interrupts at once; the next process takes the run up and ends with the same series', async () => {
    const expected = await uninterrupted();
    let closing: Promise<void> = Promise.resolve();
    const first: World = world({
      interrupt: at('masks', 14, () => {
        closing = first.controller.close();
      }),
    });
    submit(first);
    await first.controller.idle();
    await closing;
    expect(first.store.getRun('r1')).toMatchObject({ state: 'QUEUED', completedIterations: 3, checkpointVersion: 2 });
    const second = world({ before: first });
    second.controller.start();
    await second.controller.idle();
    expect(second.trainer.calls[0]).toBe('prepare 2');
    expect(second.store.getRun('r1').state).toBe('SUCCEEDED');
    expect(second.store.metrics('r1')).toEqual(expected.store.metrics('r1'));
  });

  it('start stops a run that a crash left in STOPPING', async () => {
    const crashed = world();
    crashed.store.createRun({ runId: 'r1', recipe, recipeText: '' });
    crashed.store.setState('r1', 'RUNNING');
    crashed.store.setState('r1', 'STOPPING');
    crashed.controller.start();
    await crashed.controller.idle();
    expect(crashed.store.getRun('r1').state).toBe('STOPPED');
  });

  it('a run whose worker cannot be started any more fails with that reason', async () => {
    const failing: World = world({
      interrupt: at('rollout', 1, () =>
        failing.controller.failActive(new StarError('WORKER_LOST', 'worker exits at once')),
      ),
    });
    submit(failing);
    await failing.controller.idle();
    expect(failing.store.getRun('r1')).toMatchObject({ state: 'FAILED', failure: 'WORKER_LOST: worker exits at once' });
  });
});
