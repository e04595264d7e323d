import type { Recipe } from '../config/recipe.js';
import type { BundleKind } from './bundle/manifest.js';

type ScorerName = Recipe['reward']['components'][number]['scorer'];

/** What a scorer needs and reports. */
export interface ScorerKind {
  /** Kind of bundle that it runs. */
  readonly bundleKind: BundleKind;
  /** Bundle for `bundle: null`, relative to the repository. */
  readonly shippedBundle: string;
  /** Names of the values that it reports. */
  readonly values: readonly string[];
  /** Pictures per graph run or batch. */
  readonly batchSize: number;
}

/** Kinds of scorers that a recipe can name. */
export const SCORER_KINDS: Readonly<Record<ScorerName, ScorerKind>> = {
  geneval: {
    bundleKind: 'detector',
    shippedBundle: 'scorers/tiny-world-detector',
    values: ['score', 'clamped', 'strict', 'correct'],
    batchSize: 16,
  },
  ocr: { bundleKind: 'ocr', shippedBundle: 'scorers/ppocr-v4', values: ['score', 'strict'], batchSize: 8 },
  image_text: {
    bundleKind: 'image_text',
    shippedBundle: 'scorers/tiny-world-image-text',
    values: ['score', 'cosine', 'logit'],
    batchSize: 16,
  },
};
