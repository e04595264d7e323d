import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunState } from '../src/core/run-state.js';
import { openDatabase } from '../src/storage/database.js';
import { SqliteRunStore } from '../src/storage/sqlite-run-store.js';
import { newFolder, START_MS, StarCommand, shrunkRecipe, weightsHash } from './end-to-end.js';

/**
 * One run through `bin/star` that is interrupted in every phase, taken up again every time, and ends like a run that nothing
 * happened to. The tests are its life in order.
 */

/** A run takes seconds on an idle machine; this is for a busy one. */
const RUN_MS = 400_000;
const RUN_ID = 'tiny-geneval-star-1';

let folder: string;
const commands: StarCommand[] = [];

beforeAll(() => {
  folder = newFolder();
  writeFileSync(join(folder, 'recipe.yaml'), shrunkRecipe('tiny-geneval-star.yaml', ['evaluation.promptCount=16']));
});

afterAll(() => {
  for (const command of commands) command.killAll();
  rmSync(folder, { recursive: true, force: true });
});

function star(command: 'run' | 'resume', dataDir = 'data'): StarCommand {
  const what = command === 'run' ? join(folder, 'recipe.yaml') : RUN_ID;
  const started = new StarCommand([command, what, '--data-dir', join(folder, dataDir)]);
  commands.push(started);
  return started;
}

/** What the database says after the processes are gone. */
function stored(dataDir = 'data') {
  const database = openDatabase(join(folder, dataDir, 'star.db'));
  try {
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
    const store = new SqliteRunStore(database, () => '');
    return { run: store.getRun(RUN_ID), metrics: store.metrics(RUN_ID), evaluations: store.evaluations(RUN_ID) };
  } finally {
    database.close();
  }
}

function expectState(state: RunState, completedIterations: number, checkpointVersion: number): void {
  expect(stored().run).toMatchObject({ state, completedIterations, checkpointVersion, failure: null });
}

const weights = (dataDir: string): string => weightsHash(join(folder, dataDir, 'worker/runs', RUN_ID, 'export'));

describe('Ctrl-C', { timeout: START_MS }, () => {
  it.each<[string, RegExp, number]>([
    ['while it waits for the worker', /waiting for the worker/, 0],
    ['while the model is loaded', /loading the model/, 0],
    ['in the evaluation before the run', /iteration 1\/4 \| evaluating/, 0],
    ['while the worker samples', /iteration 1\/4 \| sampling/, 1],
    ['while the worker updates', /iteration 2\/4 \| (waiting for loss masks|optimising)/, 2],
  ])('%s stops after a checkpoint and leaves no process behind', async (phase, line, completed) => {
    const command = star(phase.includes('waits') ? 'run' : 'resume');
    await command.says(line);
    command.interrupt();
    expect(await command.ended).toEqual({ code: 130, signal: null });
    expect(command.stderr).toContain(`stopped after iteration ${completed} of 4; go on with: star resume ${RUN_ID}`);
    expect(command.stdout).toBe('');
    await command.leavesNothingBehind();
    expect(existsSync(join(folder, 'data/control-plane.json'))).toBe(false);
    expectState('STOPPED', completed, completed);
  });

  it('twice ends at once; the last checkpoint stays', async () => {
    const command = star('resume');
    await command.says(/iteration 3\/4 \| sampling/);
    command.interrupt();
    await command.says(/Ctrl-C again ends at once/);
    command.interrupt();
    expect(await command.ended).toEqual({ code: 130, signal: null });
    await command.leavesNothingBehind();
    expect(stored().run).toMatchObject({ checkpointVersion: 2, failure: null });
  });
});

it('a control plane that is killed leaves no process behind and loses nothing before the last checkpoint', {
  timeout: START_MS,
}, async () => {
  const command = star('resume');
  await command.says(/iteration 4\/4 \| iteration done/);
  process.kill(command.child.pid ?? 0, 'SIGKILL');
  expect(await command.ended).toEqual({ code: null, signal: 'SIGKILL' });
  await command.leavesNothingBehind();
  expectState('RUNNING', 3, 2);
});

it('Ctrl-C in the evaluation after the run stops it with everything trained', { timeout: START_MS }, async () => {
  const command = star('resume');
  await command.says(/iteration 4\/4 \| evaluating/);
  command.interrupt();
  expect(await command.ended).toEqual({ code: 130, signal: null });
  expect(command.stderr).toContain(`stopped after iteration 4 of 4; go on with: star resume ${RUN_ID}`);
  await command.leavesNothingBehind();
  expectState('STOPPED', 4, 4);
});

it('in the end the series, scores and weights are those of an undisturbed run, bit for bit', {
  timeout: 2 * RUN_MS,
}, async () => {
  const resumed = star('resume');
  expect(await resumed.ended).toEqual({ code: 0, signal: null });
  expect(resumed.stdout).toBe(`report: ${join(folder, 'data/runs', RUN_ID, 'report.html')}\n`);
  const undisturbed = star('run', 'undisturbed');
  expect(await undisturbed.ended).toEqual({ code: 0, signal: null });
  await undisturbed.leavesNothingBehind();
  const [expected, received] = [stored('undisturbed'), stored()];
  expect(expected.metrics.filter(({ name }) => name === 'loss')).toHaveLength(4);
  expect(received.metrics).toEqual(expected.metrics);
  expect(received.evaluations).toEqual(expected.evaluations);
  expect(weights('data')).toBe(weights('undisturbed'));
});
