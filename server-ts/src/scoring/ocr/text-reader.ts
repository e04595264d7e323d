import { readFile } from 'node:fs/promises';
import * as ort from 'onnxruntime-node';
import { StarError } from '../../core/errors.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { cropImage, type RgbImage, resizeBilinear } from '../image/rgb-image.js';
import { openSession, takeOutput } from '../onnx-session.js';
import { type DecodedLine, decodeCtc } from './ctc-decoder.js';
import type { OcrManifest } from './ocr-manifest.js';
import { findTextRegions, type PixelRegion } from './text-regions.js';

/** A line of text in a picture. */
export interface ReadLine extends DecodedLine {
  /** Pixels of the picture. */
  readonly box: PixelRegion;
}

/** Reads the text of a picture. */
export interface TextReader {
  /** @returns lines in reading order; lines under the line threshold are left out, non-finite ones are not */
  read(image: RgbImage): Promise<ReadLine[]>;
  close(): Promise<void>;
}

/** Longest side that the detector gets; sides are multiples of DETECTOR_STEP. */
const DETECTOR_MAX_SIDE = 960;
const DETECTOR_STEP = 32;
const DETECTOR_MEAN = [0.485, 0.456, 0.406];
const DETECTOR_STD = [0.229, 0.224, 0.225];
const LINE_HEIGHT = 48;
/** Widths that a line is padded to: few, so that the runtime plans its memory rarely. Longer lines are squeezed. */
const LINE_WIDTHS = [320, 640, 1280, 2560];
/** A region this much higher than wide is a line that runs upwards. */
const UPRIGHT_RATIO = 1.5;

/**
 * Opens the PP-OCR detector and recogniser of a bundle. Channel order is RGB. Pictures and lines run one by one, so a
 * result never depends on what else is in a batch.
 *
 * @throws StarError SCORER_NOT_LOADABLE when a graph cannot be loaded
 */
export async function openTextReader(bundle: ScorerBundle<OcrManifest>): Promise<TextReader> {
  const { manifest } = bundle;
  const detector = await openSession(bundle.locate(manifest.detector));
  const recognizer = await openSession(bundle.locate(manifest.recognizer));
  const alphabet = await readAlphabet(bundle.locate(manifest.dictionary));
  return {
    async read(image) {
      const lines: ReadLine[] = [];
      for (const box of await detectRegions(detector, image, manifest)) {
        const line = await recognize(recognizer, cropImage(image, box), alphabet);
        if (!(line.confidence < manifest.thresholds.line)) lines.push({ ...line, box });
      }
      return lines;
    },
    close: async () => {
      await detector.release();
      await recognizer.release();
    },
  };
}

/** Blank, one character a line, space. */
async function readAlphabet(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8');
  return ['', ...text.replace(/\r?\n$/, '').split(/\r?\n/), ' '];
}

async function detectRegions(
  session: ort.InferenceSession,
  image: RgbImage,
  manifest: OcrManifest,
): Promise<PixelRegion[]> {
  const scale = Math.min(1, DETECTOR_MAX_SIDE / Math.max(image.width, image.height));
  const [width, height] = [toStep(image.width * scale), toStep(image.height * scale)];
  const input = detectorTensor(resizeBilinear(image, width, height));
  const outputs = await session.run({ x: input });
  const name = session.outputNames[0] ?? '';
  const { data } = takeOutput(outputs, name, 'float32', [1, 1, height, width]);
  const [scaleX, scaleY] = [image.width / width, image.height / height];
  return findTextRegions({ width, height, data }, manifest.thresholds).map(([left, top, right, bottom]) => [
    Math.floor(left * scaleX),
    Math.floor(top * scaleY),
    Math.min(Math.ceil(right * scaleX), image.width),
    Math.min(Math.ceil(bottom * scaleY), image.height),
  ]);
}

function toStep(length: number): number {
  return Math.max(Math.round(length / DETECTOR_STEP) * DETECTOR_STEP, DETECTOR_STEP);
}

/** Input of the text detector: float32 [1, 3, height, width], normalised with ImageNet's mean and deviation. */
export function detectorTensor(image: RgbImage): ort.Tensor {
  const size = image.width * image.height;
  const data = new Float32Array(3 * size);
  for (let channel = 0; channel < 3; channel++) {
    const [mean = 0, std = 1] = [DETECTOR_MEAN[channel], DETECTOR_STD[channel]];
    for (let index = 0; index < size; index++) {
      data[channel * size + index] = ((image.data[index * 3 + channel] ?? 0) / 255 - mean) / std;
    }
  }
  return new ort.Tensor('float32', data, [1, 3, image.height, image.width]);
}

async function recognize(
  session: ort.InferenceSession,
  crop: RgbImage,
  alphabet: readonly string[],
): Promise<DecodedLine> {
  const upright = crop.height >= crop.width * UPRIGHT_RATIO;
  const outputs = await session.run({ x: lineTensor(upright ? rotateLeft(crop) : crop) });
  const output = takeOutput(outputs, session.outputNames[0] ?? '', 'float32', [1, -1, -1]);
  if (output.dims[2] !== alphabet.length) {
    throw new StarError(
      'SCORER_NOT_LOADABLE',
      `the recogniser knows ${output.dims[2]} classes, its dictionary gives ${alphabet.length} (blank and space included)`,
    );
  }
  return decodeCtc(output.data, alphabet);
}

/** Input of the recogniser: float32 [1, 3, 48, width], (x/255 - 0.5)/0.5, zeros on the right. */
export function lineTensor(crop: RgbImage): ort.Tensor {
  const wanted = Math.ceil((LINE_HEIGHT * crop.width) / crop.height);
  const padded = LINE_WIDTHS.find((width) => width >= wanted) ?? Math.max(...LINE_WIDTHS);
  const line = resizeBilinear(crop, Math.min(wanted, padded), LINE_HEIGHT);
  const data = new Float32Array(3 * LINE_HEIGHT * padded);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < LINE_HEIGHT; y++) {
      for (let x = 0; x < line.width; x++) {
        const value = line.data[(y * line.width + x) * 3 + channel] ?? 0;
        data[(channel * LINE_HEIGHT + y) * padded + x] = value / 127.5 - 1;
      }
    }
  }
  return new ort.Tensor('float32', data, [1, 3, LINE_HEIGHT, padded]);
}

/** Turns a picture by 90 degrees against the clock. */
function rotateLeft(image: RgbImage): RgbImage {
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      const from = (y * image.width + x) * 3;
      const to = ((image.width - 1 - x) * image.height + y) * 3;
      data.set(image.data.subarray(from, from + 3), to);
    }
  }
  return { width: image.height, height: image.width, data };
}
