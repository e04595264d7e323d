import type { Recipe } from '../config/recipe.js';
import type { BundleKind, ScorerManifest } from './bundle/manifest.js';

type ScorerName = Recipe['reward']['components'][number]['scorer'];

/** What a scorer reports and how much it takes at once. */
export interface ScorerAbility {
  /** Names of the values that it reports. */
  readonly values: readonly string[];
  /** Pictures per graph run or batch. */
  readonly batchSize: number;
}

/** What a scorer needs and reports. */
export interface ScorerKind {
  /** Kind of bundle that it runs. */
  readonly bundleKind: BundleKind;
  /** Bundle for `bundle: null`, relative to the repository; null: none, the recipe must name one. */
  readonly shippedBundle: string | null;
  /** Null: its manifest says. */
  readonly ability: ScorerAbility | null;
}

/** Kinds of scorers that a recipe can name. */
export const SCORER_KINDS: Readonly<Record<ScorerName, ScorerKind>> = {
  geneval: {
    bundleKind: 'detector',
    shippedBundle: 'scorers/tiny-world-detector',
    ability: { values: ['score', 'clamped', 'strict', 'correct'], batchSize: 16 },
  },
  ocr: {
    bundleKind: 'ocr',
    shippedBundle: 'scorers/ppocr-v4',
    ability: { values: ['score', 'strict'], batchSize: 8 },
  },
  image_text: {
    bundleKind: 'image_text',
    shippedBundle: 'scorers/tiny-world-image-text',
    ability: { values: ['score', 'cosine', 'logit'], batchSize: 16 },
  },
  http: { bundleKind: 'http', shippedBundle: null, ability: null },
};

/** What a scorer can do with a bundle of its kind. */
export function abilityOf(scorer: ScorerName, manifest: ScorerManifest): ScorerAbility {
  if (manifest.kind === 'http') return { values: manifest.values, batchSize: manifest.maxBatch };
  const ability = SCORER_KINDS[scorer].ability ?? { values: [], batchSize: 1 };
  // An aesthetic head looks at the picture only.
  const isAesthetic = manifest.kind === 'image_text' && manifest.head.kind === 'aesthetic';
  return isAesthetic ? { ...ability, values: ['score'] } : ability;
}
