import sharp from 'sharp';
import { expect, test } from 'vitest';
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
