import fc from 'fast-check';
import { distance } from 'fastest-levenshtein';
import { describe, expect, test } from 'vitest';
import { ocrReward } from './ocr-reward.js';
import { alignText } from './text-alignment.js';

/** Operation letters, for example `==x+`. */
function drawn(recognized: string, target: string): string {
  const letters = { match: '=', substitute: 'x', insert: '+', delete: '-' };
  return alignText(recognized, target)
    .map(({ operation }) => letters[operation])
    .join('');
}

const letters = fc.string({ unit: fc.constantFrom('a', 'B', ' ', '\u{1F680}', '\u0130'), maxLength: 12 });

describe('alignText', () => {
  test.each([
    ['STAR', 'star', '===='],
    ['STOR', 'STAR', '==x='],
    ['STR', 'STAR', '==-='],
    ['STTAR', 'STAR', '==+=='],
    ['MY STAR!', 'STAR', '++====+'],
    ['', 'AB', '--'],
    ['CAT', '\u{1F680}CAT', '-==='],
  ])('%j read for %j is %s', (recognized, target, expected) => {
    expect(drawn(recognized, target)).toBe(expected);
  });

  test('indices count code points of the texts as given, spaces included', () => {
    expect(alignText('\u{1F680} b', 'a b').at(-1)).toEqual({ operation: 'match', targetIndex: 2, recognizedIndex: 2 });
  });

  test('steps that are no match are the edit distance, unless the target is contained', () => {
    const plain = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(plain, plain, (recognized, target) => {
        const edits = alignText(recognized, target).filter(({ operation }) => operation !== 'match').length;
        const free = recognized.includes(target);
        expect(edits).toBe(free ? recognized.length - target.length : distance(recognized, target));
      }),
    );
  });

  test('every character that counts appears once, in order, and matches are equal', () => {
    fc.assert(
      fc.property(letters, letters, (recognized, target) => {
        const steps = alignText(recognized, target);
        const [read, wanted] = [Array.from(recognized), Array.from(target)];
        const seen = (key: 'targetIndex' | 'recognizedIndex') => [
          ...new Set(steps.map((step) => step[key]).filter((index) => index !== null)),
        ];
        const inked = (symbols: string[]) => symbols.flatMap((symbol, index) => (symbol === ' ' ? [] : [index]));
        expect(seen('targetIndex')).toEqual(inked(wanted));
        expect(seen('recognizedIndex')).toEqual(inked(read));
        for (const { operation, targetIndex, recognizedIndex } of steps) {
          if (operation !== 'match') continue;
          expect(read[recognizedIndex ?? -1]?.toLowerCase()).toBe(wanted[targetIndex ?? -1]?.toLowerCase());
        }
      }),
    );
  });
});

describe('ocrReward', () => {
  test('is in [0, 1], and 1 exactly when the target is contained', () => {
    const target = letters.filter((text) => text.trim() !== '');
    fc.assert(
      fc.property(letters, target, letters, (before, wanted, after) => {
        const reward = ocrReward(before + after, wanted);
        expect(reward).toBeGreaterThanOrEqual(0);
        expect(reward).toBeLessThanOrEqual(1);
        expect(ocrReward(before + wanted + after, wanted)).toBe(1);
        expect(ocrReward('', wanted)).toBe(0);
      }),
    );
  });

  test('an emoji is one character', () => {
    expect(ocrReward('A\u{1F681}', 'A\u{1F680}')).toBe(0.5);
    expect(ocrReward('AB', 'A\u{1F680}B')).toBe(1 - 1 / 3);
  });

  test('a target of spaces is refused', () => {
    expect(() => ocrReward('x', '  ')).toThrow('no characters other than spaces');
  });
});
