/** One channel of real numbers: float32 [height, width]. */
export interface FloatPlane {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** How one output mixes two inputs: their places and the share of the second one. */
interface Tap {
  readonly first: number;
  readonly second: number;
  readonly share: number;
}

/**
 * Bilinear resampling with half-pixel centres and without smoothing, as PyTorch's `interpolate` does it with
 * `align_corners=False`. Nothing is rounded.
 *
 * @param width of the result, >= 1
 * @param height of the result, >= 1
 * @returns the plane itself when the size does not change
 */
export function resizePlane(plane: FloatPlane, width: number, height: number): FloatPlane {
  if (plane.width === width && plane.height === height) return plane;
  const columns = tapsOf(plane.width, width);
  const data = new Float32Array(width * height);
  tapsOf(plane.height, height).forEach((row, y) => {
    const upper = plane.data.subarray(row.first * plane.width, (row.first + 1) * plane.width);
    const lower = plane.data.subarray(row.second * plane.width, (row.second + 1) * plane.width);
    columns.forEach((column, x) => {
      const top = mix(upper, column);
      data[y * width + x] = top + (mix(lower, column) - top) * row.share;
    });
  });
  return { width, height, data };
}

function mix(line: Float32Array, { first, second, share }: Tap): number {
  const value = line[first] ?? 0;
  return value + ((line[second] ?? 0) - value) * share;
}

function tapsOf(inputLength: number, outputLength: number): Tap[] {
  return Array.from({ length: outputLength }, (_, index) => {
    const centre = ((index + 0.5) * inputLength) / outputLength - 0.5;
    const position = Math.min(Math.max(centre, 0), inputLength - 1);
    const first = Math.floor(position);
    return { first, second: Math.min(first + 1, inputLength - 1), share: position - first };
  });
}
