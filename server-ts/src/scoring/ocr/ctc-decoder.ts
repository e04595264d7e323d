/** Text of one line with the mean probability of its characters, 0..1; 0 for no characters. */
export interface DecodedLine {
  readonly text: string;
  readonly confidence: number;
}

/**
 * Greedy CTC: the best class of every time step, repeats and blanks dropped.
 *
 * @param probabilities float32 [T, classes], rows sum to 1
 * @param alphabet one entry per class; class 0 is the blank
 * @returns not-a-number as confidence, and the text before, when a probability is not a number
 */
export function decodeCtc(probabilities: Float32Array, alphabet: readonly string[]): DecodedLine {
  let text = '';
  let sum = 0;
  let kept = 0;
  let previous = 0;
  for (let start = 0; start < probabilities.length; start += alphabet.length) {
    const { best, probability } = argmax(probabilities, start, start + alphabet.length);
    if (Number.isNaN(probability)) return { text, confidence: probability };
    if (best !== 0 && best !== previous) {
      text += alphabet[best] ?? '';
      sum += probability;
      kept += 1;
    }
    previous = best;
  }
  return { text, confidence: kept === 0 ? 0 : sum / kept };
}

/** First maximum; a value that is not a number wins, so that it cannot pass unseen. */
function argmax(values: Float32Array, start: number, end: number): { best: number; probability: number } {
  let best = start;
  let probability = values[start] as number;
  for (let index = start + 1; index < end; index++) {
    const value = values[index] as number;
    // Also true for a value that is not a number, and for every value after it.
    if (value <= probability) continue;
    if (Number.isNaN(probability)) break;
    best = index;
    probability = value;
  }
  return { best: best - start, probability };
}
