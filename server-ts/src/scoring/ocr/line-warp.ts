import type { RgbImage } from '../image/rgb-image.js';
import { type Normalization, normalize } from './picture-tensor.js';
import type { Quad } from './rotated-rectangle.js';

/** Where a warped line goes: planes of `height` rows of `stride` values, of which the first `width` are written. */
export interface LinePlanes {
  /** float32 [3, height, stride]. */
  readonly planes: Float32Array;
  readonly stride: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Straightens a line of text into the planes of the recogniser: perspective warp, bilinear, the border of the picture
 * repeated outside (PaddleOCR's crop and resize in one step).
 */
export function warpLine(image: RgbImage, quad: Quad, to: LinePlanes, { mean, std }: Normalization): void {
  const { planes, stride, width, height } = to;
  const { data, width: imageWidth } = image;
  const [maxX, maxY] = [image.width - 1, image.height - 1];
  const [a, b, c, d, e, f, g, h] = unitSquareTo(quad);
  const scales = std.map((deviation) => 1 / (255 * deviation)) as [number, number, number];
  const offsets = mean.map((value, channel) => normalize(0, value, std[channel])) as [number, number, number];
  for (let row = 0; row < height; row++) {
    const v = (row + 0.5) / height;
    for (let column = 0; column < width; column++) {
      const u = (column + 0.5) / width;
      const depth = g * u + h * v + 1;
      const x = Math.min(Math.max((a * u + b * v + c) / depth - 0.5, 0), maxX);
      const y = Math.min(Math.max((d * u + e * v + f) / depth - 0.5, 0), maxY);
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [across, down] = [x - left, y - top];
      const upper = (top * imageWidth + left) * 3;
      const lower = top < maxY ? upper + imageWidth * 3 : upper;
      const step = left < maxX ? 3 : 0;
      for (let channel = 0; channel < 3; channel++) {
        const one = mix(data[upper + channel] as number, data[upper + step + channel] as number, across);
        const two = mix(data[lower + channel] as number, data[lower + step + channel] as number, across);
        const value = mix(one, two, down) * (scales[channel] as number) + (offsets[channel] as number);
        planes[(channel * height + row) * stride + column] = value;
      }
    }
  }
}

function mix(first: number, second: number, share: number): number {
  return first + (second - first) * share;
}

/**
 * Perspective map of the unit square onto a quad (Heckbert, Fundamentals of Texture Mapping, 1989, 2.2.3):
 * x = (a u + b v + c) / (g u + h v + 1), y = (d u + e v + f) / (g u + h v + 1).
 *
 * @returns a to h
 */
function unitSquareTo([p0, p1, p2, p3]: Quad): readonly [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
] {
  const [dx1, dy1] = [p1[0] - p2[0], p1[1] - p2[1]];
  const [dx2, dy2] = [p3[0] - p2[0], p3[1] - p2[1]];
  const [sx, sy] = [p0[0] - p1[0] + p2[0] - p3[0], p0[1] - p1[1] + p2[1] - p3[1]];
  const determinant = dx1 * dy2 - dx2 * dy1;
  const g = (sx * dy2 - dx2 * sy) / determinant;
  const h = (dx1 * sy - sx * dy1) / determinant;
  return [
    p1[0] - p0[0] + g * p1[0],
    p3[0] - p0[0] + h * p3[0],
    p0[0],
    p1[1] - p0[1] + g * p1[1],
    p3[1] - p0[1] + h * p3[1],
    p0[1],
    g,
    h,
  ];
}
