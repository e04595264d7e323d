import type { PixelWindow } from './pillow-resize.js';
import type { RgbImage } from './rgb-image.js';

/**
 * Pillow's `Image.crop`, bit for bit: edges rounded half to even, black outside the picture.
 *
 * @param box left, top, right, bottom in pixels; right and bottom exclusive; may reach outside
 * @returns null where the rounded box is empty or turned over (Pillow: an empty picture or an error)
 */
export function cropLikePillow(image: RgbImage, box: readonly [number, number, number, number]): RgbImage | null {
  const [left, top, right, bottom] = box.map(roundHalfEven) as [number, number, number, number];
  const [width, height] = [right - left, bottom - top];
  if (!(width > 0 && height > 0)) return null;
  const data = new Uint8Array(width * height * 3);
  const start = Math.max(left, 0);
  const end = Math.min(right, image.width);
  for (let y = Math.max(top, 0); start < end && y < Math.min(bottom, image.height); y++) {
    const row = image.data.subarray((y * image.width + start) * 3, (y * image.width + end) * 3);
    data.set(row, ((y - top) * width + start - left) * 3);
  }
  return { width, height, data };
}

/** How the offset of a centre crop is rounded; floor: Hugging Face, half_even: torchvision and open-clip. */
export type CropRule = 'floor' | 'half_even';

/** Square of `size` pixels in the middle of a picture whose sides are at least that. */
export function centreWindow(width: number, height: number, size: number, rule: CropRule): PixelWindow {
  const round = rule === 'floor' ? Math.floor : roundHalfEven;
  return { left: round((width - size) / 2), top: round((height - size) / 2), width: size, height: size };
}

/** Rounds as Python does. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
