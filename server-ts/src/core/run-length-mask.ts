import type { RunLengthMask } from './types.js';

/** Probability above which a pixel belongs to the object. */
const THRESHOLD = 0.5;

/**
 * Packs a soft mask.
 *
 * @param mask float32 [height, width], 0..1
 */
export function encodeMask(mask: {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}): RunLengthMask {
  const runs: number[] = [];
  let inside = false;
  let start = 0;
  mask.data.forEach((value, index) => {
    if (value > THRESHOLD === inside) return;
    runs.push(index - start);
    start = index;
    inside = !inside;
  });
  runs.push(mask.data.length - start);
  return { width: mask.width, height: mask.height, runs };
}
