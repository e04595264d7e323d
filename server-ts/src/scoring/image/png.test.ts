import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { decodePlainPng } from './png.js';

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(body.length + 8);
  frame.writeUInt32BE(data.length, 0);
  frame.set(body, 4);
  frame.writeUInt32BE(crc32(body), body.length + 4);
  return frame;
}

/** A PNG with these scanlines (filter type, then bytes); any bytes are a valid picture. */
function pngOf(width: number, colorType: number, lines: readonly Uint8Array[], extra: readonly Buffer[] = []): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(lines.length, 4);
  header.set([8, colorType, 0, 0, 0], 8);
  const packed = deflateSync(Buffer.concat(lines));
  const data = [packed.subarray(0, 5), packed.subarray(5)].map((part) => chunk('IDAT', part));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), ...extra, ...data, chunk('IEND', Buffer.alloc(0))]);
}

const pictures = fc
  .record({ width: fc.integer({ min: 1, max: 9 }), height: fc.integer({ min: 1, max: 6 }), alpha: fc.boolean() })
  .chain(({ width, height, alpha }) =>
    fc
      .array(
        fc.tuple(
          fc.integer({ min: 0, max: 4 }),
          fc.uint8Array({ minLength: width * (alpha ? 4 : 3), maxLength: width * (alpha ? 4 : 3) }),
        ),
        { minLength: height, maxLength: height },
      )
      .map((rows) =>
        pngOf(
          width,
          alpha ? 6 : 2,
          rows.map(([filter, bytes]) => Buffer.from([filter, ...bytes])),
        ),
      ),
  );

test('gives the bytes that sharp gives, for every filter, with and without transparency', async () => {
  await fc.assert(
    fc.asyncProperty(pictures, async (png) => {
      const expected = await sharp(png).removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer();
      expect([...(decodePlainPng(png)?.data ?? [])]).toEqual([...expected]);
    }),
  );
});

test('leaves everything else to the general decoder', async () => {
  const line = Buffer.from([0, 1, 2, 3]);
  const plain = pngOf(1, 2, [line]);
  expect(decodePlainPng(plain)).toEqual({ width: 1, height: 1, data: Uint8Array.of(1, 2, 3) });
  const damaged = Buffer.from(plain);
  damaged.writeUInt8(damaged.readUInt8(45) ^ 1, 45);
  const rgb = sharp(Buffer.alloc(48), { raw: { width: 4, height: 4, channels: 3 } });
  const others = {
    damaged,
    truncated: plain.subarray(0, -12),
    'unknown filter': pngOf(1, 2, [Buffer.from([5, 1, 2, 3])]),
    'too few lines': pngOf(1, 6, [line]),
    gamma: pngOf(1, 2, [line], [chunk('gAMA', Buffer.from([0, 0, 0x20, 0]))]),
    palette: await rgb.clone().png({ palette: true }).toBuffer(),
    interlaced: await rgb.clone().png({ progressive: true }).toBuffer(),
    '16 bits': await rgb.clone().toColourspace('rgb16').png().toBuffer(),
    'not a PNG': Buffer.alloc(100),
  };
  for (const [what, png] of Object.entries(others)) expect(decodePlainPng(png), what).toBeNull();
});
