import { canonicalHash, canonicalJson } from '../core/canonical-json.js';
import type { Score, ScoreLineage } from '../core/types.js';

/** Scores of a picture by component. */
export type Scores = Readonly<Record<string, Score>>;

/** A score with the hash of its lineage in place of the lineage, which is the same for thousands of scores. */
type PackedScore = Score extends infer S ? (S extends { lineage: ScoreLineage } ? PackedOf<S> : S) : never;
type PackedOf<S> = Omit<S, 'lineage'> & { readonly lineage: string };

/** Scores as they are stored. */
export interface PackedScores {
  readonly json: string;
  /** JSON of every lineage that they name, by hash. */
  readonly lineages: ReadonlyMap<string, string>;
}

/** Takes the lineages out of scores. */
export function packScores(scores: Scores): PackedScores {
  const lineages = new Map<string, string>();
  const packed = mapScores(scores, (score): PackedScore => {
    if (score.kind === 'failed') return score;
    const hash = canonicalHash(score.lineage);
    lineages.set(hash, canonicalJson(score.lineage));
    return { ...score, lineage: hash };
  });
  return { json: JSON.stringify(packed), lineages };
}

/** Puts the lineages back. @param lineages holds every one that the scores name */
export function unpackScores(json: string, lineages: ReadonlyMap<string, ScoreLineage>): Scores {
  return mapScores(JSON.parse(json) as Record<string, PackedScore>, (score): Score => {
    if (score.kind === 'failed') return score;
    return { ...score, lineage: lineages.get(score.lineage) as ScoreLineage };
  });
}

function mapScores<From, To>(scores: Readonly<Record<string, From>>, change: (score: From) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(scores).map(([name, score]) => [name, change(score)]));
}
