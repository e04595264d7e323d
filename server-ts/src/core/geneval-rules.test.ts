import { describe, expect, it } from 'vitest';
import { relationsOf } from './box-relations.js';
import { CLAUSE_VECTOR_LENGTH, judgeGeneval, selectObjects } from './geneval-rules.js';
import type { Detection } from './types.js';

const LIMITS = { threshold: 0.3, countingThreshold: 0.9, maxObjects: 16, maxOverlap: 1 };

const seen = (className: string, score = 0.95, more: Partial<Detection> = {}): Detection => ({
  className,
  score,
  box: [0, 0, 10, 10],
  color: null,
  ...more,
});

describe('selectObjects', () => {
  it('compares scores strictly and in float32', () => {
    const list = [seen('a', Math.fround(0.3)), seen('a', 0.31)];
    expect(selectObjects(list, 'colors', LIMITS).get('a')).toHaveLength(1);
    expect(selectObjects([seen('a', Math.fround(0.9))], 'counting', LIMITS).size).toBe(0);
  });

  it('puts the later of equal scores first and keeps the best 16', () => {
    const list = Array.from({ length: 20 }, (_, index) => seen('a', 0.5, { color: `${index}` }));
    const kept = selectObjects(list, 'colors', LIMITS).get('a') ?? [];
    expect(kept.map(({ color }) => color)).toEqual(Array.from({ length: 16 }, (_, index) => `${19 - index}`));
  });

  it('suppresses overlapping boxes when asked', () => {
    const list = [seen('a', 0.9), seen('a', 0.8, { box: [1, 0, 11, 10] }), seen('a', 0.7, { box: [50, 50, 60, 60] })];
    expect(selectObjects(list, 'colors', { ...LIMITS, maxOverlap: 0.5 }).get('a')).toHaveLength(2);
    expect(selectObjects(list, 'colors', LIMITS).get('a')).toHaveLength(3);
  });
});

describe('relationsOf', () => {
  it('knows both axes, diagonals and boxes too close to tell', () => {
    expect(relationsOf([0, 0, 10, 10], [40, 0, 50, 10])).toEqual(['left of']);
    expect(relationsOf([0, 40, 10, 50], [0, 0, 10, 10])).toEqual(['below']);
    expect(relationsOf([40, 40, 50, 50], [0, 0, 10, 10])).toEqual(['right of', 'below']);
    expect(relationsOf([0, 0, 10, 10], [1, 0, 11, 10])).toEqual([]);
    expect(relationsOf([0, 0, 10, 10], [0, 0, 10, 10])).toEqual([]);
  });
});

describe('judgeGeneval', () => {
  const position = {
    tag: 'position',
    include: [
      { class: 'a', count: 1 },
      { class: 'b', count: 1, position: ['left of', 0] as const },
    ],
    exclude: [],
  };

  it('scores a wrong relation 0.75, as the training server does', () => {
    const result = judgeGeneval([seen('a'), seen('b', 0.9, { box: [50, 0, 60, 10] })], position, LIMITS);
    expect(result.score).toBe(0.75);
    const message = 'expected b left of target, found right of target';
    const failure = { ruleSet: 'official', list: 'include', index: 1, message };
    expect(result.correct).toEqual({ passed: false, reason: message, failures: [failure] });
    expect(result.clauses[1]).toMatchObject({ className: 'b', terms: [1, 0, 1], matched: false });
    expect(result.clauseVector).toEqual([1, null, null, 1, null, 0, ...Array.from({ length: 7 }, () => null)]);
    expect(result.clauseVector).toHaveLength(CLAUSE_VECTOR_LENGTH);
  });

  it('has no target for a relation when the other object is absent', () => {
    const result = judgeGeneval([seen('b')], position, LIMITS);
    expect(result.correct.reason).toContain('no target for b to be left of');
    expect(result.score).toBeCloseTo(1 / 3, 12);
  });

  it('lets the raw score fall below 0 and clamps on request', () => {
    const crowd = Array.from({ length: 16 }, () => seen('a'));
    const result = judgeGeneval(
      crowd,
      { tag: 'single_object', include: [{ class: 'a', count: 1 }], exclude: [] },
      LIMITS,
    );
    expect([result.score, result.clampedScore, result.correct.passed, result.strict.passed]).toEqual([
      -14,
      0,
      true,
      false,
    ]);
  });

  it('looks at exclude clauses for the official verdict only', () => {
    const prompt = { tag: 'counting', include: [{ class: 'a', count: 2 }], exclude: [{ class: 'a', count: 3 }] };
    expect(judgeGeneval([seen('a'), seen('a'), seen('a')], prompt, LIMITS).correct.reason).toBe(
      'expected a<3, found 3',
    );
    expect(judgeGeneval([seen('a'), seen('a')], prompt, LIMITS)).toMatchObject({ score: 1, strict: { passed: true } });
    const vector = (...objects: Detection[]) => judgeGeneval(objects, prompt, LIMITS).clauseVector;
    expect([vector(seen('a'), seen('a'), seen('a'))[0], vector(seen('a'), seen('a'), seen('a'))[12]]).toEqual([0.5, 0]);
    expect([vector(seen('a'))[0], vector(seen('a'))[12]]).toEqual([0.5, 1]);
  });

  it('asks the best object for its colour; unknown colours never match', () => {
    const prompt = { tag: 'colors', include: [{ class: 'a', count: 1, color: 'red' }], exclude: [] };
    const result = judgeGeneval([seen('a', 0.8, { color: 'red' }), seen('a', 0.9)], prompt, LIMITS);
    expect(result.correct).toMatchObject({ passed: false, reason: 'expected red a>=1, found 0 red; and ' });
    expect(judgeGeneval([seen('a', 0.8, { color: 'red' })], prompt, LIMITS)).toMatchObject({ score: 1 });
  });
});
