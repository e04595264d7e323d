import { area, convexHull, cornersOf, grow, type Point, type Quad, smallestRectangle } from './rotated-rectangle.js';
import { type TextProbability, textComponents } from './text-components.js';

/** Thresholds of the DB post-processing. */
export interface TextBoxThresholds {
  /** A pixel belongs to text above this probability. */
  readonly pixel: number;
  /** Smallest mean probability of a box. */
  readonly box: number;
  /** Boxes grow by area * unclip / perimeter on every side. */
  readonly unclip: number;
}

const MAX_CANDIDATES = 1000;
const MIN_SIDE = 3;
const MIN_SIDE_UNCLIPPED = 5;
/** Boxes whose first corners differ by less than this many pixels in y are on one line. */
const SAME_LINE_PX = 10;

/**
 * Finds lines of text: connected components, smallest rectangle in any direction, mean probability, unclip (DB
 * post-processing of PaddleOCR, rewards.md 2.1).
 *
 * @returns boxes in pixels of the map; corners may lie outside it. Order: by first pixel.
 */
export function findTextBoxes(map: TextProbability, thresholds: TextBoxThresholds): Quad[] {
  const boxes: Quad[] = [];
  for (const points of textComponents(map, thresholds.pixel, MAX_CANDIDATES)) {
    const rectangle = smallestRectangle(convexHull(points));
    const { length, thickness } = rectangle;
    if (Math.min(length, thickness) < MIN_SIDE || meanInside(map, cornersOf(rectangle)) < thresholds.box) continue;
    const grown = grow(rectangle, (area(rectangle) * thresholds.unclip) / (2 * (length + thickness)));
    if (Math.min(grown.length, grown.thickness) >= MIN_SIDE_UNCLIPPED) boxes.push(cornersOf(grown));
  }
  return boxes;
}

/** Mean over the pixels whose centres lie inside; 0 for none. */
function meanInside({ width, height, data }: TextProbability, quad: Quad): number {
  const ys = quad.map(([, y]) => y);
  let sum = 0;
  let count = 0;
  for (let y = Math.max(Math.floor(Math.min(...ys)), 0); y < Math.min(Math.max(...ys), height); y++) {
    const [left, right] = spanAt(quad, y + 0.5);
    const end = Math.min(Math.floor(right - 0.5), width - 1);
    for (let x = Math.max(Math.ceil(left - 0.5), 0); x <= end; x++, count++) sum += data[y * width + x] as number;
  }
  return count === 0 ? 0 : sum / count;
}

/** Where a horizontal line is inside a convex quad; empty (left > right) above and below it. */
function spanAt(quad: Quad, y: number): [left: number, right: number] {
  let [left, right] = [Infinity, -Infinity];
  for (let index = 0; index < 4; index++) {
    const [ax, ay] = quad[index] as Point;
    const [bx, by] = quad[(index + 1) % 4] as Point;
    if (ay === by || y < Math.min(ay, by) || y > Math.max(ay, by)) continue;
    const x = ax + ((bx - ax) * (y - ay)) / (by - ay);
    left = Math.min(left, x);
    right = Math.max(right, x);
  }
  return [left, right];
}

/** PaddleOCR's order: by the first corner from top to bottom, then neighbours on one line from left to right. */
export function inReadingOrder(boxes: readonly Quad[]): Quad[] {
  const sorted = [...boxes].sort(([[ax, ay]], [[bx, by]]) => ay - by || ax - bx);
  for (let end = 1; end < sorted.length; end++) {
    for (let index = end; index > 0 && isBefore(sorted[index] as Quad, sorted[index - 1] as Quad); index--) {
      [sorted[index - 1], sorted[index]] = [sorted[index] as Quad, sorted[index - 1] as Quad];
    }
  }
  return sorted;
}

function isBefore([[x, y]]: Quad, [[previousX, previousY]]: Quad): boolean {
  return Math.abs(y - previousY) < SAME_LINE_PX && x < previousX;
}
