import type * as ort from 'onnxruntime-node';
import type { RgbImage } from '../image/rgb-image.js';
import type { DetectorManifest } from './detector-manifest.js';
import type { RawDetection } from './object-detector.js';

/** Outputs of one run of a graph by name. */
export type GraphOutputs = ort.InferenceSession.OnnxValueMapType;

/** Reads what a detector's graph says. */
export interface DetectionDecoder {
  /** Outputs that the graph must have. */
  readonly outputNames: readonly string[];
  /**
   * @param images the pictures of the batch at their own size
   * @throws StarError TENSOR_INVALID for an output of the wrong type or shape
   */
  decode(outputs: GraphOutputs, images: readonly RgbImage[]): RawDetection[][];
}

/** Scores at or below this never count, so decoders need not look further at them. */
export function lowestThreshold({ thresholds }: DetectorManifest): number {
  return Math.fround(Math.min(thresholds.threshold, thresholds.countingThreshold));
}

/** The part of an output [n, ...] that belongs to one picture of n. */
export function ofPicture(data: Float32Array, index: number, count: number): Float32Array {
  const size = data.length / count;
  return data.subarray(index * size, (index + 1) * size);
}
