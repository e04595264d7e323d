import { pairedDifference } from '../core/paired-difference.js';
import type { Comparison } from './report-types.js';

/** Values of one picture; null: missing. */
interface PairSide {
  /** Strict value: 1 right, 0 wrong. */
  readonly strict: number | null;
  readonly reward: number | null;
}

/** One prompt and noise seed before and after training. */
export interface EvaluationPair {
  readonly prompt: string;
  readonly tag: string;
  readonly before: PairSide;
  readonly after: PairSide;
}

/** Mean; null for no values. */
export function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Compares pairs; a pair with a missing value on either side is left out and counted. */
export function comparePairs(pairs: readonly EvaluationPair[]): Comparison {
  const complete = pairs.filter((pair) => pair.before.strict !== null && pair.after.strict !== null);
  const result = pairedDifference(
    pairs.map((pair) => pair.before.strict),
    pairs.map((pair) => pair.after.strict),
    pairs.map((pair) => pair.prompt),
  );
  const mean = (side: 'before' | 'after', value: keyof PairSide): number | null =>
    meanOf(complete.flatMap((pair) => pair[side][value] ?? []));
  return {
    count: result.pairCount,
    missing: result.missingCount,
    accuracyBefore: mean('before', 'strict'),
    accuracyAfter: mean('after', 'strict'),
    rewardBefore: mean('before', 'reward'),
    rewardAfter: mean('after', 'reward'),
    pairedDifference:
      result.difference === null || result.interval === null
        ? null
        : { mean: result.difference, low: result.interval[0], high: result.interval[1] },
  };
}
