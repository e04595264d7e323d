import { resizePlane } from '../image/resize-plane.js';
import type { RgbImage } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import { type DetectionDecoder, lowestThreshold, ofPicture } from './detection-decoder.js';
import type { DetectorManifest, OutputOf } from './detector-manifest.js';
import { classNameAt, type ObjectMask, type PixelBox, type RawDetection } from './object-detector.js';

/** What the graph says of one picture. */
interface Queries {
  readonly count: number;
  /** Logits [queries, classes + 1]; the last class is "no object". */
  readonly classLogits: Float32Array;
  /** Logits [queries, height, width]. */
  readonly maskLogits: Float32Array;
  readonly width: number;
  readonly height: number;
}

/** A query read as one class. */
interface Candidate {
  readonly query: number;
  readonly classIndex: number;
  readonly probability: number;
}

/**
 * For Mask2Former (rewards.md 1.1): the best (query, class) pairs of a picture, scored by class probability times mean mask
 * probability over the pixels with logit > 0; the box is the tight box of those pixels. No suppression; one query may give
 * several classes. Pairs whose class probability alone is too low to count are left out.
 */
export function mask2formerDecoder(manifest: DetectorManifest, output: OutputOf<'mask2former'>): DetectionDecoder {
  return {
    outputNames: [output.classLogits, output.maskLogits],
    decode(outputs, images) {
      const shape = [images.length, -1, manifest.classes.length + 1];
      const classes = takeOutput(outputs, output.classLogits, 'float32', shape);
      const count = classes.dims[1] ?? 0;
      const masks = takeOutput(outputs, output.maskLogits, 'float32', [images.length, count, -1, -1]);
      const [height = 0, width = 0] = masks.dims.slice(2);
      return images.map((image, index) => {
        const classLogits = ofPicture(classes.data, index, images.length);
        const maskLogits = ofPicture(masks.data, index, images.length);
        return objectsOf({ count, classLogits, maskLogits, width, height }, image, manifest, output.candidates);
      });
    },
  };
}

function objectsOf(
  queries: Queries,
  image: RgbImage,
  manifest: DetectorManifest,
  candidateCount: number,
): RawDetection[] {
  const floor = lowestThreshold(manifest);
  const masks = new Map<number, MaskReading>();
  return bestCandidates(queries, manifest.classes.length, candidateCount)
    .filter(({ probability }) => !(probability <= floor))
    .map(({ query, classIndex, probability }) => {
      const reading = masks.get(query) ?? readMask(queries, query, manifest.input, image);
      masks.set(query, reading);
      const className = classNameAt(manifest.classes, classIndex);
      return { className, score: probability * reading.certainty, box: reading.box, mask: reading.mask };
    });
}

/** Of equal probabilities the earlier pair is first. */
function bestCandidates({ count, classLogits }: Queries, classCount: number, candidateCount: number): Candidate[] {
  const all: Candidate[] = [];
  for (let query = 0; query < count; query++) {
    const start = query * (classCount + 1);
    const probabilities = softmax(classLogits.subarray(start, start + classCount + 1));
    for (let classIndex = 0; classIndex < classCount; classIndex++) {
      all.push({ query, classIndex, probability: probabilities[classIndex] ?? Number.NaN });
    }
  }
  // A number that is none comes first, so that it is seen and reported.
  const rank = ({ probability }: Candidate): number => (Number.isNaN(probability) ? Number.MAX_VALUE : probability);
  return all.sort((a, b) => rank(b) - rank(a)).slice(0, candidateCount);
}

function softmax(logits: Float32Array): Float64Array {
  const highest = Math.max(...logits);
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** One query's mask at the size of the picture. */
interface MaskReading {
  readonly mask: ObjectMask;
  /** Mean probability over the mask, 0 for an empty one. */
  readonly certainty: number;
  readonly box: PixelBox;
}

/** Logits go to the size of the input first and from there to the picture's, as in the original. */
function readMask(queries: Queries, query: number, input: DetectorManifest['input'], image: RgbImage): MaskReading {
  const { width, height } = queries;
  const size = width * height;
  const plane = { width, height, data: queries.maskLogits.subarray(query * size, (query + 1) * size) };
  const logits = resizePlane(resizePlane(plane, input.width, input.height), image.width, image.height);
  const mask = { ...logits, data: logits.data.map((logit) => 1 / (1 + Math.exp(-logit))) };
  return { mask, ...measure(logits.data, mask.data, image.width) };
}

function measure(logits: Float32Array, probabilities: Float32Array, width: number): Omit<MaskReading, 'mask'> {
  let [left, top, right, bottom, sum, area] = [width, Number.MAX_SAFE_INTEGER, 0, 0, 0, 0];
  logits.forEach((logit, index) => {
    if (logit <= 0) return;
    const [x, y] = [index % width, Math.floor(index / width)];
    left = Math.min(left, x);
    right = Math.max(right, x + 1);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y + 1);
    sum += probabilities[index] ?? 0;
    area += 1;
  });
  if (area === 0) return { certainty: 0, box: [0, 0, 0, 0] };
  return { certainty: sum / (area + 1e-6), box: [left, top, right, bottom] };
}
