import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  area,
  convexHull,
  cornersOf,
  grow,
  type Point,
  type RotatedRectangle,
  sizeOf,
  smallestRectangle,
} from './rotated-rectangle.js';

const rectangles = fc
  .record({
    centre: fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -50, max: 50 })),
    angle: fc.double({ min: -0.7, max: 0.7, noNaN: true }),
    length: fc.integer({ min: 20, max: 90 }),
    thickness: fc.integer({ min: 3, max: 15 }),
  })
  .map(({ angle, ...rest }): RotatedRectangle => ({ ...rest, direction: [Math.cos(angle), Math.sin(angle)] }));

test('finds a rectangle again from its corners and points inside', () => {
  fc.assert(
    fc.property(rectangles, (rectangle) => {
      const corners = cornersOf(rectangle);
      const [x, y] = rectangle.centre;
      const found = smallestRectangle(convexHull([...corners, [x, y], [x + 0.5, y]] as Point[]));
      expect(area(found)).toBeCloseTo(area(rectangle), 6);
      cornersOf(found).forEach(([cx, cy], index) => {
        expect(cx).toBeCloseTo(corners[index]?.[0] as number, 6);
        expect(cy).toBeCloseTo(corners[index]?.[1] as number, 6);
      });
    }),
  );
});

test('corners start at the upper left of text that runs to the right', () => {
  fc.assert(
    fc.property(rectangles, (rectangle) => {
      const { width, height } = sizeOf(cornersOf(rectangle));
      expect(width).toBeCloseTo(rectangle.length, 6);
      expect(height).toBeCloseTo(rectangle.thickness, 6);
    }),
  );
});

test('growing moves every side outwards', () => {
  const rectangle: RotatedRectangle = { centre: [5, 5], direction: [1, 0], length: 4, thickness: 2 };
  expect(cornersOf(grow(rectangle, 1))).toEqual([
    [2, 3],
    [8, 3],
    [8, 7],
    [2, 7],
  ]);
});
