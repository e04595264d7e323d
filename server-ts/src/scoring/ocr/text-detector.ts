import * as ort from 'onnxruntime-node';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { type RgbImage, resizeBilinear } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import { openFusedSession } from './fused-session.js';
import type { OcrManifest } from './ocr-manifest.js';
import { picturePlanes } from './picture-tensor.js';
import type { Quad } from './rotated-rectangle.js';
import { findTextBoxes, inReadingOrder } from './text-boxes.js';

/** Finds lines of text in a picture. */
export interface TextDetector {
  /** @returns boxes in pixels of the picture, corners inside it, in reading order */
  detect(image: RgbImage): Promise<Quad[]>;
  close(): Promise<void>;
}

/**
 * Opens the text detector of a bundle.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the graph cannot be loaded
 */
export async function openTextDetector({ manifest, locate }: ScorerBundle<OcrManifest>): Promise<TextDetector> {
  const session = await openFusedSession(locate(manifest.detector.graph));
  return {
    async detect(image) {
      const input = detectorTensor(image, manifest.detector);
      const outputs = await session.run({ [manifest.detector.input]: input });
      const [, , height = 0, width = 0] = input.dims;
      const { data } = takeOutput(outputs, session.outputNames[0] ?? '', 'float32', [1, 1, height, width]);
      const boxes = findTextBoxes({ width, height, data }, manifest.thresholds);
      return inReadingOrder(boxes.map((box) => ontoPicture(box, image, width, height)));
    },
    close: () => session.release(),
  };
}

/** Input of the text detector: float32 [1, 3, height, width] with sides that it can take. */
export function detectorTensor(image: RgbImage, detector: OcrManifest['detector']): ort.Tensor {
  const scale = Math.min(1, detector.maxSide / Math.max(image.width, image.height));
  const toStep = (length: number): number =>
    Math.max(Math.round((length * scale) / detector.sideStep), 1) * detector.sideStep;
  const resized = resizeBilinear(image, toStep(image.width), toStep(image.height));
  return new ort.Tensor('float32', picturePlanes(resized, detector), [1, 3, resized.height, resized.width]);
}

function ontoPicture(box: Quad, image: RgbImage, width: number, height: number): Quad {
  return box.map(([x, y]) => [
    Math.min(Math.max((x / width) * image.width, 0), image.width),
    Math.min(Math.max((y / height) * image.height, 0), image.height),
  ]) as unknown as Quad;
}
