import { describe, expect, it } from 'vitest';
import { evaluationPlan, type PlanSettings, rolloutPlan } from './rollout-plan.js';
import type { PromptRecord } from './types.js';

const prompt = (tag: string, index: number): PromptRecord => ({
  prompt: `a photo of a ${tag}${index}`,
  tag,
  include: [{ class: `${tag}${index}`, count: 1 }],
  exclude: [],
  targetText: null,
});
const PROMPTS = ['a', 'b', 'c'].flatMap((tag) => Array.from({ length: 10 }, (_, index) => prompt(tag, index)));

const SETTINGS: PlanSettings = {
  task: 'geneval',
  seed: 3,
  prompts: { tagWeights: { a: 3, b: 1, c: 0 }, groupsPerIteration: 6, groupSize: 4 },
  sampling: { numInferenceSteps: 8, schedule: 'linear', shift: 3, windowStart: 0, windowSize: 4 },
  evaluation: { numInferenceSteps: 5, promptCount: 25, seed: 9 },
  allocation: { sigmaRange: [0.45, 0.91] },
  objective: { kind: 'policy_gradient' },
};

describe('rolloutPlan', () => {
  it('is a pure function of its arguments and differs between iterations', () => {
    expect(rolloutPlan(SETTINGS, PROMPTS, 2)).toEqual(rolloutPlan(SETTINGS, PROMPTS, 2));
    const texts = (iteration: number): string =>
      rolloutPlan(SETTINGS, PROMPTS, iteration)
        .groups.map((group) => group.prompt.prompt)
        .join();
    expect(texts(2)).not.toBe(texts(3));
  });

  it('draws no prompt twice in an iteration while there are others', () => {
    for (let iteration = 0; iteration < 20; iteration += 1) {
      const { groups } = rolloutPlan(SETTINGS, PROMPTS, iteration);
      expect(new Set(groups.map((group) => group.prompt.prompt)).size).toBe(6);
    }
    const few = rolloutPlan(SETTINGS, PROMPTS.slice(9, 12), 0);
    expect(few.groups).toHaveLength(6);
    expect(new Set(few.groups.map((group) => group.prompt.prompt)).size).toBe(3);
  });

  it('follows the tag weights', () => {
    const tags = Array.from(
      { length: 300 },
      (_, iteration) =>
        rolloutPlan(
          { ...SETTINGS, prompts: { ...SETTINGS.prompts, groupsPerIteration: 1, groupSize: 2 } },
          PROMPTS,
          iteration,
        ).groups[0]?.prompt.tag,
    );
    const share = tags.filter((tag) => tag === 'a').length / tags.length;
    expect(share).toBeGreaterThan(0.65);
    expect(share).toBeLessThan(0.85);
    expect(tags).not.toContain('c');
  });

  it('gives every rollout its own id and seed', () => {
    const rollouts = [0, 1].flatMap((k) => rolloutPlan(SETTINGS, PROMPTS, k).groups.flatMap((group) => group.rollouts));
    expect(new Set(rollouts.map((rollout) => rollout.rolloutId)).size).toBe(48);
    expect(new Set(rollouts.map((rollout) => rollout.seed)).size).toBe(48);
    expect(rollouts[5]?.rolloutId).toBe('0-1-1');
  });

  it('captures steps inside the sigma range, and inside the window for the policy gradient only', () => {
    const steps = (settings: PlanSettings): readonly number[] | undefined =>
      rolloutPlan(settings, PROMPTS, 0).groups[0]?.captureSteps;
    expect(steps(SETTINGS)).toEqual([2, 3]);
    expect(steps({ ...SETTINGS, objective: { kind: 'forward_process' } })).toEqual([2, 3, 4, 5, 6]);
    expect(steps({ ...SETTINGS, allocation: null })).toEqual([]);
  });

  it('captures nothing for a prompt without core content', () => {
    const plain = [{ ...prompt('a', 0), prompt: 'untitled' }];
    expect(
      rolloutPlan({ ...SETTINGS, prompts: { ...SETTINGS.prompts, tagWeights: null } }, plain, 0).groups[0]
        ?.captureSteps,
    ).toEqual([]);
  });

  it('names a tag that no prompt has', () => {
    const prompts = { ...SETTINGS.prompts, tagWeights: { z: 1 } };
    expect(() => rolloutPlan({ ...SETTINGS, prompts }, PROMPTS, 0)).toThrow(
      'names "z", but no prompt has that tag; tags are: a, b, c',
    );
    expect(() => rolloutPlan({ ...SETTINGS, prompts: { ...prompts, tagWeights: null } }, [], 0)).toThrow(
      'no prompt to draw',
    );
  });
});

describe('evaluationPlan', () => {
  it('takes tags in turn and repeats prompts with new noise', () => {
    const { groups, keepTrajectory, windowSize, sigmas } = evaluationPlan(SETTINGS, PROMPTS, 7);
    expect(groups.map((group) => group.prompt.tag).slice(0, 4)).toEqual(['a', 'b', 'a', 'b']);
    expect(groups[20]?.prompt).toEqual(groups[0]?.prompt);
    expect(groups[20]?.rollouts[0]?.seed).not.toBe(groups[0]?.rollouts[0]?.seed);
    expect([keepTrajectory, windowSize, sigmas.length]).toEqual([false, 0, 6]);
    expect(groups.every((group) => group.captureSteps.length === 0)).toBe(true);
  });

  it('is the same before and after the run', () => {
    expect(evaluationPlan(SETTINGS, PROMPTS, 0).groups).toEqual(
      evaluationPlan({ ...SETTINGS, seed: 8 }, PROMPTS, 9).groups,
    );
  });
});
