import { StarError } from '../core/errors.js';
import { labColorClassifier } from './color-classifier.js';
import { createGenevalScorer } from './geneval-scorer.js';
import { openOcrScorer } from './ocr-scorer.js';
import { openOnnxDetector } from './onnx-detector.js';
import type { Scorer } from './scorer.js';
import type { DetectorManifest, OcrManifest, ScorerBundle } from './scorer-bundle.js';

/**
 * Builds the scorer of a bundle.
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph cannot be loaded
 */
export async function loadScorer(bundle: ScorerBundle): Promise<Scorer> {
  if (isOcr(bundle)) return openOcrScorer(bundle);
  if (isDetector(bundle)) {
    const detector = await openOnnxDetector(bundle);
    return createGenevalScorer(detector, labColorClassifier(bundle.manifest.colors), bundle.manifest.thresholds);
  }
  throw new StarError('SCORER_NOT_LOADABLE', `no scorer for bundles of kind ${bundle.manifest.kind}`);
}

function isOcr(bundle: ScorerBundle): bundle is ScorerBundle<OcrManifest> {
  return bundle.manifest.kind === 'ocr';
}

function isDetector(bundle: ScorerBundle): bundle is ScorerBundle<DetectorManifest> {
  return bundle.manifest.kind === 'detector';
}
