import sharp from 'sharp';
import { StarError } from '../../core/errors.js';
import { decodePlainPng } from './png.js';

/** Longest side of a picture that is decoded, in pixels. */
export const MAX_IMAGE_SIDE = 4096;
/** Largest PNG file that is decoded. */
export const MAX_IMAGE_BYTES = 32 * 1024 * 1024;

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Signature, chunk length and name, width, height. */
const PNG_HEADER_BYTES = 24;

/** Decoded picture: uint8 [height, width, 3], red, green, blue. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

// One scorer process uses one core; decoded files never repeat.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Decodes a PNG file. Transparency is dropped, grey and palette pictures become RGB.
 *
 * @throws StarError IMAGE_INVALID when it is not a readable PNG or exceeds MAX_IMAGE_SIDE or MAX_IMAGE_BYTES
 */
export async function decodePng(png: Uint8Array): Promise<RgbImage> {
  if (png.length > MAX_IMAGE_BYTES) {
    throw new StarError('IMAGE_INVALID', `the picture has ${png.length} bytes; at most ${MAX_IMAGE_BYTES} are allowed`);
  }
  try {
    return await decodeChecked(png);
  } catch (error) {
    if (error instanceof StarError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new StarError('IMAGE_INVALID', `the picture (${png.length} bytes) cannot be decoded: ${why}`, {}, error);
  }
}

async function decodeChecked(png: Uint8Array): Promise<RgbImage> {
  const { width, height } = readPngSize(png);
  if (Math.max(width, height) > MAX_IMAGE_SIDE) {
    throw new StarError(
      'IMAGE_INVALID',
      `the picture is ${width}x${height}; sides up to ${MAX_IMAGE_SIDE} are allowed`,
    );
  }
  const plain = decodePlainPng(png);
  if (plain !== null) return plain;
  const source = sharp(png, { limitInputPixels: MAX_IMAGE_SIDE * MAX_IMAGE_SIDE });
  const data = await source.removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer();
  if (data.length !== width * height * 3) {
    throw new StarError('IMAGE_INVALID', `expected ${width * height * 3} RGB bytes, the decoder gave ${data.length}`);
  }
  return { width, height, data };
}

/** Reads the size from the header, before anything is decoded. */
function readPngSize(png: Uint8Array): { width: number; height: number } {
  if (png.length < PNG_HEADER_BYTES || PNG_SIGNATURE.some((byte, index) => png[index] !== byte)) {
    throw new StarError('IMAGE_INVALID', `expected a PNG file, received ${png.length} bytes without a PNG header`);
  }
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** How the outputs of one axis mix two inputs each. */
interface Taps {
  readonly first: Int32Array;
  readonly second: Int32Array;
  /** Share of the second one, 0..1. */
  readonly share: Float64Array;
}

/**
 * Bilinear resampling with half-pixel centres and without smoothing, as detectors expect it (OpenCV's INTER_LINEAR).
 *
 * @param width of the result, >= 1
 * @param height of the result, >= 1
 * @returns rounded to whole bytes; the image itself when the size does not change
 */
export function resizeBilinear(image: RgbImage, width: number, height: number): RgbImage {
  if (image.width === width && image.height === height) return image;
  // Flat arrays and offsets: this runs for every pixel of every line of text.
  const columns = tapsOf(image.width, width, 3);
  const rows = tapsOf(image.height, height, image.width * 3);
  const result = new Uint8Array(width * height * 3);
  let out = 0;
  for (let y = 0; y < height; y++) {
    const [top = 0, bottom = 0, down = 0] = [rows.first[y], rows.second[y], rows.share[y]];
    for (let x = 0; x < width; x++) {
      const [left = 0, right = 0, across = 0] = [columns.first[x], columns.second[x], columns.share[x]];
      for (let channel = 0; channel < 3; channel++) {
        const upper = mix(image.data, top + left + channel, top + right + channel, across);
        const lower = mix(image.data, bottom + left + channel, bottom + right + channel, across);
        result[out++] = Math.round(upper + (lower - upper) * down);
      }
    }
  }
  return { width, height, data: result };
}

function mix(data: Uint8Array, first: number, second: number, share: number): number {
  const value = data[first] ?? 0;
  return value + ((data[second] ?? 0) - value) * share;
}

/** @param stride distance of two inputs in the data */
function tapsOf(inputLength: number, outputLength: number, stride: number): Taps {
  const taps = {
    first: new Int32Array(outputLength),
    second: new Int32Array(outputLength),
    share: new Float64Array(outputLength),
  };
  for (let index = 0; index < outputLength; index++) {
    const centre = ((index + 0.5) * inputLength) / outputLength - 0.5;
    const position = Math.min(Math.max(centre, 0), inputLength - 1);
    const first = Math.floor(position);
    taps.first[index] = first * stride;
    taps.second[index] = Math.min(first + 1, inputLength - 1) * stride;
    taps.share[index] = position - first;
  }
  return taps;
}

/**
 * Cuts a rectangle out. Edges are whole pixels inside the image, right and bottom exclusive.
 */
export function cropImage(image: RgbImage, box: readonly [number, number, number, number]): RgbImage {
  const [left, top, right, bottom] = box;
  const width = right - left;
  const data = new Uint8Array(width * (bottom - top) * 3);
  for (let y = top; y < bottom; y++) {
    const start = (y * image.width + left) * 3;
    data.set(image.data.subarray(start, start + width * 3), (y - top) * width * 3);
  }
  return { width, height: bottom - top, data };
}
