/** Geometry of text boxes. Coordinates are continuous: pixel (i, j) covers [i, i + 1] x [j, j + 1], y points down. */

export type Point = readonly [x: number, y: number];

/** Corners of a line of text: start of its upper edge, end of it, end of the lower edge, start of it. */
export type Quad = readonly [Point, Point, Point, Point];

/** A rectangle with any direction. */
export interface RotatedRectangle {
  readonly centre: Point;
  /** Unit vector along `length`. */
  readonly direction: Point;
  readonly length: number;
  readonly thickness: number;
}

/** Corners of the convex hull, one turn (Andrew's monotone chain). Sorts the points in place. */
export function convexHull(points: Point[]): Point[] {
  points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return [...halfHull(points), ...halfHull(points.reverse())];
}

/** One side of the hull without its last point, which starts the other side. */
function halfHull(points: readonly Point[]): Point[] {
  const chain: Point[] = [];
  for (const point of points) {
    while (chain.length >= 2 && turn(chain.at(-2) as Point, chain.at(-1) as Point, point) <= 0) chain.pop();
    chain.push(point);
  }
  chain.pop();
  return chain;
}

function turn(a: Point, b: Point, c: Point): number {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

/**
 * Rectangle of least area around a convex hull; one of its sides lies on an edge of the hull.
 *
 * @param hull at least three corners that are not on one line
 */
export function smallestRectangle(hull: readonly Point[]): RotatedRectangle {
  let best = rectangleAlong(hull, [1, 0]);
  hull.forEach(([x, y], index) => {
    const [nextX, nextY] = hull[(index + 1) % hull.length] as Point;
    const edge = Math.hypot(nextX - x, nextY - y);
    const candidate = rectangleAlong(hull, [(nextX - x) / edge, (nextY - y) / edge]);
    if (area(candidate) < area(best)) best = candidate;
  });
  return best;
}

function rectangleAlong(points: readonly Point[], direction: Point): RotatedRectangle {
  const [dx, dy] = direction;
  let [minAlong, maxAlong, minAcross, maxAcross] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of points) {
    const along = x * dx + y * dy;
    const across = y * dx - x * dy;
    minAlong = Math.min(minAlong, along);
    maxAlong = Math.max(maxAlong, along);
    minAcross = Math.min(minAcross, across);
    maxAcross = Math.max(maxAcross, across);
  }
  const [along, across] = [(minAlong + maxAlong) / 2, (minAcross + maxAcross) / 2];
  return {
    centre: [along * dx - across * dy, along * dy + across * dx],
    direction,
    length: maxAlong - minAlong,
    thickness: maxAcross - minAcross,
  };
}

/** Square units. */
export function area({ length, thickness }: RotatedRectangle): number {
  return length * thickness;
}

/**
 * Moves every side outwards. For a rectangle this is exactly the smallest rectangle around its polygon offset with round
 * joins, which PaddleOCR computes with a clipping library.
 */
export function grow(rectangle: RotatedRectangle, offset: number): RotatedRectangle {
  const { length, thickness } = rectangle;
  return { ...rectangle, length: length + 2 * offset, thickness: thickness + 2 * offset };
}

/** Corners as PaddleOCR orders them: of the two left ones the upper one starts the text, of the two right ones it ends its top. */
export function cornersOf({ centre: [x, y], direction: [dx, dy], length, thickness }: RotatedRectangle): Quad {
  const [alongX, alongY] = [(dx * length) / 2, (dy * length) / 2];
  const [acrossX, acrossY] = [(-dy * thickness) / 2, (dx * thickness) / 2];
  const corners: Point[] = [
    [x - alongX - acrossX, y - alongY - acrossY],
    [x + alongX - acrossX, y + alongY - acrossY],
    [x + alongX + acrossX, y + alongY + acrossY],
    [x - alongX + acrossX, y - alongY + acrossY],
  ];
  const [a, b, c, d] = corners.sort((one, other) => one[0] - other[0]) as [Point, Point, Point, Point];
  const [topLeft, bottomLeft] = a[1] <= b[1] ? [a, b] : [b, a];
  const [topRight, bottomRight] = c[1] <= d[1] ? [c, d] : [d, c];
  return [topLeft, topRight, bottomRight, bottomLeft];
}

/** Longer of the upper and lower edge, and of the left and right one. */
export function sizeOf([topLeft, topRight, bottomRight, bottomLeft]: Quad): { width: number; height: number } {
  return {
    width: Math.max(distance(topLeft, topRight), distance(bottomLeft, bottomRight)),
    height: Math.max(distance(topLeft, bottomLeft), distance(topRight, bottomRight)),
  };
}

function distance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
