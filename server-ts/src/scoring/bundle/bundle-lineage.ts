import { canonicalHash } from '../../core/canonical-json.js';
import type { ScoreLineage } from '../../core/types.js';
import { type ScorerManifest, scoringFilesOf } from './manifest.js';
import type { DeclaredBundle } from './scorer-bundle.js';

/** What a bundle adds to the lineage of its scores. */
export type BundleLineage = Omit<ScoreLineage, 'runtime'>;

/** Fields that say what a bundle is, not how it treats a picture, and the thresholds, which lineage names by themselves. */
const NOT_PREPROCESSING: readonly string[] = [
  'name',
  'version',
  'licence',
  'source',
  'valueRange',
  'golden',
  'thresholds',
];

/** Lineage of the scores that a bundle gives. */
export function lineageOf({ manifest, bundleHash }: DeclaredBundle): BundleLineage {
  return {
    scorer: `${manifest.name} ${manifest.version}`,
    bundleHash,
    graphHashes: Object.fromEntries(scoringFilesOf(manifest).map(({ path, sha256 }) => [path, sha256])),
    thresholds: 'thresholds' in manifest ? manifest.thresholds : {},
    preprocessing: preprocessingId(manifest),
  };
}

/**
 * Names what is done to a picture before the graphs and to their outputs after them: equal for bundles that differ only in
 * weights or thresholds.
 */
function preprocessingId(manifest: ScorerManifest): string {
  const fields = Object.entries(manifest).filter(([name]) => !NOT_PREPROCESSING.includes(name));
  return canonicalHash(withoutFiles(Object.fromEntries(fields)));
}

function withoutFiles(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutFiles);
  if (value === null || typeof value !== 'object') return value;
  const isFile = 'path' in value && 'sha256' in value;
  const fields = Object.entries(value).filter(([name]) => !isFile || (name !== 'path' && name !== 'sha256'));
  return Object.fromEntries(fields.map(([name, inner]) => [name, withoutFiles(inner)]));
}
