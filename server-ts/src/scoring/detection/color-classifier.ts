import type { ScoreFailure } from '../../core/types.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { ObjectMask, PixelBox } from './object-detector.js';

/** One object whose colour is asked for. */
export interface ObjectView {
  readonly image: RgbImage;
  readonly className: string;
  readonly box: PixelBox;
  /** Null: the whole box is the object. */
  readonly mask: ObjectMask | null;
}

/** Name of a colour, null when no pixel belongs to the object, or why it cannot be told. */
export type ObjectColor = string | null | ScoreFailure;

/** Tells the colours of objects. */
export interface ColorClassifier {
  /** Stated in evidence: `clip` as GenEval does, or `lab`. */
  readonly backend: string;
  /** @returns per object, in order, its colour */
  classify(objects: readonly ObjectView[]): Promise<ObjectColor[]>;
  close(): Promise<void>;
}

/** Mask value above which a pixel belongs to the object. */
const MASK_THRESHOLD = 0.5;

/** Reads the mask at a place given as share of width and height, 0 <= x, y < 1. */
export function isObject(mask: ObjectMask, x: number, y: number): boolean {
  const index = Math.floor(y * mask.height) * mask.width + Math.floor(x * mask.width);
  return (mask.data[index] ?? 0) > MASK_THRESHOLD;
}
