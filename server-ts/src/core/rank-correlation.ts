/**
 * Rank correlations of two lists of the same length, with ties: what two rewards agree on, whatever their scales are. Null
 * where there is no order to compare: fewer than two entries, or all entries of a list are equal.
 */

/** Spearman's rho: Pearson's correlation of the ranks, ties get their mean rank. -1..1 */
export function spearmanCorrelation(a: readonly number[], b: readonly number[]): number | null {
  return pearson(meanRanks(a), meanRanks(b));
}

/** Kendall's tau-b: (concordant - discordant) pairs over the geometric mean of the pairs without a tie in a and in b. -1..1 */
export function kendallCorrelation(a: readonly number[], b: readonly number[]): number | null {
  let balance = 0;
  let untiedInA = 0;
  let untiedInB = 0;
  for (let i = 1; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const orderA = Math.sign((a[i] as number) - (a[j] as number));
      const orderB = Math.sign((b[i] as number) - (b[j] as number));
      balance += orderA * orderB;
      untiedInA += Math.abs(orderA);
      untiedInB += Math.abs(orderB);
    }
  }
  return untiedInA === 0 || untiedInB === 0 ? null : balance / Math.sqrt(untiedInA * untiedInB);
}

/** Ranks from 1; equal values share the mean of their places. */
function meanRanks(values: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2 + 1);
}

function pearson(a: readonly number[], b: readonly number[]): number | null {
  const deviationsA = deviations(a);
  const deviationsB = deviations(b);
  const scale = Math.sqrt(dot(deviationsA, deviationsA) * dot(deviationsB, deviationsB));
  return scale === 0 ? null : Math.max(-1, Math.min(1, dot(deviationsA, deviationsB) / scale));
}

function deviations(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] as number), 0);
}
