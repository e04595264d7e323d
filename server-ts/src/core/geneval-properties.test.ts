import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { relationsOf } from './box-relations.js';
import { CLAUSE_VECTOR_LENGTH, type GenevalThresholds, judgeGeneval, selectObjects } from './geneval-rules.js';
import type { Detection, IncludeClause, PromptRecord, Relation } from './types.js';

/** GenEval's rules on thousands of random pictures and prompts of the official shapes; golden cases are elsewhere. */

const RUNS = { numRuns: 3000 };
const CLASSES = ['dog', 'cat', 'cup'] as const;
const COLORS = ['red', 'blue', 'green'] as const;
const RELATIONS: readonly Relation[] = ['left of', 'right of', 'above', 'below'];
const THRESHOLDS: GenevalThresholds = { threshold: 0.3, countingThreshold: 0.9, maxObjects: 16, maxOverlap: 1 };

const box = fc
  .tuple(fc.nat(60), fc.nat(60), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }))
  .map(([x, y, width, height]): Detection['box'] => [x, y, x + width, y + height]);
const detection: fc.Arbitrary<Detection> = fc.record({
  className: fc.constantFrom(...CLASSES),
  // Few values, so that equal scores and scores at a threshold are common.
  score: fc.constantFrom(0.1, 0.3, Math.fround(0.3), 0.5, 0.7, 0.9, Math.fround(0.9), 0.95),
  box,
  color: fc.constantFrom(...COLORS, null),
});
const picture = fc.array(detection, { maxLength: 24 });
const count = fc.integer({ min: 1, max: 4 });
const clause = (index: number): fc.Arbitrary<IncludeClause> =>
  fc.record(
    {
      class: fc.constantFrom(...CLASSES),
      count,
      color: fc.constantFrom(...COLORS),
      ...(index === 0 ? {} : { position: fc.tuple(fc.constantFrom(...RELATIONS), fc.nat(index - 1)) }),
    },
    { requiredKeys: ['class', 'count'] },
  );
const include = fc.oneof(
  fc.tuple(clause(0)),
  fc.tuple(clause(0), clause(1)),
  fc.tuple(clause(0), clause(1), clause(2)),
);
type Prompt = Pick<PromptRecord, 'tag' | 'include' | 'exclude'>;
const prompt: fc.Arbitrary<Prompt> = fc.record({
  tag: fc.constantFrom('single_object', 'two_object', 'counting', 'colors', 'position', 'color_attr'),
  include,
  exclude: fc.array(fc.record({ class: fc.constantFrom(...CLASSES), count }), { maxLength: 2 }),
});
/** Exclude clauses that say no more than exact counts do. */
const countingPrompt = prompt.map((one): Prompt => {
  const exclude = one.include.map((entry) => ({ class: entry.class, count: entry.count + 1 }));
  return { ...one, exclude };
});

describe('judgeGeneval', () => {
  it('keeps every number in its bounds', () => {
    fc.assert(
      fc.property(picture, prompt, (seen, asked) => {
        const result = judgeGeneval(seen, asked, THRESHOLDS);
        expect(result.score).toBeLessThanOrEqual(1);
        expect(result.score).toBeGreaterThanOrEqual(1 - THRESHOLDS.maxObjects);
        expect(result.clampedScore).toBeGreaterThanOrEqual(Math.max(0, result.score));
        expect(result.clampedScore).toBeLessThanOrEqual(1);
        expect(result.clauseVector).toHaveLength(CLAUSE_VECTOR_LENGTH);
        expect(result.clauseVector.every((value) => value === null || (value >= 0 && value <= 1))).toBe(true);
      }),
      RUNS,
    );
  });

  it('says why, exactly when a rule set fails', () => {
    fc.assert(
      fc.property(picture, prompt, (seen, asked) => {
        const { correct, strict, clauses } = judgeGeneval(seen, asked, THRESHOLDS);
        for (const verdict of [correct, strict]) {
          expect(verdict.passed).toBe(verdict.failures.length === 0);
          expect(verdict.passed).toBe(verdict.reason === '');
          for (const { list, index } of verdict.failures) expect(index).toBeLessThan(asked[list].length);
        }
        expect(strict.passed).toBe(clauses.every(({ matched }) => matched));
      }),
      RUNS,
    );
  });

  it('strict implies official where exclude is one more than asked for, and full marks', () => {
    fc.assert(
      fc.property(picture, countingPrompt, (seen, asked) => {
        const { correct, strict, score, clampedScore, clauseVector } = judgeGeneval(seen, asked, THRESHOLDS);
        if (!strict.passed) return;
        expect(correct.reason).toBe('');
        expect([score, clampedScore]).toEqual([1, 1]);
        expect(clauseVector.every((value) => value === null || value === 1)).toBe(true);
      }),
      RUNS,
    );
  });

  it('the clause vector is 1 throughout exactly when the strict rules and the exclude clauses hold', () => {
    fc.assert(
      fc.property(picture, prompt, (seen, asked) => {
        const { correct, strict, clauseVector } = judgeGeneval(seen, asked, THRESHOLDS);
        const excludes = correct.failures.every(({ list }) => list === 'include');
        expect(clauseVector.every((value) => value === null || value === 1)).toBe(strict.passed && excludes);
      }),
      RUNS,
    );
  });

  it('does not depend on the order of objects whose scores differ, nor on objects that do not count', () => {
    const different = fc.uniqueArray(detection, { maxLength: 8, selector: ({ score }) => Math.fround(score) });
    fc.assert(
      fc.property(different, prompt, (seen, asked) => {
        const result = judgeGeneval(seen, asked, THRESHOLDS);
        expect(judgeGeneval([...seen].reverse(), asked, THRESHOLDS)).toEqual(result);
        const kept = [...selectObjects(seen, asked.tag, THRESHOLDS).values()].flat();
        expect(
          judgeGeneval(
            seen.filter((object) => kept.includes(object)),
            asked,
            THRESHOLDS,
          ),
        ).toEqual(result);
      }),
      RUNS,
    );
  });
});

describe('selectObjects', () => {
  it('puts the best first and, of equal scores, the later one; nothing better is left out', () => {
    fc.assert(
      fc.property(picture, fc.integer({ min: 1, max: 4 }), (seen, maxObjects) => {
        const rank = (object: Detection): [number, number] => [Math.fround(object.score), seen.indexOf(object)];
        for (const [className, kept] of selectObjects(seen, 'colors', { ...THRESHOLDS, maxObjects })) {
          const expected = seen
            .filter((one) => one.className === className && Math.fround(one.score) > Math.fround(0.3))
            .sort((a, b) => rank(b)[0] - rank(a)[0] || rank(b)[1] - rank(a)[1]);
          expect(kept).toEqual(expected.slice(0, maxObjects));
        }
      }),
      RUNS,
    );
  });

  it('suppression leaves the best object and no pair that overlaps too much', () => {
    fc.assert(
      fc.property(picture, fc.constantFrom(0.1, 0.5, 0.9), (seen, maxOverlap) => {
        const all = selectObjects(seen, 'colors', THRESHOLDS);
        for (const [className, kept] of selectObjects(seen, 'colors', { ...THRESHOLDS, maxOverlap })) {
          expect(kept[0]).toEqual(all.get(className)?.[0]);
          const again = selectObjects([...kept].reverse(), 'colors', { ...THRESHOLDS, maxOverlap });
          expect(again.get(className)).toEqual(kept);
        }
      }),
      RUNS,
    );
  });
});

describe('relationsOf', () => {
  const OPPOSITE: Readonly<Record<Relation, Relation>> = {
    'left of': 'right of',
    'right of': 'left of',
    above: 'below',
    below: 'above',
  };

  it('is mirrored when the boxes change places, and never says both ways of one axis', () => {
    fc.assert(
      fc.property(box, box, (a, b) => {
        const relations = relationsOf(a, b);
        expect(relationsOf(b, a).sort()).toEqual(relations.map((relation) => OPPOSITE[relation]).sort());
        expect(relations.some((relation) => relations.includes(OPPOSITE[relation]))).toBe(false);
      }),
      RUNS,
    );
  });

  it('does not change when both boxes move', () => {
    fc.assert(
      fc.property(box, box, fc.nat(100), fc.nat(100), (a, b, x, y) => {
        const moved = ([left, top, right, bottom]: Detection['box']): Detection['box'] => [
          left + x,
          top + y,
          right + x,
          bottom + y,
        ];
        expect(relationsOf(moved(a), moved(b))).toEqual(relationsOf(a, b));
      }),
      RUNS,
    );
  });
});
