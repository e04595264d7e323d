import { describe, expect, it } from 'vitest';
import { evaluationPlan, type PlanSettings, rolloutPlan, type WindowMove, windowStartAt } from './rollout-plan.js';
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
  sampling: {
    numInferenceSteps: 8,
    schedule: 'linear',
    shift: 3,
    windowStart: 0,
    windowSize: 4,
    windowMove: { kind: 'fixed' },
  },
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

describe('windowStartAt', () => {
  const starts = (windowMove: WindowMove, count: number): number[] => {
    const sampling = { ...SETTINGS.sampling, windowStart: 1, windowSize: 2, windowMove };
    return Array.from({ length: count }, (_, iteration) => windowStartAt({ seed: 3, sampling }, iteration));
  };

  it('stays where it is when fixed', () => {
    expect(new Set(starts({ kind: 'fixed' }, 50))).toEqual(new Set([1]));
  });

  it('draws every place about equally often, the same for the same iteration', () => {
    const drawn = starts({ kind: 'random', lastStart: 4 }, 4000);
    expect(drawn).toEqual(starts({ kind: 'random', lastStart: 4 }, 4000));
    for (const place of [1, 2, 3, 4]) expect(drawn.filter((start) => start === place).length).toBeGreaterThan(900);
    expect(Math.max(...drawn)).toBe(4);
  });

  it('slides by its stride and starts again after the last place', () => {
    expect(starts({ kind: 'sliding', lastStart: 5, stride: 2, every: 2 }, 8)).toEqual([1, 1, 3, 3, 5, 5, 1, 1]);
  });

  it('moves the captured steps along', () => {
    const sampling = {
      ...SETTINGS.sampling,
      windowSize: 2,
      windowMove: { kind: 'sliding', lastStart: 6, stride: 3, every: 1 },
    } as const;
    const settings = { ...SETTINGS, sampling, allocation: { sigmaRange: [0, 1] } } as const;
    const plans = [0, 1, 2].map((iteration) => rolloutPlan(settings, PROMPTS, iteration));
    expect(plans.map((plan) => plan.windowStart)).toEqual([0, 3, 6]);
    expect(plans.map((plan) => plan.groups[0]?.captureSteps)).toEqual([
      [0, 1],
      [3, 4],
      [6, 7],
    ]);
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
