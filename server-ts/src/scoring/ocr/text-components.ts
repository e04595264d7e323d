import type { Point } from './rotated-rectangle.js';

/** Probability that a pixel belongs to text: float32 [height, width], 0..1. */
export interface TextProbability {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/**
 * Finds the 8-connected components of the pixels above a threshold.
 *
 * @param limit at most so many components, in the order of their first pixel
 * @returns per component the outer corners of the first and last pixel of its rows: all that its convex hull needs
 */
export function textComponents(map: TextProbability, threshold: number, limit: number): Point[][] {
  const { width, height, data } = map;
  const open = new Uint8Array(width * height);
  for (let index = 0; index < open.length; index++) open[index] = (data[index] as number) > threshold ? 1 : 0;
  const outlines: Point[][] = [];
  const fill = rowFill(open, width, height);
  for (let start = open.indexOf(1); start >= 0 && outlines.length < limit; start = open.indexOf(1, start + 1)) {
    outlines.push(outline(fill(start)));
  }
  return outlines;
}

/** First and last column of rows `top` to `bottom`, both inclusive; entries of other rows are stale. */
interface RowExtents {
  readonly first: Int32Array;
  readonly last: Int32Array;
  readonly top: number;
  readonly bottom: number;
}

/** Flood fill on flat arrays that are made once per picture: it visits every pixel of text. */
function rowFill(open: Uint8Array, width: number, height: number): (start: number) => RowExtents {
  const stack = new Int32Array(open.length);
  const first = new Int32Array(height);
  const last = new Int32Array(height);
  return (start) => {
    const top = Math.floor(start / width);
    let bottom = top - 1;
    let size = 0;
    stack[size++] = start;
    open[start] = 0;
    while (size > 0) {
      const index = stack[--size] as number;
      const y = Math.floor(index / width);
      const x = index - y * width;
      // The fill reaches rows one by one, because neighbours are at most one row apart.
      for (; bottom < y; bottom++) [first[bottom + 1], last[bottom + 1]] = [width, -1];
      if (x < (first[y] as number)) first[y] = x;
      if (x > (last[y] as number)) last[y] = x;
      const [left, right] = [Math.max(x - 1, 0), Math.min(x + 1, width - 1)];
      for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, height - 1); ny++) {
        for (let neighbour = ny * width + left; neighbour <= ny * width + right; neighbour++) {
          if (open[neighbour] === 0) continue;
          open[neighbour] = 0;
          stack[size++] = neighbour;
        }
      }
    }
    return { first, last, top, bottom };
  };
}

function outline({ first, last, top, bottom }: RowExtents): Point[] {
  const points: Point[] = [];
  for (let y = top; y <= bottom; y++) {
    const [left, right] = [first[y] as number, (last[y] as number) + 1];
    points.push([left, y], [left, y + 1], [right, y], [right, y + 1]);
  }
  return points;
}
