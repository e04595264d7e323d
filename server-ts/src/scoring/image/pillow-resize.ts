import { readFileSync } from 'node:fs';
import type { RgbImage } from './rgb-image.js';

/**
 * Pillow's `Image.resize` for 8-bit RGB, bit for bit (src/libImaging/Resample.c): whole-number weights, first along rows, then
 * along columns, with an 8-bit picture between. Pillow leaves a pass out where its side does not change; here that pass has
 * the weights 0 and 1, which is the same.
 *
 * The passes run in WebAssembly (resample.wat), whose vector instructions take a fifth of JavaScript's time.
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
  /** Times 2^PRECISION_BITS, rounded. */
  readonly weights: readonly number[];
}

/** The part of the standard that is used; it is in no type library without a browser. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** Exports of resample.wat, where the arguments are explained. */
interface Resampler {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  resample(
    source: number,
    target: number,
    taps: number,
    outputs: number,
    lines: number,
    tapStep: number,
    sourceLineStep: number,
    targetStep: number,
    targetLineStep: number,
  ): void;
}

const PRECISION_BITS = 22;
const PAGE_BYTES = 65_536;

const wasm = new WebAssembly.Module(readFileSync(new URL('./resample.wasm', import.meta.url)));
const { memory, resample } = new WebAssembly.Instance(wasm).exports as Resampler;

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
  const columns = tapsOf(image.width, width, filter, window.left, window.width);
  const rows = tapsOf(image.height, height, filter, window.top, window.height);
  const sourceLine = image.width * 3;
  const line = window.width * 3;
  const at = place([4 * sizeOf(columns), 4 * sizeOf(rows), image.data.length, image.height * line, rows.length * line]);
  const [columnTaps, rowTaps, source, narrow, target] = at as [number, number, number, number, number];
  const { buffer } = memory;
  new Int32Array(buffer, columnTaps).set(columns.flatMap(packed));
  new Int32Array(buffer, rowTaps).set(rows.flatMap(packed));
  new Uint8Array(buffer, source).set(image.data);
  resample(source, narrow, columnTaps, columns.length, image.height, 3, sourceLine, 3, line);
  resample(narrow, target, rowTaps, rows.length, window.width, line, 3, line, 3);
  return {
    width: window.width,
    height: window.height,
    data: new Uint8Array(buffer, target, rows.length * line).slice(),
  };
}

/** Finds room for areas of these sizes in bytes, one after the other, and one byte that is read after the last. */
function place(sizes: readonly number[]): number[] {
  let end = 0;
  const places = sizes.map((size) => {
    const start = end;
    end += size;
    return start;
  });
  const missing = end + 1 - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  return places;
}

function packed({ first, weights }: Taps): number[] {
  return [first, weights.length, ...weights];
}

function sizeOf(taps: readonly Taps[]): number {
  return taps.reduce((sum, { weights }) => sum + 2 + weights.length, 0);
}

/** Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`: the taps of `count` outputs from `start` on. */
function tapsOf(inputLength: number, outputLength: number, filter: PillowFilter, start: number, count: number): Taps[] {
  const scale = inputLength / outputLength;
  const stretch = Math.max(scale, 1);
  const { weight, support } = FILTERS[filter];
  return Array.from({ length: count }, (_, index) => {
    const centre = (start + index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support * stretch + 0.5), inputLength);
    const inverse = 1 / stretch;
    const exact = Array.from({ length: end - first }, (_, tap) => weight((tap + first - centre + 0.5) * inverse));
    const sum = exact.reduce((total, value) => total + value, 0);
    return { first, weights: exact.map((value) => fixedPoint(value / sum)) };
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
