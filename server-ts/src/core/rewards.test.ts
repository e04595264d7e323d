import { describe, expect, it } from 'vitest';
import { groupAdvantages } from './advantages.js';
import { lossMask } from './loss-mask.js';
import { iterationMetrics } from './metric-reduction.js';
import { ocrReward } from './ocr-reward.js';
import { pairedDifference } from './paired-difference.js';
import type { ComponentOutcome } from './reward-components.js';
import { combineReward, groupRewards } from './rewards.js';
import { tensor } from './tensor.js';
import type { Reward, Score } from './types.js';

const value = (values: Record<string, number>): Score => ({
  kind: 'value',
  values,
  evidence: { kind: 'none' },
  lineage: { scorer: 's', bundleHash: 'h', graphHashes: {}, thresholds: {}, preprocessing: 'p', runtime: 'r' },
});
const failed: Score = { kind: 'failed', failure: { reason: 'SCORER_TIMEOUT', message: 'late' } };
const abstained: Score = {
  kind: 'abstained',
  message: 'asks for no text',
  lineage: { scorer: 's', bundleHash: 'h', graphHashes: {}, thresholds: {}, preprocessing: 'p', runtime: 'r' },
};
const terms = [
  { name: 'a', value: 'score', weight: 1 },
  { name: 'b', value: 'strict', weight: 0.5 },
];

describe('combineReward', () => {
  it('adds weighted components', () => {
    const reward = combineReward({ a: value({ score: 0.5 }), b: value({ strict: 1 }) }, terms);
    expect(reward).toEqual({ kind: 'value', reward: 1, components: { a: 0.5, b: 1 } });
  });

  it('is missing, not 0, when a weighted component is missing', () => {
    expect(combineReward({ a: value({ score: 1 }), b: failed }, terms)).toEqual({
      kind: 'missing',
      failure: { reason: 'SCORER_TIMEOUT', message: 'late' },
    });
    expect(combineReward({ a: value({ score: 1 }) }, terms).kind).toBe('missing');
    expect(combineReward({ a: value({ score: Number.NaN }), b: value({ strict: 1 }) }, terms).kind).toBe('missing');
  });

  it('does without a component of weight 0', () => {
    const observed = terms.map((term) => (term.name === 'b' ? { ...term, weight: 0 } : term));
    expect(combineReward({ a: value({ score: 1 }), b: failed }, observed)).toEqual({
      kind: 'value',
      reward: 1,
      components: { a: 1 },
    });
  });

  it('names the values that exist when the recipe asks for another', () => {
    expect(() => combineReward({ a: value({ strict: 1, correct: 1 }) }, terms)).toThrow(
      'reports no "score"; it reports: strict, correct',
    );
  });
});

describe('combineReward: transform and gate', () => {
  const score = (number: number): Score => value({ score: number, strict: number >= 1 ? 1 : 0 });
  const gated = (otherwise: number | 'abstain', extra: object = {}) => [
    {
      name: 'a',
      value: 'score',
      weight: 1,
      gate: { component: 'b', value: 'strict', atLeast: 1, otherwise },
      ...extra,
    },
    { name: 'b', value: 'score', weight: 0 },
  ];

  it('scales, shifts and then clips', () => {
    const transform = { scale: 2, offset: -1, clip: [-0.5, 0.5] as const };
    const one = [{ name: 'a', value: 'score', weight: 3, transform }];
    const rewards = [0, 0.5, 0.6, 1].map((number) => combineReward({ a: score(number) }, one));
    expect(rewards.map((reward) => reward.kind === 'value' && reward.components.a)).toEqual([
      -0.5,
      0,
      expect.closeTo(0.2, 12),
      0.5,
    ]);
    expect(
      combineReward({ a: value({ score: 1e300 }) }, [
        { ...one[0], transform: { ...transform, scale: 1e300, clip: null } } as never,
      ]),
    ).toMatchObject({
      kind: 'missing',
      failure: { reason: 'SCORE_NOT_FINITE' },
    });
  });

  it('counts a component only where the gate is open', () => {
    const transform = { scale: 10, offset: 0, clip: null };
    expect(combineReward({ a: score(0.4), b: score(1) }, gated(0, { transform }))).toMatchObject({ reward: 4 });
    expect(combineReward({ a: score(0.4), b: score(0.9) }, gated(-0.25, { transform }))).toMatchObject({
      reward: -0.25,
    });
  });

  it('takes the value that the other component rewards where the gate names none', () => {
    const terms = gated(0).map((term) =>
      'gate' in term ? { ...term, gate: { ...term.gate, value: null, atLeast: 0.5 } } : term,
    );
    expect(combineReward({ a: score(1), b: score(0.5) }, terms)).toMatchObject({ reward: 1 });
    expect(combineReward({ a: score(1), b: score(0.4) }, terms)).toMatchObject({ reward: 0 });
  });

  it('cannot tell without the value that the gate looks at', () => {
    expect(combineReward({ a: score(1), b: failed }, gated(0))).toMatchObject({
      failure: { reason: 'SCORER_TIMEOUT' },
    });
    expect(combineReward({ a: score(1), b: abstained }, gated(0))).toEqual({ kind: 'abstained' });
    expect(combineReward({ a: score(1), b: score(0) }, gated('abstain'))).toEqual({ kind: 'abstained' });
  });
});

describe('groupRewards', () => {
  const one = value({ score: 1, strict: 1 });

  it('leaves a component that abstains for the whole prompt out, with the weights of the others unchanged', () => {
    const rewards = groupRewards(
      [
        { a: abstained, b: one },
        { a: abstained, b: value({ strict: 0 }) },
      ],
      terms,
    );
    expect(rewards).toEqual([
      { kind: 'value', reward: 0.5, components: { b: 1 } },
      { kind: 'value', reward: 0, components: { b: 0 } },
    ]);
  });

  it('never compares a sum with one that has a component more', () => {
    const rewards = groupRewards(
      [
        { a: abstained, b: one },
        { a: one, b: one },
      ],
      terms,
    );
    expect(rewards.map(({ kind }) => kind)).toEqual(['abstained', 'value']);
  });

  it('fails before it abstains, and abstains when nothing is left', () => {
    const rewards = groupRewards(
      [
        { a: abstained, b: failed },
        { a: abstained, b: abstained },
      ],
      terms,
    );
    expect(rewards.map(({ kind }) => kind)).toEqual(['missing', 'abstained']);
  });

  it('does not mind a monitor that abstains', () => {
    const observed = terms.map((term) => (term.name === 'b' ? { ...term, weight: 0 } : term));
    const rewards = groupRewards(
      [
        { a: one, b: abstained },
        { a: one, b: one },
      ],
      observed,
    );
    expect(rewards.map(({ kind }) => kind)).toEqual(['value', 'value']);
  });
});

describe('ocrReward', () => {
  it.each([
    ['STAR', 'star', 1],
    ['xxS T A Rxx', 'star', 1],
    ['', 'star', 0],
    ['stat', 'star', 0.75],
    ['a much longer line', 'star', 0],
    ['\u{1F600}\u{1F601}', '\u{1F600}\u{1F602}', 0.5],
  ])('%j read for %j gives %d', (read, target, expected) => {
    expect(ocrReward(read, target)).toBe(expected);
  });

  it('refuses a target of spaces', () => {
    expect(() => ocrReward('a', ' ')).toThrow('no characters other than spaces');
  });
});

describe('lossMask', () => {
  const allocation = { maps: tensor([1, 1, 2], Float32Array.of(0.5, 1.5)), stepIndexes: [2], statistics: [] };

  it('carries the maps of a rollout with an advantage', () => {
    expect(lossMask('r', -1.5, allocation)).toEqual({
      rolloutId: 'r',
      advantage: -1.5,
      allocationMaps: allocation.maps,
      stepIndexes: [2],
    });
  });

  it.each([null, 0])('sends no maps for advantage %s', (advantage) => {
    expect(lossMask('r', advantage, allocation)).toEqual({
      rolloutId: 'r',
      advantage,
      allocationMaps: null,
      stepIndexes: [],
    });
  });

  it('stops at an advantage that is not finite', () => {
    expect(() => lossMask('r', Number.NaN, null)).toThrow('NaN');
  });
});

describe('pairedDifference', () => {
  it('averages pairs and leaves missing ones out', () => {
    const result = pairedDifference([0, 0, 1, null], [1, 0, 1, 1]);
    expect(result).toMatchObject({ pairCount: 3, missingCount: 1 });
    expect(result.difference).toBeCloseTo(1 / 3, 12);
    expect(result.standardError).toBeCloseTo(1 / 3, 12);
    expect(result.interval?.[1]).toBeCloseTo(1 / 3 + 1.96 / 3, 3);
  });

  it('widens the interval where pictures of a prompt move together', () => {
    const [before, after] = [
      [0, 0, 0, 0],
      [1, 1, 0, 0],
    ];
    const plain = pairedDifference(before, after);
    const clustered = pairedDifference(before, after, ['a', 'a', 'b', 'b']);
    expect(clustered.standardError).toBeCloseTo(0.5, 12);
    expect(clustered.standardError ?? 0).toBeGreaterThan(plain.standardError ?? 1);
  });

  it('says nothing where there is nothing', () => {
    expect(pairedDifference([null], [1])).toMatchObject({ difference: null, interval: null });
    expect(pairedDifference([0], [1])).toMatchObject({ difference: 1, interval: null });
    expect(() => pairedDifference([0], [])).toThrow('received 1, 0');
  });
});

describe('iterationMetrics', () => {
  const outcome = (reported: number): ComponentOutcome => ({ kind: 'value', reported, value: -1, gateClosed: false });
  const timeout: ComponentOutcome = { kind: 'missing', failure: { reason: 'SCORER_TIMEOUT', message: '' } };
  const a = (...outcomes: ComponentOutcome[]) => outcomes.map((each) => new Map([['a', each]]));

  it('reduces rewards, groups and maps and counts what is missing by reason', () => {
    const reward = (amount: number): Reward => ({ kind: 'value', reward: amount, components: { a: amount } });
    const missing: Reward = { kind: 'missing', failure: { reason: 'SCORER_TIMEOUT', message: '' } };
    const metrics = iterationMetrics({
      rewards: [
        [reward(0), reward(1)],
        [reward(1), reward(1)],
        [missing, reward(0)],
      ],
      components: [a(outcome(0), outcome(1)), a(outcome(1), outcome(1)), a(timeout, outcome(0))],
      advantages: [groupAdvantages([0, 1], 5), groupAdvantages([1, 1], 5), groupAdvantages([null, 0], 5)],
      allocation: [
        { fallback: null, concentration: 0.2, kappa: 0.8, secondMoment: 2, largestWeight: 3 },
        { fallback: 'flat', concentration: 0, kappa: 0, secondMoment: 1, largestWeight: 1 },
      ],
    });
    expect(metrics).toMatchObject({
      reward_count: 5,
      reward_missing_count: 1,
      reward_missing_scorer_timeout_count: 1,
      reward_mean: 0.6,
      reward_a_mean: 0.6,
      reward_a_min: 0,
      reward_a_max: 1,
      reward_a_missing_count: 1,
      reward_a_tied_group_share: 0.5,
      group_count: 3,
      group_dropped_count: 1,
      group_std_mean: 0.25,
      zero_std_group_share: 0.5,
      allocation_fallback_share: 0.5,
      allocation_fallback_flat_count: 1,
      allocation_second_moment_mean: 1.5,
      allocation_weight_max: 3,
    });
  });

  it('counts abstentions apart from failures, and closed gates', () => {
    const closed: ComponentOutcome = { kind: 'value', reported: 3, value: 0, gateClosed: true };
    const metrics = iterationMetrics({
      rewards: [[{ kind: 'abstained' }, { kind: 'value', reward: 0, components: { a: 0 } }]],
      components: [a({ kind: 'abstained' }, closed)],
      advantages: [groupAdvantages([null, 0], 5)],
      allocation: [],
    });
    expect(metrics).toMatchObject({
      reward_count: 1,
      reward_missing_count: 0,
      reward_abstained_count: 1,
      reward_a_mean: 3,
      reward_a_missing_count: 0,
      reward_a_abstained_count: 1,
      reward_a_gate_closed_count: 1,
    });
  });

  it('leaves out what cannot be computed', () => {
    const missing: Reward = { kind: 'missing', failure: { reason: 'INTERNAL', message: '' } };
    const metrics = iterationMetrics({
      rewards: [[missing]],
      components: [a(timeout)],
      advantages: [groupAdvantages([null], 5)],
      allocation: [],
    });
    expect(metrics).not.toHaveProperty('reward_mean');
    expect(metrics).not.toHaveProperty('reward_a_mean');
    expect(metrics).not.toHaveProperty('reward_a_tied_group_share');
    expect(metrics).not.toHaveProperty('group_std_mean');
    expect(metrics).not.toHaveProperty('allocation_fallback_share');
  });
});
