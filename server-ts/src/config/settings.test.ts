import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { StarError } from '../core/errors.js';
import { readRecipe } from './read-recipe.js';
import { SD35_ASSUMPTIONS, summarizeRecipe } from './recipe-summary.js';
import { readServerSettings } from './server-settings.js';

const recipe = (name: string) =>
  readRecipe(readFileSync(new URL(`../../../recipes/${name}.yaml`, import.meta.url), 'utf8'), name);

describe('readServerSettings', () => {
  it('listens on loopback by default and takes what is set', () => {
    expect(readServerSettings({})).toEqual({
      dataDir: '.star',
      host: '127.0.0.1',
      httpPort: 8080,
      grpcPort: 50_051,
      scorerListen: null,
    });
    expect(readServerSettings({ STAR_HTTP_PORT: '0', STAR_DATA_DIR: '/data' })).toMatchObject({
      httpPort: 0,
      dataDir: '/data',
    });
  });

  it('names the variable and the received value', () => {
    expect(() => readServerSettings({ STAR_GRPC_PORT: '70000' })).toThrow(/STAR_GRPC_PORT.*received "70000"/);
    expect(() => readServerSettings({ STAR_HTTP_PORT: 'web' })).toThrow(StarError);
  });
});

describe('summarizeRecipe', () => {
  it('counts the paper setting', () => {
    const summary = summarizeRecipe(recipe('sd35m-geneval-star'), SD35_ASSUMPTIONS);
    expect(summary.rolloutsPerIteration).toBe(1152);
    expect(summary.samplingPassesPerIteration).toBe(23_040);
    expect(summary.trainedSteps).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(summary.captureSteps).toEqual(summary.trainedSteps);
    expect(summary.downBytesPerIteration).toBe(1152 * 9 * 1024);
    expect(summary.trajectoryBytes).toBe(1152 * 10 * 1024 * 64 * 4);
  });

  it('sends nothing down and captures nothing for a scalar baseline', () => {
    const summary = summarizeRecipe(recipe('tiny-geneval-forward-scalar'));
    expect(summary.captureSteps).toEqual([]);
    expect(summary.downBytesPerIteration).toBe(0);
    expect(summary.evaluationCount).toBe(2);
  });
});
