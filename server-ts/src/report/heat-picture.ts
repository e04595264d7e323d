import { crc32, deflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Above 1: amber; below 1: dark blue. */
const MORE = [255, 149, 0] as const;
const LESS = [8, 20, 46] as const;
const MAX_ALPHA = 200;

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** RGBA picture as a PNG file. `pixels`: rows x columns x 4 bytes. */
export function encodePng(pixels: Uint8Array, rows: number, columns: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(columns, 0);
  header.writeUInt32BE(rows, 4);
  header.set([8, 6, 0, 0, 0], 8);
  const stride = columns * 4;
  const lines = Buffer.alloc(rows * (stride + 1));
  for (let row = 0; row < rows; row += 1) {
    lines.set(pixels.subarray(row * stride, (row + 1) * stride), row * (stride + 1) + 1);
  }
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(lines)),
    chunk('IEND', new Uint8Array()),
  ]);
}

/**
 * An allocation map (rows x columns, mean 1, row-major) as a transparent PNG to lay over its picture: nothing where the
 * weight is 1, amber above, dark below.
 *
 * @param cap weight that gets the full colour, > 1
 */
export function heatPicture(map: readonly number[], rows: number, columns: number, cap: number): Buffer {
  const pixels = new Uint8Array(rows * columns * 4);
  for (const [index, weight] of map.entries()) {
    const strength = weight >= 1 ? Math.min(1, (weight - 1) / (cap - 1)) : 1 - weight;
    pixels.set([...(weight >= 1 ? MORE : LESS), Math.round(strength * MAX_ALPHA)], index * 4);
  }
  return encodePng(pixels, rows, columns);
}
