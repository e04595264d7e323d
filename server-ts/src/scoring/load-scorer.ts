import { StarError } from '../core/errors.js';
import type { ScorerBundle } from './bundle/scorer-bundle.js';
import { clipColorClassifier } from './detection/clip-color-classifier.js';
import type { DetectorManifest } from './detection/detector-manifest.js';
import { createGenevalScorer } from './detection/geneval-scorer.js';
import { labColorClassifier } from './detection/lab-color-classifier.js';
import { openOnnxDetector } from './detection/onnx-detector.js';
import type { HttpManifest } from './http/http-manifest.js';
import { openHttpScorer } from './http/http-scorer.js';
import { openClipModel } from './image-text/clip-model.js';
import type { ImageTextManifest } from './image-text/image-text-manifest.js';
import { openImageTextScorer } from './image-text/image-text-scorer.js';
import type { OcrManifest } from './ocr/ocr-manifest.js';
import { openOcrScorer } from './ocr/ocr-scorer.js';
import type { Scorer } from './scorer.js';

/**
 * Builds the scorer of a bundle.
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph cannot be loaded or a server cannot be reached
 */
export async function loadScorer(bundle: ScorerBundle): Promise<Scorer> {
  if (isOcr(bundle)) return openOcrScorer(bundle);
  if (isImageText(bundle)) return openImageTextScorer(bundle);
  if (isHttp(bundle)) return openHttpScorer(bundle, process.env);
  if (isDetector(bundle)) return openGenevalScorer(bundle);
  throw new StarError('SCORER_NOT_LOADABLE', `no scorer for bundles of kind ${bundle.manifest.kind}`);
}

async function openGenevalScorer(bundle: ScorerBundle<DetectorManifest>): Promise<Scorer> {
  const { colors, thresholds } = bundle.manifest;
  const detector = await openOnnxDetector(bundle);
  const classifier =
    colors.backend === 'clip'
      ? clipColorClassifier(await openClipModel(colors, bundle.locate))
      : labColorClassifier(colors.prototypes);
  return createGenevalScorer(detector, classifier, thresholds);
}

function isOcr(bundle: ScorerBundle): bundle is ScorerBundle<OcrManifest> {
  return bundle.manifest.kind === 'ocr';
}

function isHttp(bundle: ScorerBundle): bundle is ScorerBundle<HttpManifest> {
  return bundle.manifest.kind === 'http';
}

function isImageText(bundle: ScorerBundle): bundle is ScorerBundle<ImageTextManifest> {
  return bundle.manifest.kind === 'image_text';
}

function isDetector(bundle: ScorerBundle): bundle is ScorerBundle<DetectorManifest> {
  return bundle.manifest.kind === 'detector';
}
