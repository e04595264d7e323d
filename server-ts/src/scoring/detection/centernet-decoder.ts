import type { RgbImage } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import { type DetectionDecoder, ofPicture } from './detection-decoder.js';
import type { DetectorManifest, OutputOf } from './detector-manifest.js';
import { boxInPicture, classNameAt, type RawDetection } from './object-detector.js';

const FIELDS = 6;

/** For a CenterNet that decodes its peaks itself: rows of left, top, right, bottom (input pixels), score, class. */
export function centernetDecoder(manifest: DetectorManifest, output: OutputOf<'centernet'>): DetectionDecoder {
  return {
    outputNames: [output.detections],
    decode(outputs, images) {
      const { data } = takeOutput(outputs, output.detections, 'float32', [images.length, -1, FIELDS]);
      return images.map((image, index) => objectsOf(ofPicture(data, index, images.length), image, manifest));
    },
  };
}

function objectsOf(rows: Float32Array, image: RgbImage, { classes, input }: DetectorManifest): RawDetection[] {
  const found: RawDetection[] = [];
  for (let at = 0; at < rows.length; at += FIELDS) {
    const [left = 0, top = 0, right = 0, bottom = 0, score = 0, classIndex = 0] = rows.subarray(at, at + FIELDS);
    // A place that is no peak keeps its row with score 0.
    if (score === 0) continue;
    const box = boxInPicture([left, top, right, bottom], input, image);
    found.push({ className: classNameAt(classes, classIndex), score, box, mask: null });
  }
  return found;
}
