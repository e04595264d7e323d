import type { RgbImage } from '../image/rgb-image.js';

/** How bytes become inputs of a graph: (x/255 - mean) / std per channel. */
export interface Normalization {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/**
 * Planes of a picture.
 *
 * @returns float32 [3, height, width]; red, green, blue
 */
export function picturePlanes(image: RgbImage, { mean, std }: Normalization): Float32Array {
  const size = image.width * image.height;
  const planes = new Float32Array(3 * size);
  for (let channel = 0; channel < 3; channel++) {
    const values = Float32Array.from({ length: 256 }, (_, byte) => normalize(byte, mean[channel], std[channel]));
    const plane = planes.subarray(channel * size, (channel + 1) * size);
    for (let index = 0; index < size; index++) {
      plane[index] = values[image.data[index * 3 + channel] as number] as number;
    }
  }
  return planes;
}

/** One value, byte or between two bytes. */
export function normalize(value: number, mean = 0, std = 1): number {
  return (value / 255 - mean) / std;
}
