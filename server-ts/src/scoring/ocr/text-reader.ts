import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { DecodedLine } from './ctc-decoder.js';
import { openLineRecognizer } from './line-recognizer.js';
import type { OcrManifest } from './ocr-manifest.js';
import type { Quad } from './rotated-rectangle.js';
import { openTextDetector } from './text-detector.js';

/** A line of text in a picture. */
export interface ReadLine extends DecodedLine {
  /** Pixels of the picture. */
  readonly polygon: Quad;
}

/** Reads the text of a picture. */
export interface TextReader {
  /** @returns lines in reading order; lines under the line threshold are left out, non-finite ones are not */
  read(image: RgbImage): Promise<ReadLine[]>;
  close(): Promise<void>;
}

/**
 * Opens the PP-OCR detector and recogniser of a bundle. Channel order is RGB. Pictures run one by one, so a result never
 * depends on what else is in a batch.
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph cannot be loaded
 */
export async function openTextReader(bundle: ScorerBundle<OcrManifest>): Promise<TextReader> {
  const detector = await openTextDetector(bundle);
  const recognizer = await openLineRecognizer(bundle);
  const threshold = bundle.manifest.thresholds.line;
  return {
    async read(image) {
      const boxes = await detector.detect(image);
      const lines = await recognizer.recognize(image, boxes);
      return lines
        .map((line, index) => ({ ...line, polygon: boxes[index] as Quad }))
        .filter((line) => Number.isNaN(line.confidence) || (line.text !== '' && line.confidence >= threshold));
    },
    close: async () => {
      await detector.close();
      await recognizer.close();
    },
  };
}
