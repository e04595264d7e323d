import { distance } from 'fastest-levenshtein';

/** The known name that a misspelt one most likely means; null when none is near. */
export function nearestName(name: string, known: readonly string[]): string | null {
  const ranked = known.map((each) => ({ each, edits: distance(name.toLowerCase(), each.toLowerCase()) }));
  ranked.sort((a, b) => a.edits - b.edits);
  const [nearest] = ranked;
  return nearest !== undefined && nearest.edits <= Math.max(2, name.length / 2) ? nearest.each : null;
}
