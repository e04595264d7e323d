import { type OcrText, toOcrText } from './ocr-text.js';
import type { CharacterMatch } from './types.js';

/**
 * Says character by character how what was read differs from the target, as the OCR reward compares them (spaces and case do
 * not count). A target that is contained counts as found there; otherwise the alignment has as many steps that are no match
 * as the edit distance.
 *
 * @returns steps from left to right; indices are code points of the texts as given
 */
export function alignText(recognized: string, target: string): CharacterMatch[] {
  const [read, wanted] = [toOcrText(recognized), toOcrText(target)];
  const steps: Step[] = contained(read, wanted) ?? leastEdits(read.symbols, wanted.symbols);
  return steps.map(([operation, readIndex, wantedIndex]) => ({
    operation,
    targetIndex: operation === 'insert' ? null : (wanted.origins[wantedIndex] ?? null),
    recognizedIndex: operation === 'delete' ? null : (read.origins[readIndex] ?? null),
  }));
}

/** Operation with the symbols that it looks at. */
type Step = readonly [operation: CharacterMatch['operation'], readIndex: number, wantedIndex: number];

function contained({ symbols: read }: OcrText, { symbols: wanted }: OcrText): Step[] | null {
  const start = read.findIndex((_, at) => wanted.every((symbol, index) => read[at + index] === symbol));
  if (start < 0) return null;
  return read.map((_, index): Step => {
    const place = index - start;
    return place >= 0 && place < wanted.length ? ['match', index, place] : ['insert', index, 0];
  });
}

/** Wagner and Fischer (1974): the cheapest way back through the table of edit distances of all suffixes. */
function leastEdits(read: readonly string[], wanted: readonly string[]): Step[] {
  const width = wanted.length + 1;
  const cost = suffixDistances(read, wanted);
  const steps: Step[] = [];
  let [i, j] = [0, 0];
  while (i < read.length || j < wanted.length) {
    const here = cost[i * width + j] as number;
    const both = i < read.length && j < wanted.length;
    const same = both && read[i] === wanted[j];
    if (both && here === (cost[(i + 1) * width + j + 1] as number) + (same ? 0 : 1)) {
      steps.push([same ? 'match' : 'substitute', i++, j++]);
    } else if (i < read.length && here === (cost[(i + 1) * width + j] as number) + 1) {
      steps.push(['insert', i++, j]);
    } else {
      steps.push(['delete', i, j++]);
    }
  }
  return steps;
}

/** Edit distance of read[i..] and wanted[j..] at i * (wanted.length + 1) + j. */
function suffixDistances(read: readonly string[], wanted: readonly string[]): Int32Array {
  const [rows, width] = [read.length, wanted.length + 1];
  const cost = new Int32Array((rows + 1) * width);
  for (let i = rows; i >= 0; i--) {
    for (let j = wanted.length; j >= 0; j--) {
      if (i === rows || j === wanted.length) {
        cost[i * width + j] = rows - i + wanted.length - j;
        continue;
      }
      const diagonal = (cost[(i + 1) * width + j + 1] as number) + (read[i] === wanted[j] ? 0 : 1);
      const oneSided = Math.min(cost[(i + 1) * width + j] as number, cost[i * width + j + 1] as number) + 1;
      cost[i * width + j] = Math.min(diagonal, oneSided);
    }
  }
  return cost;
}
