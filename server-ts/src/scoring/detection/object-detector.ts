import { StarError } from '../../core/errors.js';
import type { RgbImage } from '../image/rgb-image.js';

/** Soft mask of one object over the whole picture, at any resolution: float32 [height, width], 0..1. */
export interface ObjectMask {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Left, top, right, bottom in pixels; right and bottom exclusive. */
export type PixelBox = readonly [number, number, number, number];

/** One object that a detector reports, before GenEval's thresholds. Numbers may be non-finite: callers check. */
export interface RawDetection {
  readonly className: string;
  readonly score: number;
  /** In the picture that was given. */
  readonly box: PixelBox;
  /** Null for a detector without masks. */
  readonly mask: ObjectMask | null;
}

/** Finds objects. */
export interface ObjectDetector {
  /** @returns per picture, in order, its detections, unsorted */
  detect(images: readonly RgbImage[]): Promise<RawDetection[][]>;
  close(): Promise<void>;
}

/**
 * Box in the picture from a box in the detector's input, which the picture was stretched to.
 *
 * @param input size of the detector's input
 */
export function boxInPicture(
  [left, top, right, bottom]: PixelBox,
  input: { readonly width: number; readonly height: number },
  image: RgbImage,
): PixelBox {
  const [x, y] = [image.width / input.width, image.height / input.height];
  return [left * x, top * y, right * x, bottom * y];
}

/** @throws StarError TENSOR_INVALID for a class that the manifest does not name */
export function classNameAt(classes: readonly string[], index: number): string {
  const name = classes[index];
  if (name !== undefined) return name;
  throw new StarError(
    'TENSOR_INVALID',
    `the detector gave class ${index}; its manifest names ${classes.length} classes`,
  );
}
