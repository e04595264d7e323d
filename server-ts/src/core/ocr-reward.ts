import { distance } from 'fastest-levenshtein';
import { StarError } from './errors.js';
import { toOcrText } from './ocr-text.js';

/**
 * OCR reward (rewards.md 2.1): spaces (U+0020) are removed and letters lowered on both sides; the distance is 0 when the target
 * is contained in what was read, else the edit distance, at most the target's length. Lengths are in code points.
 *
 * @param recognized all lines that were read, joined without a separator
 * @param target text that the prompt asks for
 * @returns 1 - distance / length of the target, in [0, 1]
 * @throws StarError PROMPT_INVALID when nothing is left of the target
 */
export function ocrReward(recognized: string, target: string): number {
  const { symbols: wanted } = toOcrText(target);
  const { symbols: read } = toOcrText(recognized);
  if (wanted.length === 0) {
    throw new StarError(
      'PROMPT_INVALID',
      `the OCR target ${JSON.stringify(target)} has no characters other than spaces`,
    );
  }
  if (read.join('').includes(wanted.join(''))) return 1;
  const edits = distance(...asSingleUnits(read, wanted));
  return 1 - Math.min(edits, wanted.length) / wanted.length;
}

/** Gives every code point a UTF-16 unit of its own, because the edit distance counts units. */
function asSingleUnits(a: readonly string[], b: readonly string[]): [string, string] {
  const units = new Map<string, string>();
  const translate = (symbols: readonly string[]): string =>
    symbols
      .map((symbol) => {
        const known = units.get(symbol) ?? String.fromCharCode(units.size);
        units.set(symbol, known);
        return known;
      })
      .join('');
  return [translate(a), translate(b)];
}
