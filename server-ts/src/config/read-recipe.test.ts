import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readRecipe, readReward } from './read-recipe.js';
import type { Recipe } from './recipe.js';

const FOLDER = new URL('../../../recipes/', import.meta.url);
const shipped = (name: string): string => readFileSync(new URL(`${name}.yaml`, FOLDER), 'utf8');
const FORWARD = shipped('tiny-geneval-star-forward');
const GRADIENT = shipped('tiny-geneval-star');
const SCALAR = shipped('tiny-geneval-scalar');
const CPS = GRADIENT.replace('  noiseLevel: 0.7', '  noiseLevel: 0.7\n  sampler: cps');
const SLIDING = '  windowMove: { kind: sliding, lastStart: 6 }';

function problem(text: string): string {
  try {
    readRecipe(text, 'r.yaml');
  } catch (error) {
    return String((error as Error).message);
  }
  return 'accepted';
}

describe('shipped recipes', () => {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));

  it.each(names)('%s is valid and named like its file', (name) => {
    expect(`${readRecipe(shipped(name.replace('.yaml', '')), name).name}.yaml`).toBe(name);
  });

  it.each([
    ['tiny-geneval-star', 'tiny-geneval-scalar'],
    ['tiny-geneval-star-forward', 'tiny-geneval-forward-scalar'],
    ['tiny-ocr-star', 'tiny-ocr-scalar'],
  ])('%s differs from %s only in the allocation', (star, scalar) => {
    const bare = (recipe: Recipe): Recipe => ({ ...recipe, name: '', description: '', allocation: null });
    expect(readRecipe(shipped(star)).allocation).not.toBeNull();
    expect(readRecipe(shipped(scalar)).allocation).toBeNull();
    expect(bare(readRecipe(shipped(star)))).toEqual(bare(readRecipe(shipped(scalar))));
  });
});

describe('readRecipe', () => {
  it('names line, column and the nearest key for an unknown key', () => {
    const text = FORWARD.replace('  groupSize:', '  groupSiz:');
    const line = text.split('\n').findIndex((entry) => entry.includes('groupSiz:')) + 1;
    expect(problem(text)).toContain(`r.yaml:${line}:3: unknown key prompts.groupSiz; did you mean groupSize?`);
  });

  it('suggests keys of the chosen objective only', () => {
    expect(problem(FORWARD.replace('  noiseLevels:', '  noiseLevel:'))).toContain('did you mean noiseLevels?');
    expect(problem(GRADIENT.replace('  clipRange:', '  clipRang:'))).toContain('did you mean clipRange?');
  });

  it('names field, received value and expectation for a wrong type', () => {
    const message = problem(FORWARD.replace('groupSize: 12', 'groupSize: many'));
    expect(message).toMatch(/r\.yaml:\d+:3: prompts\.groupSize: .*number.*; received "many"/);
  });

  it('says that a field is missing', () => {
    expect(problem(FORWARD.replace('  groupSize: 12\n', ''))).toMatch(
      /prompts\.groupSize: is required; received nothing/,
    );
  });

  it('gives the place of a YAML error', () => {
    expect(problem(`${FORWARD}\nname: twice\n`)).toMatch(/r\.yaml:\d+:1: .*unique/i);
    expect(problem('')).toContain('r.yaml:1:1: recipe');
  });

  it.each([
    ['the last step stochastic', GRADIENT, 'windowSize: 4', 'windowSize: 8', 'sampling.windowSize'],
    ['policy_gradient without window', GRADIENT, 'windowSize: 4', 'windowSize: 0', 'sampling.windowSize'],
    ['policy_gradient without noise', GRADIENT, 'noiseLevel: 0.7', 'noiseLevel: 0', 'sampling.noiseLevel'],
    ['forward_process with window', FORWARD, 'windowSize: 0', 'windowSize: 2', 'sampling.windowSize'],
    ['a moving window without window', FORWARD, 'windowSize: 0', `windowSize: 0\n${SLIDING}`, 'sampling.windowMove'],
    ['a window that slides off', GRADIENT, 'windowSize: 4', `windowSize: 4\n${SLIDING}`, 'sampling.windowSize'],
    ['RatioNorm with CPS', CPS, 'optimizerSteps: 1', 'ratioNorm: true', 'objective.ratioNorm'],
    ['more optimiser steps than trained steps', GRADIENT, 'optimizerSteps: 1', 'optimizerSteps: 5', 'optimizerSteps'],
    ['a mean KL of the forward process', FORWARD, 'noiseLevels: 2', 'kl: { kind: mean }', 'objective.kl.kind'],
    ['an anchor without allocation', SCALAR, 'optimizerSteps: 1', 'kl: { kind: anchored }', 'objective.kl.kind'],
    ['an uneven micro batch', GRADIENT, /microBatchSize: \d+/, 'microBatchSize: 7', 'worker.microBatchSize'],
    ['an empty sigma range', GRADIENT, '[0.29, 0.91]', '[0.9, 0.3]', 'allocation.sigmaRange'],
    ['a block twice', GRADIENT, '[1, 2, 3]', '[1, 1]', 'allocation.blocks'],
    ['a blank model path', GRADIENT, 'path: models/tiny-world', 'path: " "', 'model.path'],
    ['no tag to draw', GRADIENT, /tagWeights: .*/, 'tagWeights: { colors: 0 }', 'prompts.tagWeights'],
    ['a scorer of another task', GRADIENT, 'scorer: geneval', 'scorer: ocr', 'reward.components'],
    ['only one checkpoint kept', GRADIENT, 'every: 10', 'every: 10, keep: 1', 'checkpoint.keep'],
    ['no weight at all', GRADIENT, 'value: score', 'value: score, weight: 0', 'reward.components'],
  ])('refuses %s with the place and the reason', (_, text, from, to, field) => {
    const message = problem(text.replace(from, to));
    expect(message).toMatch(/r\.yaml:\d+:\d+: /);
    expect(message).toContain(field);
  });

  it('takes its own result back, for recipes stored as objects', () => {
    const recipe = readRecipe(GRADIENT);
    expect(readRecipe(JSON.stringify(recipe))).toEqual(recipe);
  });
});

describe('reading another reward for a run', () => {
  const recipe = readRecipe(GRADIENT);
  const component = '{ name: geneval, scorer: geneval, weight: 2 }';

  it('fills defaults, from YAML and from JSON', () => {
    const reward = readReward(`components: [${component}]`, recipe);
    expect(reward).toMatchObject({ components: [{ bundle: null, value: 'score', weight: 2 }], processCount: 1 });
    expect(readReward(JSON.stringify(reward), recipe)).toEqual(reward);
  });

  it.each([
    [`components: [${component}]\ntimeoutMS: 500`, 'reward:2:1: unknown key timeoutMS; did you mean timeoutMs?'],
    [`components: [{ name: a, scorer: geneval, wieght: 1 }]`, 'components.0.wieght; did you mean weight?'],
    [`components: [{ name: a, scorer: ocr }]`, 'reward:1:1: components: scorer ocr needs prompts of task ocr'],
    [`reward: { components: [] }`, 'unknown key reward'],
    ['', 'reward:1:1: reward'],
  ])('refuses %j', (text, message) => {
    expect(() => readReward(text, recipe)).toThrow(message);
  });
});
