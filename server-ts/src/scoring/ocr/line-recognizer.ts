import { readFile } from 'node:fs/promises';
import * as ort from 'onnxruntime-node';
import { StarError } from '../../core/errors.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import type { RgbImage } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import { type DecodedLine, decodeCtc } from './ctc-decoder.js';
import { openFusedSession } from './fused-session.js';
import { warpLine } from './line-warp.js';
import type { OcrManifest } from './ocr-manifest.js';
import { type Quad, sizeOf } from './rotated-rectangle.js';

/** Reads lines of text. */
export interface LineRecognizer {
  /** @returns one line per box, in order; 0 confidence where there is nothing to read */
  recognize(image: RgbImage, boxes: readonly Quad[]): Promise<DecodedLine[]>;
  close(): Promise<void>;
}

/** Lines that share a run. */
const MAX_BATCH = 6;
/** Widths that a line is padded to: few, so that the runtime plans its memory rarely. Longer lines are squeezed. */
const LINE_WIDTHS = [160, 240, 320, 400, 480, 640, 960, 1280, 1920, 2560];
/** A box this much higher than wide holds a line that runs downwards, as PaddleOCR takes it. */
const DOWNWARD_RATIO = 1.5;

/**
 * Opens the line recogniser of a bundle. The width of a line's input depends on that line alone, so what is read never
 * depends on what else is in a batch.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the graph cannot be loaded
 */
export async function openLineRecognizer(bundle: ScorerBundle<OcrManifest>): Promise<LineRecognizer> {
  const { recognizer, dictionary } = bundle.manifest;
  const session = await openFusedSession(bundle.locate(recognizer.graph));
  const alphabet = await readAlphabet(bundle.locate(dictionary), dictionary);
  return {
    async recognize(image, boxes) {
      const lines: DecodedLine[] = [];
      for (const { indexes, input } of lineBatches(image, boxes, recognizer)) {
        const outputs = await session.run({ [recognizer.input]: input });
        const decoded = decodeBatch(outputs, session.outputNames[0] ?? '', indexes.length, alphabet);
        indexes.forEach((index, place) => {
          lines[index] = decoded[place] as DecodedLine;
        });
      }
      return lines;
    },
    close: () => session.release(),
  };
}

/** Characters by class; the blank, class 0, is the empty string. */
async function readAlphabet(path: string, { space }: OcrManifest['dictionary']): Promise<string[]> {
  const lines = (await readFile(path, 'utf8')).replace(/\r?\n$/, '').split(/\r?\n/);
  return ['', ...lines, ...(space === 'last' ? [' '] : [])];
}

/** Lines of one width with their place among the boxes. */
export interface LineBatch {
  readonly indexes: readonly number[];
  /** float32 [n, 3, height, width], zeros on the right of each line. */
  readonly input: ort.Tensor;
}

/** Inputs of the recogniser for the boxes of a picture. */
export function* lineBatches(
  image: RgbImage,
  boxes: readonly Quad[],
  recognizer: OcrManifest['recognizer'],
): Generator<LineBatch> {
  const lines = boxes.map((box, index) => ({ index, ...lineShape(box, recognizer.height) }));
  for (const stride of LINE_WIDTHS) {
    const alike = lines.filter((line) => line.stride === stride);
    for (let start = 0; start < alike.length; start += MAX_BATCH) {
      const chosen = alike.slice(start, start + MAX_BATCH);
      const planeSize = 3 * recognizer.height * stride;
      const data = new Float32Array(chosen.length * planeSize);
      chosen.forEach(({ quad, width }, place) => {
        const planes = data.subarray(place * planeSize, (place + 1) * planeSize);
        warpLine(image, quad, { planes, stride, width, height: recognizer.height }, recognizer);
      });
      const input = new ort.Tensor('float32', data, [chosen.length, 3, recognizer.height, stride]);
      yield { indexes: chosen.map(({ index }) => index), input };
    }
  }
}

/** Corners in the direction of reading, width of the straight line and of its input. */
function lineShape(box: Quad, lineHeight: number): { quad: Quad; width: number; stride: number } {
  const { width, height } = sizeOf(box);
  const [topLeft, topRight, bottomRight, bottomLeft] = box;
  const downward = height >= width * DOWNWARD_RATIO;
  const ratio = downward ? height / width : width / height;
  const wanted = Math.ceil(lineHeight * ratio);
  const stride = LINE_WIDTHS.find((each) => each >= wanted) ?? Math.max(...LINE_WIDTHS);
  return {
    quad: downward ? [topRight, bottomRight, bottomLeft, topLeft] : box,
    width: Math.min(wanted, stride),
    stride,
  };
}

function decodeBatch(
  outputs: ort.InferenceSession.OnnxValueMapType,
  name: string,
  count: number,
  alphabet: readonly string[],
): DecodedLine[] {
  const { data, dims } = takeOutput(outputs, name, 'float32', [count, -1, -1]);
  if (dims[2] !== alphabet.length) {
    throw new StarError(
      'SCORER_NOT_LOADABLE',
      `the recogniser knows ${dims[2]} classes, its dictionary gives ${alphabet.length} (with the blank, and the space where it is a class)`,
    );
  }
  const size = data.length / count;
  return Array.from({ length: count }, (_, index) =>
    decodeCtc(data.subarray(index * size, (index + 1) * size), alphabet),
  );
}
