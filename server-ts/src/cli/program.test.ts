import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { tinyRecipe } from '../../test/tiny-recipe.js';
import { StarError } from '../core/errors.js';
import { parsePromptFile } from '../core/prompt-records.js';
import { compareRewards } from '../core/reward-comparison.js';
import { openDatabase } from '../storage/database.js';
import { SqliteRunStore } from '../storage/sqlite-run-store.js';
import { createProgram } from './program.js';
import { applyAssignments } from './recipe-source.js';
import { iterationRange } from './rescore-command.js';
import { applyWeights } from './reward-commands.js';

const RECIPES = fileURLToPath(new URL('../../../recipes', import.meta.url));
const recipe = (name: string): string => join(RECIPES, name);

interface Outcome {
  readonly code: number | null;
  readonly printed: string;
  readonly noted: string;
  readonly error: unknown;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'star-cli-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs a command line in this process. */
async function star(...args: readonly string[]): Promise<Outcome> {
  const printed: string[] = [];
  const noted: string[] = [];
  let code: number | null = null;
  let error: unknown = null;
  const program = createProgram(
    {
      output: {
        isTty: false,
        columns: 100,
        print: (text) => printed.push(text),
        note: (text) => noted.push(text),
        status: () => undefined,
      },
      server: { dataDir: join(folder, 'data'), host: '127.0.0.1', httpPort: 0, grpcPort: 0, scorerListen: null },
      settings: { python: null, serverUrl: null },
      onInterrupt: () => () => undefined,
      exitNow: () => {
        throw new Error('exit');
      },
    },
    (result) => {
      code = result;
    },
  );
  await program.parseAsync(['node', 'star', ...args]).catch((caught: unknown) => {
    error = caught;
  });
  return { code, printed: printed.join('\n'), noted: noted.join('\n'), error };
}

describe('star --help', () => {
  it.each([
    'run',
    'resume',
    'runs',
    'show',
    'stop',
    'up',
    'score',
    'reward set',
    'rescore',
    'eval geneval',
    'prompts geneval',
  ])('%s explains itself with an example', async (name) => {
    const { printed } = await star(...name.split(' '), '--help');
    expect(printed).toContain(`Usage: star ${name}`);
    expect(printed).toMatch(/Examples:\n {2}\$ star /);
  });

  it('refuses an unknown option and a bad port as usage errors', async () => {
    expect((await star('runs', '--jsn')).error).toMatchObject({ code: 'commander.unknownOption' });
    const port = await star('up', '--http-port', 'web');
    expect(port.noted).toContain('expected a port from 0');
  });
});

describe('star prompts geneval', () => {
  it('writes a training file without the prompts of a test file', async () => {
    const [test, train] = [join(folder, 'test.jsonl'), join(folder, 'train.jsonl')];
    await star('prompts', 'geneval', '--kind', 'test', '--count', '50', '--seed', '3', '--out', test);
    const made = await star('prompts', 'geneval', '--count', '400', '--seed', '3', '--exclude', test, '--out', train);
    expect(made).toMatchObject({ code: 0, printed: expect.stringContaining('400 lines') });
    const read = (path: string) =>
      parsePromptFile({ name: path, format: 'jsonl', text: readFileSync(path, 'utf8') }, 'geneval');
    const tested = new Set(read(test).map(({ prompt }) => prompt));
    expect(tested.size).toBe(80 + 5 * 50);
    expect(read(train).filter(({ prompt }) => tested.has(prompt))).toEqual([]);
  });

  it('makes the folder of its file, and says when it cannot', async () => {
    const path = join(folder, 'new/folder/test.jsonl');
    expect((await star('prompts', 'geneval', '--count', '17', '--out', path)).code).toBe(0);
    expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(17);
    const below = await star('prompts', 'geneval', '--count', '17', '--out', join(path, 'test.jsonl'));
    expect(below.error).toMatchObject({ reason: 'ARGUMENT_INVALID', message: expect.stringContaining('be written') });
  });

  it('keeps unseen classes from training', async () => {
    const classes = async (which: string) => {
      const path = join(folder, `${which}.jsonl`);
      await star('prompts', 'geneval', '--kind', 'test', '--objects', which, '--out', path);
      return new Set(readFileSync(path, 'utf8').match(/(?<="class":")[^"]+/g));
    };
    const [seen, unseen] = [await classes('seen'), await classes('unseen')];
    expect([seen.size, unseen.size, new Set([...seen, ...unseen]).size]).toEqual([60, 20, 80]);
  });
});

describe('star run --dry-run', () => {
  it('tells what is trained on from what is only watched', async () => {
    const components = `[
      { name: geneval, scorer: geneval, gate: { component: exact, value: strict, atLeast: 1 } },
      { name: exact, scorer: geneval, weight: 0 },
      { name: exam, scorer: geneval, weight: 0, heldOut: true },
    ]`.replaceAll('\n', ' ');
    const settings = ['--set', `reward.components=${components}`, '--set', 'reward.combination=standardized'];
    const { printed } = await star('run', recipe('tiny-geneval-star.yaml'), '--dry-run', ...settings);
    expect(printed).toContain(
      '1 x geneval.score (geneval) where exact >= 1, standardised one by one; monitor only: exact; held out: exam',
    );
  });

  it.each(readdirSync(RECIPES).filter((name) => name.endsWith('.yaml')))('%s has a plan', async (name) => {
    const { code, printed } = await star('run', recipe(name), '--dry-run');
    expect(code).toBe(0);
    expect(printed).toMatch(/^rollouts {4}\d+ prompts x \d+ = \d+ an iteration/m);
    expect(printed).toMatch(/^wire {8}[\d.]+ (B|KiB|MiB|GiB) up/m);
  });

  it('applies --set and --seed', async () => {
    const options = [
      '--dry-run',
      '--json',
      '--seed',
      '7',
      '--set',
      'iterations=3',
      '--set',
      'reward.components.0.weight=2',
    ];
    const { printed } = await star('run', recipe('tiny-ocr-star.yaml'), ...options);
    expect(JSON.parse(printed).recipe).toMatchObject({
      seed: 7,
      iterations: 3,
      reward: { components: [{ weight: 2 }] },
    });
  });

  it('names a misspelt key with its nearest valid name', async () => {
    const { error } = await star('run', recipe('tiny-ocr-star.yaml'), '--dry-run', '--set', 'optimizer.learningRat=1');
    expect(error).toMatchObject({
      reason: 'RECIPE_INVALID',
      message: expect.stringContaining('did you mean learningRate?'),
    });
  });

  it('says that a recipe file is missing and where the shipped ones are', async () => {
    const { error } = await star('run', join(folder, 'none.yaml'), '--dry-run');
    expect(error).toMatchObject({ reason: 'NOT_FOUND', message: expect.stringContaining('recipes/') });
  });
});

describe('applyAssignments', () => {
  it('keeps what it does not change and refuses what is no assignment', () => {
    expect(applyAssignments('# note\na: {b: 1}\n', ['a.b=2', 'c.d=[x, 1]'])).toBe(
      '# note\na: { b: 2 }\nc:\n  d:\n    - x\n    - 1\n',
    );
    expect(() => applyAssignments('a: 1\n', ['a'])).toThrow(/expected --set key.path=value, received "a"/);
    expect(() => applyAssignments('a: 1\n', ['a.b=2'])).toThrow(StarError);
  });
});

describe('stored runs', () => {
  it('are not made up where there is no data folder', async () => {
    for (const command of [['runs'], ['show', 'x']]) {
      const { error } = await star(...command);
      expect(error).toMatchObject({ reason: 'NOT_FOUND', message: expect.stringContaining('star run RECIPE') });
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  it('cannot be stopped without a control plane', async () => {
    expect((await star('stop', 'x')).error).toMatchObject({ message: expect.stringContaining('star up') });
  });
});

describe('star reward', () => {
  const component = { name: 'geneval', scorer: 'geneval', weight: 2 };

  it('shows the reward in effect, what waits, and every version of a stored run', async () => {
    mkdirSync(join(folder, 'data'));
    const database = openDatabase(join(folder, 'data', 'star.db'));
    const store = new SqliteRunStore(database, () => 'noon');
    store.createRun({ runId: 'r1', recipe: tinyRecipe(), recipeText: '' });
    const reward = tinyRecipe({ reward: { components: [component] } }).reward;
    store.advanceReward('r1', { kind: 'staged', reward, earliestIteration: 1, author: 'ann' });
    store.advanceReward('r1', { kind: 'checked', version: 2 });
    const judged = { rewards: [0, 1], advantages: [-1, 1] };
    const shadow = compareRewards([{ before: judged, after: { ...judged, rewards: [0, 2] } }]);
    store.advanceReward('r1', { kind: 'shadowed', version: 2, shadow });
    database.close();
    const { printed } = await star('reward', 'show', 'r1');
    expect(printed).toContain('reward version 1 in effect from iteration 0 on, staged by recipe at noon');
    expect(printed).toContain('version 2 (SHADOWED) takes effect at the next boundary; staged by ann at noon');
    expect(printed).toContain('geneval = 2 x geneval.score (shipped bundle)');
    expect(printed).toContain('mean +- standard deviation 0.5 +- 0.5 -> 1 +- 1');
    expect(printed).toContain('advantages: same sign 100.0%, opposite 0.0%');
    expect((await star('reward', 'history', 'r1')).printed).toMatch(/^2 +SHADOWED +- +noon +ann +geneval = 2 x/m);
  });

  it('changes weights by name and refuses what it does not find', () => {
    const text = JSON.stringify({ components: [component], processCount: 2 });
    expect(parse(applyWeights(text, ['geneval=0.25']))).toEqual({
      components: [{ ...component, weight: 0.25 }],
      processCount: 2,
    });
    expect(() => applyWeights(text, ['clip=1'])).toThrow(/no component clip; it has: geneval/);
    expect(() => applyWeights(text, ['geneval=much'])).toThrow(
      /expected --weight NAME=NUMBER, received "geneval=much"/,
    );
  });

  it('is changed through a running control plane only', async () => {
    expect((await star('reward', 'set', 'r1', '--weight', 'geneval=1')).error).toMatchObject({ reason: 'NOT_FOUND' });
  });
});

describe('star rescore', () => {
  it('reads a range, and names what is missing', async () => {
    expect([iterationRange('3..9'), iterationRange('4')]).toEqual([
      [3, 9],
      [4, 4],
    ]);
    for (const text of ['9..3', 'a', '1..', '-1..2']) expect(() => iterationRange(text)).toThrow(/FIRST..LAST/);
    const { error } = await star('rescore', 'r1', '--reward', 'none.yaml');
    expect(error).toMatchObject({ reason: 'NOT_FOUND', message: expect.stringContaining('--data-dir') });
  });
});

describe('star score', () => {
  it('asks for clauses where GenEval needs them, before anything starts', async () => {
    const { error } = await star('score', 'a.png', '--prompt', 'a red circle');
    expect(error).toMatchObject({ reason: 'ARGUMENT_INVALID', message: expect.stringContaining('--include') });
  });

  it('refuses clauses that are not JSON and an OCR prompt without a quoted text', async () => {
    expect((await star('score', 'a.png', '--prompt', 'x', '--include', '[')).error).toMatchObject({
      reason: 'ARGUMENT_INVALID',
    });
    const plain = await star('score', 'a.png', '--scorer', 'ocr', '--prompt', 'a sign');
    expect(plain.error).toMatchObject({ reason: 'PROMPT_INVALID' });
  });
});
