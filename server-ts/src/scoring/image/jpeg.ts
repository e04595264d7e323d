import sharp from 'sharp';
import type { RgbImage } from './rgb-image.js';

/**
 * What is left of a picture after Pillow's `save(format='JPEG')` with its defaults (quality 75, chroma at half resolution) and
 * decoding, bit for bit. Reward servers that are sent JPEG see this picture.
 */
export async function throughJpeg({ width, height, data }: RgbImage): Promise<RgbImage> {
  const file = await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 75, chromaSubsampling: '4:2:0', mozjpeg: false, optimiseCoding: false })
    .toBuffer();
  return { width, height, data: await sharp(file).raw({ depth: 'uchar' }).toBuffer() };
}
