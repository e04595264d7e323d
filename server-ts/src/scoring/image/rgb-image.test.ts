import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import type { StarError } from '../../core/errors.js';
import { cropImage, decodePng, MAX_IMAGE_SIDE, resizeBilinear } from './rgb-image.js';

test('decodes grey, transparent and RGB files to the same bytes', async () => {
  const rgb = { width: 2, height: 1, channels: 3 } as const;
  const pixels = Uint8Array.of(10, 10, 10, 200, 200, 200);
  const plain = await sharp(pixels, { raw: rgb }).png().toBuffer();
  const grey = await sharp(pixels, { raw: rgb }).toColourspace('b-w').png().toBuffer();
  const transparent = await sharp(pixels, { raw: rgb }).ensureAlpha(1).png().toBuffer();
  for (const file of [plain, grey, transparent]) {
    const { width, height, data } = await decodePng(file);
    expect({ width, height, data: [...data] }).toEqual({ width: 2, height: 1, data: [...pixels] });
  }
});

test('refuses what is not a PNG or too large, and says so', async () => {
  const wide = await sharp({ create: { width: MAX_IMAGE_SIDE + 1, height: 1, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  await expect(decodePng(wide)).rejects.toMatchObject({ reason: 'IMAGE_INVALID', message: /4097x1/ });
  const jpeg = await sharp(wide).jpeg().toBuffer();
  await expect(decodePng(jpeg)).rejects.toMatchObject({ reason: 'IMAGE_INVALID', message: /expected a PNG/ });
  await expect(decodePng(new Uint8Array())).rejects.toMatchObject({ reason: 'IMAGE_INVALID' });
});

/** A PNG file of our own: 8 bits grey, `width` x `height` declared, whatever the data is. */
function handMadePng(width: number, height: number, scanlines: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(scanlines)),
    chunk('IEND', new Uint8Array()),
  ]);
}

test('refuses a small file that unpacks to a huge picture, by its header', async () => {
  const bomb = handMadePng(20_000, 20_000, new Uint8Array(1000));
  expect(bomb.length).toBeLessThan(200);
  await expect(decodePng(bomb)).rejects.toMatchObject({ reason: 'IMAGE_INVALID', message: /20000x20000/ });
});

test('never unpacks more than a picture of the declared size', async () => {
  const before = process.memoryUsage().rss;
  const overlong = handMadePng(64, 64, new Uint8Array(256 * 1024 * 1024));
  const result = await decodePng(overlong).then(
    ({ data }) => data.length,
    (error: StarError) => error.reason,
  );
  expect([64 * 64 * 3, 'IMAGE_INVALID']).toContain(result);
  // The test itself holds 256 MiB of zeros.
  expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
});

test('refuses a file that ends early', async () => {
  const whole = await sharp({
    create: { width: 300, height: 300, channels: 3, background: 'red', noise: { type: 'gaussian', mean: 9, sigma: 9 } },
  })
    .png()
    .toBuffer();
  await expect(decodePng(whole.subarray(0, whole.length / 2))).rejects.toMatchObject({ reason: 'IMAGE_INVALID' });
});

test('resizes with half-pixel centres', () => {
  const image = { width: 2, height: 1, data: Uint8Array.of(0, 0, 0, 100, 100, 100) };
  const red = (width: number): number[] => [...resizeBilinear(image, width, 1).data].filter((_, i) => i % 3 === 0);
  expect(red(4)).toEqual([0, 25, 75, 100]);
  expect(red(1)).toEqual([50]);
  expect(resizeBilinear(image, 2, 1)).toBe(image);
});

test('crops whole pixels', () => {
  const image = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, i) => i) };
  expect([...cropImage(image, [1, 1, 3, 2]).data]).toEqual([12, 13, 14, 15, 16, 17]);
});
