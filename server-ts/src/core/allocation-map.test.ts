import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkAllocationMaps } from '../golden/check-method.js';
import { AllocationMapper, type AllocationSettings } from './allocation-map.js';
import { tensor } from './tensor.js';
import type { AttentionMaps } from './types.js';

const SETTINGS: AllocationSettings = { strength: 0.5, floor: 0.3, cap: 4, smoothing: 1, entropyGate: 0.25 };
const SIDE = 8;
const SIZE = SIDE * SIDE;

const planes = (count: number): fc.Arbitrary<Float32Array> =>
  fc.float32Array({ minLength: count * SIZE, maxLength: count * SIZE, min: 0, max: 50, noNaN: true });

function mapOf(attention: Float32Array, weights: readonly number[], changes: Partial<AllocationSettings> = {}) {
  const target = new Float32Array(SIZE);
  const mapper = new AllocationMapper(SIDE, SIDE, { ...SETTINGS, ...changes });
  return { target, statistics: mapper.mapStep(attention, 0, weights, target) };
}

const meanOf = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function blob(): Float32Array {
  return Float32Array.from({ length: SIZE }, (_, index) => {
    const [row, column] = [Math.floor(index / SIDE), index % SIDE];
    return 0.1 + Math.exp(-((row - 2) ** 2 + (column - 5) ** 2) / 2);
  });
}

describe('mapStep', () => {
  it('reproduces the independent reference', () => {
    const text = readFileSync(new URL('../../../golden/allocation_map.json', import.meta.url), 'utf8');
    const comparisons = checkAllocationMaps(text);
    expect(comparisons.length).toBeGreaterThanOrEqual(20);
    expect(comparisons.filter((comparison) => comparison !== null)).toEqual([]);
  });

  it('has mean 1 and stays within floor and cap, for any attention', () => {
    fc.assert(
      fc.property(planes(2), fc.double({ min: 0, max: 1, noNaN: true }), (attention, strength) => {
        const { target } = mapOf(attention, [1, 0.5], { strength, entropyGate: 0 });
        expect(Math.abs(meanOf(target) - 1)).toBeLessThan(1e-6);
        for (const weight of target) {
          expect(weight).toBeGreaterThan(SETTINGS.floor - 1e-5);
          expect(weight).toBeLessThan(SETTINGS.cap + 1e-5);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is exactly 1 everywhere for strength 0', () => {
    fc.assert(
      fc.property(planes(1), (attention) => {
        expect(mapOf(attention, [1], { strength: 0 }).target.every((weight) => weight === 1)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('moves with the attention: without smoothing a permuted plane gives the permuted map', () => {
    const order = fc.shuffledSubarray([...Array(SIZE).keys()], { minLength: SIZE, maxLength: SIZE });
    fc.assert(
      fc.property(planes(1), order, (attention, places) => {
        const permuted = Float32Array.from(places, (place) => attention[place] as number);
        const direct = mapOf(attention, [1], { smoothing: 0 }).target;
        const moved = mapOf(permuted, [1], { smoothing: 0 }).target;
        places.forEach((place, index) => {
          expect(moved[index]).toBeCloseTo(direct[place] as number, 5);
        });
      }),
      { numRuns: 30 },
    );
  });

  it('does not depend on the scale of the attention', () => {
    const scaled = blob().map((value) => value * 7);
    mapOf(scaled, [1]).target.forEach((value, index) => {
      expect(value).toBeCloseTo(mapOf(blob(), [1]).target[index] as number, 5);
    });
  });

  it.each([
    ['no concepts', 'empty_core', new Float32Array(0), []],
    ['no token found', 'unmapped', blob(), [0]],
    ['seven concepts', 'too_many_concepts', new Float32Array(7 * SIZE).fill(1), Array<number>(7).fill(1)],
    ['a value that is not finite', 'not_finite', blob().fill(Number.NaN, 3, 4), [1]],
    ['equal values', 'flat', new Float32Array(SIZE).fill(1), [1]],
  ] as const)('falls back to 1 for %s and says why', (_, reason, attention, weights) => {
    const { target, statistics } = mapOf(attention, weights);
    expect(statistics).toMatchObject({ fallback: reason, secondMoment: 1, largestWeight: 1 });
    expect(target.every((weight) => weight === 1)).toBe(true);
  });

  it('counts a closed gate', () => {
    const ramp = Float32Array.from({ length: SIZE }, (_, index) => 1 + (index % 2));
    expect(mapOf(ramp, [1], { smoothing: 0, entropyGate: 1 }).statistics.fallback).toBeNull();
    const nearlyFull = Float32Array.from({ length: SIZE }, (_, index) => (index % 8 === 0 ? 0 : 1));
    expect(mapOf(nearlyFull, [1], { smoothing: 0, entropyGate: 1 }).statistics.fallback).toBe('gate_closed');
  });

  it('gives both concepts the same mass, however small one is', () => {
    const both = new Float32Array(2 * SIZE);
    both.fill(1, 8, 12);
    both.fill(1, SIZE + 32, 2 * SIZE);
    const { target } = mapOf(both, [1, 1], { floor: 0, cap: 100, entropyGate: 0, strength: 1, smoothing: 0 });
    expect(meanOf(target.slice(8, 12))).toBeCloseTo(8, 5);
    expect(meanOf(target.slice(32))).toBeCloseTo(1, 5);
  });
});

describe('map', () => {
  const attention = (values: Float32Array, unmappedConcepts: number[] = []): AttentionMaps => ({
    values: tensor([2, 1, SIDE, SIDE], values),
    stepIndexes: [3, 4],
    unmappedConcepts,
  });
  const concepts = [{ name: 'star', weight: 1 }];

  it('maps every step with its statistics', () => {
    const values = new Float32Array(2 * SIZE).fill(1);
    values.set(blob(), SIZE);
    const allocation = new AllocationMapper(SIDE, SIDE, SETTINGS).map(attention(values), concepts);
    expect(allocation.maps.shape).toEqual([2, SIDE, SIDE]);
    expect(allocation.statistics.map(({ fallback }) => fallback)).toEqual(['flat', null]);
    expect(allocation.maps.data[SIZE + 2 * SIDE + 5]).toBeGreaterThan(1.5);
    expect(allocation.statistics[1]?.secondMoment).toBeGreaterThan(1);
  });

  it('leaves unmapped concepts out', () => {
    const values = new Float32Array(2 * SIZE).fill(1);
    const allocation = new AllocationMapper(SIDE, SIDE, SETTINGS).map(attention(values, [0]), concepts);
    expect(allocation.statistics.map(({ fallback }) => fallback)).toEqual(['unmapped', 'unmapped']);
  });

  it('refuses attention of another shape', () => {
    const values = new Float32Array(2 * SIZE);
    const mapper = new AllocationMapper(16, 16, SETTINGS);
    expect(() => mapper.map(attention(values), concepts)).toThrow('needs shape [2, 1, 16, 16], received [2, 1, 8, 8]');
  });
});
