import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { centreSquare } from '../image-text/clip-pixels.js';
import { throughJpeg } from './jpeg.js';
import { type CropRule, cropLikePillow } from './pillow-crop.js';
import { type PillowFilter, resizeLikePillow } from './pillow-resize.js';
import type { RgbImage } from './rgb-image.js';

type Content = 'noise' | 'smooth' | 'blocks';
type Box = readonly [number, number, number, number];

/** A case of golden/make_pillow.py, which says what they mean. */
type PillowCase = { readonly content: Content; readonly from: readonly [number, number]; readonly sha256: string } & (
  | { readonly operation: 'resize'; readonly size: readonly [number, number]; readonly filter: PillowFilter }
  | { readonly operation: 'preprocess'; readonly size: number; readonly filter: PillowFilter; readonly rule: CropRule }
  | { readonly operation: 'crop'; readonly box: Box }
  | { readonly operation: 'jpeg' }
);

const CASES = JSON.parse(
  readFileSync(new URL('../../../../golden/pillow.json', import.meta.url), 'utf8'),
) as PillowCase[];

const VALUES: Readonly<
  Record<Content, (x: number, y: number, channel: number, width: number, height: number) => number>
> = {
  noise: (x, y, channel) => {
    const mixed = Math.imul(x, 374_761_393) + Math.imul(y, 668_265_263) + Math.imul(channel, 974_634_541);
    return (Math.imul(mixed, 1_274_126_177) >>> 16) & 255;
  },
  smooth: (x, y, channel, width, height) => {
    if (channel === 0) return Math.floor((x * 255) / width);
    return channel === 1 ? Math.floor((y * 255) / height) : Math.floor(((x + y) * 255) / (width + height));
  },
  blocks: (x, y, channel) => ((Math.floor(x / 7) + Math.floor(y / 5) + channel) % 2 === 0 ? 255 : 0),
};

test.each(['resize', 'preprocess', 'crop', 'jpeg'] as const)(
  '%s is bit-equal to Pillow',
  async (operation) => {
    const cases = CASES.filter((one) => one.operation === operation);
    expect(cases.length).toBeGreaterThan(10);
    for (const one of cases) expect({ ...one, sha256: sha256(await apply(one)) }).toEqual(one);
  },
  60_000,
);

test('a box without a pixel has no picture', () => {
  const image = picture('noise', 8, 8);
  expect(cropLikePillow(image, [2, 2, 2.4, 5])).toBeNull();
  expect(cropLikePillow(image, [5, 2, 3, 5])).toBeNull();
  expect(cropLikePillow(image, [Number.NaN, 2, 3, 5])).toBeNull();
});

async function apply(one: PillowCase): Promise<RgbImage> {
  const image = picture(one.content, ...one.from);
  switch (one.operation) {
    case 'resize':
      return resizeLikePillow(image, ...one.size, one.filter);
    case 'preprocess':
      return centreSquare(image, { size: one.size, resize: { filter: one.filter }, crop: one.rule });
    case 'crop':
      return cropLikePillow(image, one.box) as RgbImage;
    case 'jpeg':
      return throughJpeg(image);
  }
}

function picture(content: Content, width: number, height: number): RgbImage {
  const value = VALUES[content];
  const data = new Uint8Array(width * height * 3);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) data[at++] = value(x, y, channel, width, height);
    }
  }
  return { width, height, data };
}

function sha256({ data }: RgbImage): string {
  return createHash('sha256').update(data).digest('hex');
}
