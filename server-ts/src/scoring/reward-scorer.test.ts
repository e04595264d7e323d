import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { type Recipe, recipeSchema } from '../config/recipe.js';
import type { PromptRecord } from '../core/types.js';
import { BundleStore } from './bundle/bundle-store.js';
import { writeDetectorBundle } from './fixtures/detector-bundle.js';
import { createRewardScorer, scoreFiles } from './reward-scorer.js';

const repoRoot = fileURLToPath(new URL('../../..', import.meta.url));
const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}.png`, import.meta.url));
const signal = new AbortController().signal;

let detector = '';
beforeAll(async () => {
  detector = await mkdtemp(join(tmpdir(), 'star-test-'));
  await writeDetectorBundle(detector);
  return () => rm(detector, { recursive: true });
});

type Component = Record<string, unknown>;

function recipe(...components: Component[]): Recipe {
  return recipeSchema.parse({
    name: 'test',
    task: 'ocr',
    iterations: 1,
    model: { path: 'm', height: 64, width: 64, maxSequenceLength: 16 },
    prompts: { train: 'a', evaluation: 'b', groupsPerIteration: 1, groupSize: 2 },
    sampling: { numInferenceSteps: 1, windowSize: 0 },
    evaluation: { numInferenceSteps: 1, promptCount: 1 },
    reward: { components },
    objective: { kind: 'forward_process' },
    optimizer: { learningRate: 1 },
    worker: { microBatchSize: 1 },
  });
}

function ocrPrompt(targetText: string | null): PromptRecord {
  return { prompt: `a sign that says "${targetText}"`, tag: 'ocr', include: [], exclude: [], targetText };
}

async function create(made: Recipe, events: string[] = []) {
  const onEvent = (name: string): number => events.push(name);
  return createRewardScorer(made, signal, { bundles: new BundleStore(join(repoRoot, 'none'), repoRoot), onEvent });
}

test('reads printed words of 64-pixel pictures', async () => {
  const scorer = await create(recipe({ name: 'text', scorer: 'ocr' }));
  try {
    for (const word of ['cat', 'sea', 'pine', 'stop', 'load', 'rose']) {
      const [scores] = await scoreFiles(scorer, ocrPrompt(word.toUpperCase()), [fixture(`word-${word}`)], signal);
      expect(scores?.text).toMatchObject({
        kind: 'value',
        values: { score: 1, strict: 1 },
        evidence: { kind: 'text', text: word.toUpperCase(), lines: [{ confidence: expect.any(Number) }] },
      });
    }
    const files = [fixture('word-cat'), fixture('blank')];
    const [wrongLetter, blank] = await scoreFiles(scorer, ocrPrompt('CAR'), files, signal);
    expect(wrongLetter?.text).toMatchObject({ values: { score: 1 - 1 / 3, strict: 0 } });
    expect(blank?.text).toMatchObject({ values: { score: 0, strict: 0 }, evidence: { text: '', lines: [] } });
    const [noTarget] = await scoreFiles(scorer, ocrPrompt(null), files, signal);
    expect(noTarget?.text).toMatchObject({ kind: 'failed', failure: { reason: 'PROMPT_INVALID' } });
  } finally {
    await scorer.close();
  }
});

test('components of one scorer and bundle share their processes', async () => {
  const events: string[] = [];
  const component = { scorer: 'geneval', bundle: detector };
  const scorer = await create(
    recipe({ name: 'graded', ...component }, { name: 'exact', ...component, value: 'strict' }),
    events,
  );
  const prompt = { ...ocrPrompt(null), include: [{ class: 'square', count: 1 }] };
  const [scores] = await scoreFiles(scorer, prompt, [fixture('red-circle-blue-square')], signal);
  await scorer.close();
  expect(scores).toMatchObject({ graded: { values: { score: 0, strict: 0, correct: 0 } } });
  expect(scores?.exact).toEqual(scores?.graded);
  expect(events.filter((name) => name === 'scorer_process_started')).toHaveLength(1);
});

test.each([
  [
    'PickScore without weights',
    { scorer: 'image_text', bundle: 'scorers/pickscore-v1' },
    'SCORER_NOT_LOADABLE',
    'scorers/pickscore-v1',
  ],
  ['a bundle of another kind', { scorer: 'geneval', bundle: 'scorers/ppocr-v4' }, 'SCORER_NOT_LOADABLE', 'kind ocr'],
  ['a missing bundle', { scorer: 'ocr', bundle: 'scorers/none' }, 'SCORER_NOT_LOADABLE', 'scorers/none'],
  [
    'a gate on a value that is not reported',
    { scorer: 'ocr', gate: { component: 'first', value: 'score_of', atLeast: 1 } },
    'RECIPE_INVALID',
    'first asks for value "score_of"',
  ],
  ['a value that is not reported', { scorer: 'ocr', value: 'correct' }, 'RECIPE_INVALID', 'score, strict'],
])('refuses %s before a process is started', async (_, component, reason, message) => {
  const events: string[] = [];
  const made = recipe({ name: 'first', scorer: 'ocr' }, { name: 'second', ...component });
  await expect(create(made, events)).rejects.toMatchObject({ reason, message: expect.stringContaining(message) });
  expect(events).toEqual([]);
});

test('a file that is not there is an error', async () => {
  const scorer = await create(recipe({ name: 'graded', scorer: 'geneval', bundle: detector }));
  await expect(scoreFiles(scorer, ocrPrompt('A'), ['none.png'], signal)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  await scorer.close();
});
