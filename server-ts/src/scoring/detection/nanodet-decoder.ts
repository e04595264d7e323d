import { suppressOverlaps } from '../../core/box-relations.js';
import type { RgbImage } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import { type DetectionDecoder, lowestThreshold, ofPicture } from './detection-decoder.js';
import type { DetectorManifest, OutputOf } from './detector-manifest.js';
import { boxInPicture, classNameAt, type PixelBox, type RawDetection } from './object-detector.js';

type Output = OutputOf<'nanodet'>;

/** One level of the pyramid for one picture: places row by row. */
interface Level {
  readonly stride: number;
  /** Probabilities [places, classes]. */
  readonly scores: Float32Array;
  /** Logits [places, 4 * bins]: distances to left, top, right, bottom as distributions over 0..bins-1 strides. */
  readonly distances: Float32Array;
  readonly bins: number;
}

/**
 * For NanoDet (generalised focal loss head): every place of every level votes for a box by four distances, each the mean
 * of a distribution, times the stride. Overlapping votes within a class are suppressed before GenEval's rules see them.
 */
export function nanodetDecoder(manifest: DetectorManifest, output: Output): DetectionDecoder {
  return {
    outputNames: output.levels.flatMap(({ scores, distances }) => [scores, distances]),
    decode: (outputs, images) =>
      images.map((image, index) => {
        const levels = output.levels.map((spec): Level => {
          const places = Math.ceil(manifest.input.width / spec.stride) * Math.ceil(manifest.input.height / spec.stride);
          const shape = [images.length, places];
          const scores = takeOutput(outputs, spec.scores, 'float32', [...shape, manifest.classes.length]);
          const distances = takeOutput(outputs, spec.distances, 'float32', [...shape, -1]);
          return {
            stride: spec.stride,
            scores: ofPicture(scores.data, index, images.length),
            distances: ofPicture(distances.data, index, images.length),
            bins: (distances.dims[2] ?? 0) / 4,
          };
        });
        return suppressByClass(
          levels.flatMap((level) => votesOf(level, image, manifest)),
          output.maxOverlap,
        );
      }),
  };
}

function votesOf(level: Level, image: RgbImage, manifest: DetectorManifest): RawDetection[] {
  const floor = lowestThreshold(manifest);
  const votes: RawDetection[] = [];
  level.scores.forEach((score, at) => {
    if (score <= floor) return;
    const place = Math.floor(at / manifest.classes.length);
    const box = boxInPicture(boxAt(level, place, manifest.input), manifest.input, image);
    votes.push({ className: classNameAt(manifest.classes, at % manifest.classes.length), score, box, mask: null });
  });
  return votes;
}

function boxAt({ stride, distances, bins }: Level, place: number, input: DetectorManifest['input']): PixelBox {
  const columns = Math.ceil(input.width / stride);
  const x = ((place % columns) + 0.5) * stride;
  const y = (Math.floor(place / columns) + 0.5) * stride;
  const side = (index: number): number => {
    const start = (place * 4 + index) * bins;
    return meanOfSoftmax(distances.subarray(start, start + bins)) * stride;
  };
  return [
    Math.max(x - side(0), 0),
    Math.max(y - side(1), 0),
    Math.min(x + side(2), input.width),
    Math.min(y + side(3), input.height),
  ];
}

function meanOfSoftmax(logits: Float32Array): number {
  const highest = Math.max(...logits);
  let [sum, weighted] = [0, 0];
  logits.forEach((logit, index) => {
    const weight = Math.exp(logit - highest);
    sum += weight;
    weighted += weight * index;
  });
  return weighted / sum;
}

function suppressByClass(votes: readonly RawDetection[], maxOverlap: number): RawDetection[] {
  const byClass = Map.groupBy(votes, ({ className }) => className);
  return [...byClass.values()].flatMap((list) =>
    suppressOverlaps(
      list.sort((a, b) => b.score - a.score),
      maxOverlap,
    ),
  );
}
