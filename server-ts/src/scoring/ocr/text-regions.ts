/** Probability that a pixel belongs to text: float32 [height, width], 0..1. */
export interface TextProbability {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Whole pixels: left, top, right, bottom; right and bottom exclusive. */
export type PixelRegion = readonly [number, number, number, number];

/** Thresholds of the DB post-processing. */
export interface TextRegionThresholds {
  /** A pixel belongs to text above this probability. */
  readonly pixel: number;
  /** Smallest mean probability of a region. */
  readonly box: number;
  /** Regions grow by area * unclip / perimeter on every side. */
  readonly unclip: number;
}

const MAX_CANDIDATES = 1000;
const MIN_SIDE = 3;
const MIN_SIDE_UNCLIPPED = 5;
/** Regions whose tops differ by less than this many pixels are on one line. */
const SAME_LINE_PX = 10;

/**
 * Finds text regions: connected components, axis-aligned boxes, mean probability, unclip (rewards.md 2.1; PaddleOCR's
 * rotated rectangles are left out).
 *
 * @returns boxes inside the map, in reading order
 */
export function findTextRegions(map: TextProbability, thresholds: TextRegionThresholds): PixelRegion[] {
  const regions: PixelRegion[] = [];
  for (const component of connectedComponents(map, thresholds.pixel).slice(0, MAX_CANDIDATES)) {
    if (shortSide(component) < MIN_SIDE || meanInside(map, component) < thresholds.box) continue;
    const grown = unclip(component, thresholds.unclip);
    if (shortSide(grown) >= MIN_SIDE_UNCLIPPED) regions.push(clipTo(grown, map.width, map.height));
  }
  return inReadingOrder(regions);
}

/** Boxes of the 8-connected components of the pixels above the threshold. */
function connectedComponents({ width, height, data }: TextProbability, threshold: number): PixelRegion[] {
  const seen = new Uint8Array(width * height);
  const boxes: PixelRegion[] = [];
  const stack: number[] = [];
  const visit = (index: number): void => {
    if (seen[index] === 1 || !((data[index] ?? 0) > threshold)) return;
    seen[index] = 1;
    stack.push(index);
  };
  for (let start = 0; start < data.length; start++) {
    visit(start);
    if (stack.length === 0) continue;
    const box = { left: width, top: height, right: 0, bottom: 0 };
    for (let index = stack.pop(); index !== undefined; index = stack.pop()) {
      const x = index % width;
      const y = (index - x) / width;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y + 1);
      for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, height - 1); ny++) {
        for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, width - 1); nx++) visit(ny * width + nx);
      }
    }
    boxes.push([box.left, box.top, box.right, box.bottom]);
  }
  return boxes;
}

function shortSide([left, top, right, bottom]: PixelRegion): number {
  return Math.min(right - left, bottom - top);
}

function meanInside({ width, data }: TextProbability, [left, top, right, bottom]: PixelRegion): number {
  let sum = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) sum += data[y * width + x] ?? 0;
  }
  return sum / ((right - left) * (bottom - top));
}

function unclip([left, top, right, bottom]: PixelRegion, ratio: number): PixelRegion {
  const [width, height] = [right - left, bottom - top];
  const offset = Math.round((width * height * ratio) / (2 * (width + height)));
  return [left - offset, top - offset, right + offset, bottom + offset];
}

function clipTo([left, top, right, bottom]: PixelRegion, width: number, height: number): PixelRegion {
  return [Math.max(left, 0), Math.max(top, 0), Math.min(right, width), Math.min(bottom, height)];
}

/** PaddleOCR's order: by top, then neighbours on one line by left. */
export function inReadingOrder(regions: readonly PixelRegion[]): PixelRegion[] {
  const sorted = [...regions].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
  for (let end = 1; end < sorted.length; end++) {
    for (let index = end; index > 0; index--) {
      const [before, here] = [sorted[index - 1], sorted[index]];
      if (before === undefined || here === undefined) break;
      if (Math.abs(here[1] - before[1]) >= SAME_LINE_PX || here[0] >= before[0]) break;
      sorted[index - 1] = here;
      sorted[index] = before;
    }
  }
  return sorted;
}
