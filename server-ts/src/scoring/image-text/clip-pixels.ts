import { centreWindow } from '../image/pillow-crop.js';
import { resizeLikePillow } from '../image/pillow-resize.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { ImageTower } from './clip-towers.js';

type Preprocessing = Pick<ImageTower, 'size' | 'resize' | 'crop' | 'mean' | 'std'>;

/**
 * Shortest edge to `size`, then the centre square: uint8 [size, size, 3], as Hugging Face's image processors on Pillow or
 * torchvision's transforms give it.
 */
export function centreSquare(image: RgbImage, { size, resize, crop }: Omit<Preprocessing, 'mean' | 'std'>): RgbImage {
  const short = Math.min(image.width, image.height);
  const [width, height] = [image.width, image.height].map((side) => Math.trunc((size * side) / short)) as [
    number,
    number,
  ];
  return resizeLikePillow(image, width, height, resize.filter, centreWindow(width, height, size, crop));
}

/**
 * Preprocessed batch, float32 [n, 3, size, size]: resized, cropped, / 255, mean and standard deviation.
 */
export function clipPixels(images: readonly RgbImage[], preprocessing: Preprocessing): Float32Array {
  const plane = preprocessing.size ** 2;
  const pixels = new Float32Array(images.length * 3 * plane);
  const tables = [0, 1, 2].map((channel) => normalised(preprocessing, channel));
  images.forEach((image, index) => {
    const { data } = centreSquare(image, preprocessing);
    tables.forEach((table, channel) => {
      const start = (index * 3 + channel) * plane;
      for (let at = 0; at < plane; at++) pixels[start + at] = table[data[at * 3 + channel] as number] as number;
    });
  });
  return pixels;
}

/** Normalised values of the 256 bytes, rounded after every operation as float32 arithmetic does. */
function normalised({ mean, std }: Preprocessing, channel: number): Float32Array {
  const [shift, scale] = [Math.fround(mean[channel] as number), Math.fround(std[channel] as number)];
  return Float32Array.from({ length: 256 }, (_, byte) => Math.fround(Math.fround(byte / 255) - shift) / scale);
}
