import type { RgbImage } from './rgb-image.js';

/**
 * Pillow's `Image.resize` for 8-bit RGB, bit for bit (src/libImaging/Resample.c): whole-number weights, first along rows, then
 * along columns, with an 8-bit picture between. Pillow leaves a pass out where its side does not change; here that pass has
 * the weights 0 and 1, which is the same.
 */

/** Pillow's `Resampling.BICUBIC` (a = -0.5) or `Resampling.BILINEAR`; both widen when they shrink. */
export type PillowFilter = 'bicubic' | 'bilinear';

/** Part of a picture, pixels. */
export interface PixelWindow {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Which inputs along one axis an output is made of. */
interface Taps {
  /** Place of the first input. */
  readonly first: number;
  /** Times 2^PRECISION_BITS. */
  readonly weights: Int32Array;
}

const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

const FILTERS: Readonly<Record<PillowFilter, { support: number; weight: (distance: number) => number }>> = {
  bicubic: { support: 2, weight: cubic },
  bilinear: { support: 1, weight: (distance) => Math.max(0, 1 - Math.abs(distance)) },
};

/**
 * @param width of the whole result, >= 1
 * @param height of the whole result, >= 1
 * @param window part of the result that is wanted, inside it; the rest is not computed
 */
export function resizeLikePillow(
  image: RgbImage,
  width: number,
  height: number,
  filter: PillowFilter,
  window: PixelWindow = { left: 0, top: 0, width, height },
): RgbImage {
  const columns = tapsOf(image.width, width, filter).slice(window.left, window.left + window.width);
  const rows = tapsOf(image.height, height, filter).slice(window.top, window.top + window.height);
  const narrow = resampleRows(image, columns, rows);
  return { width: window.width, height: window.height, data: resampleColumns(narrow, rows, window.width) };
}

// The two passes are flat loops over whole numbers: they run for every pixel of every picture that is scored.

/** @returns [image.height, columns, 3]; rows that the second pass does not read stay black */
function resampleRows({ width, height, data }: RgbImage, columns: readonly Taps[], rows: readonly Taps[]): Uint8Array {
  const result = new Uint8ClampedArray(height * columns.length * 3);
  const bottom = Math.max(...rows.map(({ first, weights }) => first + weights.length));
  const top = Math.min(...rows.map(({ first }) => first));
  let out = top * columns.length * 3;
  for (let y = top; y < bottom; y++) {
    for (const { first, weights } of columns) {
      let at = (y * width + first) * 3;
      let [red, green, blue] = [HALF, HALF, HALF];
      for (let tap = 0; tap < weights.length; tap++, at += 3) {
        const weight = weights[tap] as number;
        red = (red + Math.imul(weight, data[at] as number)) | 0;
        green = (green + Math.imul(weight, data[at + 1] as number)) | 0;
        blue = (blue + Math.imul(weight, data[at + 2] as number)) | 0;
      }
      result[out++] = red >> PRECISION_BITS;
      result[out++] = green >> PRECISION_BITS;
      result[out++] = blue >> PRECISION_BITS;
    }
  }
  return new Uint8Array(result.buffer);
}

/** @returns [rows, width, 3] */
function resampleColumns(data: Uint8Array, rows: readonly Taps[], width: number): Uint8Array {
  const stride = width * 3;
  const result = new Uint8ClampedArray(rows.length * stride);
  let out = 0;
  for (const { first, weights } of rows) {
    for (let x = 0; x < stride; x += 3) {
      let at = first * stride + x;
      let [red, green, blue] = [HALF, HALF, HALF];
      for (let tap = 0; tap < weights.length; tap++, at += stride) {
        const weight = weights[tap] as number;
        red = (red + Math.imul(weight, data[at] as number)) | 0;
        green = (green + Math.imul(weight, data[at + 1] as number)) | 0;
        blue = (blue + Math.imul(weight, data[at + 2] as number)) | 0;
      }
      result[out++] = red >> PRECISION_BITS;
      result[out++] = green >> PRECISION_BITS;
      result[out++] = blue >> PRECISION_BITS;
    }
  }
  return new Uint8Array(result.buffer);
}

/** Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`: the taps of every output. */
function tapsOf(inputLength: number, outputLength: number, filter: PillowFilter): Taps[] {
  const scale = inputLength / outputLength;
  const stretch = Math.max(scale, 1);
  const { weight, support } = FILTERS[filter];
  return Array.from({ length: outputLength }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support * stretch + 0.5), inputLength);
    const inverse = 1 / stretch;
    const exact = Array.from({ length: end - first }, (_, tap) => weight((tap + first - centre + 0.5) * inverse));
    const sum = exact.reduce((total, value) => total + value, 0);
    return { first, weights: Int32Array.from(exact, (value) => fixedPoint(value / sum)) };
  });
}

/** Rounds halves away from zero. */
function fixedPoint(weight: number): number {
  return Math.trunc(weight * 2 ** PRECISION_BITS + (weight < 0 ? -0.5 : 0.5));
}

/** Keys' cubic with a = -0.5, in Pillow's order of operations. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}
