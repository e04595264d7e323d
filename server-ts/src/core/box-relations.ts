import type { Detection, Relation } from './types.js';

type Box = Detection['box'];

/** Share of the summed sizes by which an offset must exceed 0. */
const POSITION_THRESHOLD = Math.fround(0.1);

/**
 * Relations in which box a stands to box b (rewards.md 1.3), in float32; y points down.
 *
 * @returns none, one, or two (diagonal)
 */
export function relationsOf(a: Box, b: Box): Relation[] {
  const [dx, dy] = direction(a, b);
  const relations: Relation[] = [];
  if (dx < -0.5) relations.push('left of');
  if (dx > 0.5) relations.push('right of');
  if (dy < -0.5) relations.push('above');
  if (dy > 0.5) relations.push('below');
  return relations;
}

/**
 * Greedy suppression: keeps an object when its overlap with every object kept before is below `maxOverlap`.
 *
 * @param sorted objects of one class, best first
 * @param maxOverlap intersection over union, 0..1; 1: keep all
 */
export function suppressOverlaps<T extends { readonly box: Box }>(sorted: readonly T[], maxOverlap: number): T[] {
  if (maxOverlap >= 1) return [...sorted];
  const kept: T[] = [];
  for (const candidate of sorted) {
    if (kept.every((object) => overlapOf(object.box, candidate.box) < maxOverlap)) kept.push(candidate);
  }
  return kept;
}

/** Intersection over union with the +1 pixel convention of the original. */
function overlapOf(a: Box, b: Box): number {
  const area = (box: Box): number => Math.max(box[2] - box[0] + 1, 0) * Math.max(box[3] - box[1] + 1, 0);
  const intersection = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  const union = area(a) + area(b) - intersection;
  return union > 0 ? intersection / union : 0;
}

/** Offset from b to a, shrunk by the sizes and divided by its unshrunk length; [0, 0] when the boxes are too close to tell. */
function direction(a: Box, b: Box): [number, number] {
  const x = axisOffset(a[0], a[2], b[0], b[2]);
  const y = axisOffset(a[1], a[3], b[1], b[3]);
  if (Math.abs(x.shrunk) < 1e-3 && Math.abs(y.shrunk) < 1e-3) return [0, 0];
  const square = Math.fround(Math.fround(x.offset * x.offset) + Math.fround(y.offset * y.offset));
  const length = Math.fround(Math.sqrt(square));
  return [Math.fround(x.shrunk / length), Math.fround(y.shrunk / length)];
}

function axisOffset(a1: number, a2: number, b1: number, b2: number): { offset: number; shrunk: number } {
  const centerA = Math.fround(Math.fround(Math.fround(a1) + Math.fround(a2)) / 2);
  const centerB = Math.fround(Math.fround(Math.fround(b1) + Math.fround(b2)) / 2);
  const sizeA = Math.abs(Math.fround(Math.fround(a2) - Math.fround(a1)));
  const sizeB = Math.abs(Math.fround(Math.fround(b2) - Math.fround(b1)));
  const offset = Math.fround(centerA - centerB);
  const margin = Math.fround(POSITION_THRESHOLD * Math.fround(sizeA + sizeB));
  return { offset, shrunk: Math.max(Math.fround(Math.abs(offset) - margin), 0) * Math.sign(offset) };
}
