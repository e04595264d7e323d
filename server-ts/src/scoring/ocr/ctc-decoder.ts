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
 * @returns not-a-number as confidence when a kept probability is not finite
 */
export function decodeCtc(probabilities: Float32Array, alphabet: readonly string[]): DecodedLine {
  let text = '';
  let sum = 0;
  let kept = 0;
  let previous = 0;
  for (let start = 0; start < probabilities.length; start += alphabet.length) {
    const { best, probability } = argmax(probabilities, start, start + alphabet.length);
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
  let probability = values[start] ?? Number.NaN;
  for (let index = start + 1; index < end && !Number.isNaN(probability); index++) {
    const value = values[index] ?? Number.NaN;
    if (value > probability || Number.isNaN(value)) {
      best = index;
      probability = value;
    }
  }
  return { best: best - start, probability };
}
