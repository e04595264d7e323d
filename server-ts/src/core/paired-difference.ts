import { StarError } from './errors.js';

/** Difference of two paired series with its uncertainty. */
export interface PairedDifference {
  /** Pairs of which both values are there. */
  readonly pairCount: number;
  /** Pairs left out because a value is missing. */
  readonly missingCount: number;
  /** Mean of after - before; null: no pair. */
  readonly difference: number | null;
  /** The larger of the plain and the prompt-clustered standard error; null: fewer than 2 pairs or clusters. */
  readonly standardError: number | null;
  /** 95% interval, difference +- 1.96 standard errors (normal approximation); null as above. */
  readonly interval: readonly [number, number] | null;
}

/** 97.5% quantile of the normal distribution. */
const QUANTILE = 1.959963984540054;

/**
 * Mean paired difference with a 95% interval. Pictures of one prompt resemble each other, so where prompts repeat the standard
 * error is also computed with clusters of equal prompts, and the larger one counts.
 *
 * @param before values at the same prompt and noise; null: missing
 * @param after in the same order
 * @param prompts cluster of every pair; left out: pairs are independent
 * @throws StarError ARGUMENT_INVALID for different lengths
 */
export function pairedDifference(
  before: readonly (number | null)[],
  after: readonly (number | null)[],
  prompts?: readonly string[],
): PairedDifference {
  if (before.length !== after.length || (prompts !== undefined && prompts.length !== before.length)) {
    const lengths = [before.length, after.length, ...(prompts === undefined ? [] : [prompts.length])].join(', ');
    throw new StarError('ARGUMENT_INVALID', `paired series need equal lengths, received ${lengths}`);
  }
  const pairs = before.flatMap((value, index) => {
    const later = after[index] ?? null;
    return value === null || later === null
      ? []
      : [{ difference: later - value, prompt: prompts?.[index] ?? `${index}` }];
  });
  const counts = { pairCount: pairs.length, missingCount: before.length - pairs.length };
  if (pairs.length === 0) return { ...counts, difference: null, standardError: null, interval: null };
  const difference = pairs.reduce((sum, pair) => sum + pair.difference, 0) / pairs.length;
  const standardError = largerError(pairs, difference);
  if (standardError === null) return { ...counts, difference, standardError, interval: null };
  const margin = QUANTILE * standardError;
  return { ...counts, difference, standardError, interval: [difference - margin, difference + margin] };
}

type Pair = { readonly difference: number; readonly prompt: string };

function largerError(pairs: readonly Pair[], mean: number): number | null {
  const plain = pairs.map((pair) => pair.difference - mean);
  const clusters = new Map<string, number>();
  for (const pair of pairs) clusters.set(pair.prompt, (clusters.get(pair.prompt) ?? 0) + pair.difference - mean);
  if (clusters.size < 2) return null;
  return Math.max(errorOfSums(plain, pairs.length), errorOfSums([...clusters.values()], pairs.length));
}

/** Standard error of a mean of `count` values from the residual sums of independent clusters. */
function errorOfSums(sums: readonly number[], count: number): number {
  const squares = sums.reduce((total, value) => total + value * value, 0);
  return Math.sqrt((squares * sums.length) / (sums.length - 1)) / count;
}
