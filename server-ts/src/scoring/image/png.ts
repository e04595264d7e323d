import { crc32, inflateSync } from 'node:zlib';
import type { RgbImage } from './rgb-image.js';

/**
 * Decoder for the PNG files that workers write: 8 bits, RGB or RGBA, not interlaced, without chunks that change colours. It
 * takes less processor time than a general library, for small pictures a fraction of it.
 */

const SIGNATURE_BYTES = 8;
/** Length, type and checksum around the data of a chunk. */
const CHUNK_FRAME_BYTES = 12;
const IHDR_BYTES = 13;
const FIRST_CHUNK = SIGNATURE_BYTES + CHUNK_FRAME_BYTES + IHDR_BYTES;
const TYPE = { header: 0x49484452, data: 0x49444154, end: 0x49454e44 } as const;
/** pHYs, tEXt, zTXt, iTXt, tIME: say nothing of colours. */
const IGNORED: readonly number[] = [0x70485973, 0x74455874, 0x7a545874, 0x69545874, 0x74494d45];
const COLOR_TYPE = { rgb: 2, rgba: 6 } as const;

interface Header {
  readonly width: number;
  readonly height: number;
  /** 3 for RGB, 4 for RGBA. */
  readonly bytesPerPixel: number;
}

/**
 * Decodes a plain PNG file; transparency is dropped.
 *
 * @param png a file whose signature and size the caller has checked
 * @returns null for a file that is not plain, or that is damaged: a general decoder then decides what it is
 */
export function decodePlainPng(png: Uint8Array): RgbImage | null {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const header = readHeader(view);
  const packed = header && readData(png, view);
  if (header === null || packed === null) return null;
  const { width, height, bytesPerPixel } = header;
  const scanlines = inflate(packed, height * (width * bytesPerPixel + 1));
  const pixels = scanlines && unfilter(scanlines, width * bytesPerPixel, height, bytesPerPixel);
  if (pixels === null) return null;
  return { width, height, data: bytesPerPixel === 3 ? pixels : dropAlpha(pixels) };
}

function readHeader(view: DataView): Header | null {
  if (view.byteLength < FIRST_CHUNK || !isIntact(view, SIGNATURE_BYTES, IHDR_BYTES)) return null;
  const at = SIGNATURE_BYTES + 8;
  const [depth, colorType, compression, filter, interlace] = [8, 9, 10, 11, 12].map((i) => view.getUint8(at + i));
  if (view.getUint32(SIGNATURE_BYTES + 4) !== TYPE.header || view.getUint32(SIGNATURE_BYTES) !== IHDR_BYTES)
    return null;
  if (depth !== 8 || compression !== 0 || filter !== 0 || interlace !== 0) return null;
  if (colorType !== COLOR_TYPE.rgb && colorType !== COLOR_TYPE.rgba) return null;
  const [width, height] = [view.getUint32(at), view.getUint32(at + 4)];
  return { width, height, bytesPerPixel: colorType === COLOR_TYPE.rgb ? 3 : 4 };
}

/** The compressed pixels; null when a chunk that may change colours is there, or one is damaged. */
function readData(png: Uint8Array, view: DataView): Uint8Array | null {
  const parts: Uint8Array[] = [];
  for (let at = FIRST_CHUNK; at + CHUNK_FRAME_BYTES <= png.length; ) {
    const length = view.getUint32(at);
    const type = view.getUint32(at + 4);
    if (at + length + CHUNK_FRAME_BYTES > png.length || !isIntact(view, at, length)) return null;
    if (type === TYPE.end) return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    if (type === TYPE.data) parts.push(png.subarray(at + 8, at + 8 + length));
    else if (!IGNORED.includes(type)) return null;
    at += length + CHUNK_FRAME_BYTES;
  }
  return null;
}

/** Whether the checksum over type and data of the chunk at `at` is right. */
function isIntact(view: DataView, at: number, length: number): boolean {
  const covered = new Uint8Array(view.buffer, view.byteOffset + at + 4, length + 4);
  return crc32(covered) === view.getUint32(at + 8 + length);
}

function inflate(packed: Uint8Array, byteCount: number): Uint8Array | null {
  try {
    const bytes = inflateSync(packed, { maxOutputLength: byteCount, chunkSize: Math.max(byteCount, 64) });
    return bytes.length === byteCount ? bytes : null;
  } catch {
    return null;
  }
}

/**
 * Undoes the filters of a PNG (PNG specification, section 9): every line says how its bytes were predicted.
 *
 * @param scanlines [height, 1 + stride], a filter type before every line
 * @returns [height, stride]; null for an unknown filter
 */
function unfilter(scanlines: Uint8Array, stride: number, height: number, bytesPerPixel: number): Uint8Array | null {
  // One line of zeros above the first one, as the specification wants it.
  const lines = new Uint8Array((height + 1) * stride);
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1);
    const to = (y + 1) * stride;
    const undo = UNDO[scanlines[from] as number];
    if (undo === undefined) return null;
    undo(scanlines, from + 1, lines, to, stride, bytesPerPixel);
  }
  return lines.subarray(stride);
}

type Undo = (source: Uint8Array, from: number, lines: Uint8Array, to: number, stride: number, pixel: number) => void;

/** By filter type: none, sub, up, average, Paeth. Flat loops: this runs for every byte of every picture. */
const UNDO: readonly Undo[] = [
  (source, from, lines, to, stride) => {
    lines.set(source.subarray(from, from + stride), to);
  },
  (source, from, lines, to, stride, pixel) => {
    for (let x = 0; x < pixel; x++) lines[to + x] = source[from + x] as number;
    for (let x = pixel; x < stride; x++) {
      lines[to + x] = (source[from + x] as number) + (lines[to + x - pixel] as number);
    }
  },
  (source, from, lines, to, stride) => {
    for (let x = 0; x < stride; x++) {
      lines[to + x] = (source[from + x] as number) + (lines[to + x - stride] as number);
    }
  },
  (source, from, lines, to, stride, pixel) => {
    for (let x = 0; x < stride; x++) {
      const left = x < pixel ? 0 : (lines[to + x - pixel] as number);
      lines[to + x] = (source[from + x] as number) + ((left + (lines[to + x - stride] as number)) >> 1);
    }
  },
  (source, from, lines, to, stride, pixel) => {
    for (let x = 0; x < stride; x++) {
      const up = lines[to + x - stride] as number;
      const left = x < pixel ? 0 : (lines[to + x - pixel] as number);
      const corner = x < pixel ? 0 : (lines[to + x - stride - pixel] as number);
      lines[to + x] = (source[from + x] as number) + paeth(left, up, corner);
    }
  },
];

/** Whichever of the neighbours is nearest to left + up - corner. */
function paeth(left: number, up: number, corner: number): number {
  const fromLeft = Math.abs(up - corner);
  const fromUp = Math.abs(left - corner);
  const fromCorner = Math.abs(left + up - 2 * corner);
  if (fromLeft <= fromUp && fromLeft <= fromCorner) return left;
  return fromUp <= fromCorner ? up : corner;
}

function dropAlpha(rgba: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from] as number;
    rgb[to++] = rgba[from + 1] as number;
    rgb[to++] = rgba[from + 2] as number;
  }
  return rgb;
}
