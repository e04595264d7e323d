import { type ConceptMapOutcome, ConceptMapReader } from './concept-map.js';
import { StarError } from './errors.js';
import { type Tensor, tensor } from './tensor.js';
import type { AttentionMaps, CoreContent } from './types.js';

/** How attention becomes an allocation map (method.md 6 to 8). */
export interface AllocationSettings {
  /** alpha in [0, 1]; 0: every weight is exactly 1. */
  readonly strength: number;
  /** Smallest weight, 0..1. */
  readonly floor: number;
  /** Largest weight, >= 1. */
  readonly cap: number;
  /** Gaussian sigma in image tokens; 0: none. */
  readonly smoothing: number;
  /** kappa0; 0: no gate. */
  readonly entropyGate: number;
}

/** Why a step has weight 1 everywhere (method.md 11). */
export const FALLBACK_REASONS = [
  'empty_core',
  'unmapped',
  'too_many_concepts',
  'not_finite',
  'flat',
  'no_mass',
  'gate_closed',
] as const;
export type FallbackReason = (typeof FALLBACK_REASONS)[number];

/** What the map of one step looks like. */
export interface AllocationStatistics {
  /** Null: the map comes from attention. */
  readonly fallback: FallbackReason | null;
  /** 1 - H / log P of the concept union: 0 diffuse, 1 a single position; 0 with a fallback before the union. */
  readonly concentration: number;
  /** Gate in [0, 1]. */
  readonly kappa: number;
  /** E[w^2] >= 1: noise amplification. */
  readonly secondMoment: number;
  readonly largestWeight: number;
}

/** Allocation maps of one rollout. */
export interface Allocation {
  /** float32 [S, h, w], > 0 unless the floor is 0, mean 1 over h, w. */
  readonly maps: Tensor;
  readonly stepIndexes: readonly number[];
  /** Per step. */
  readonly statistics: readonly AllocationStatistics[];
}

/** method.md 11: more concepts than this and the union says nothing. */
const MOST_CONCEPTS = 6;
/** method.md 11: a gate below this counts as closed. */
const SMALLEST_KAPPA = 0.05;
const MEAN_TOLERANCE = 1e-6;
const MOST_PROJECTIONS = 200;

const UNIFORM = { concentration: 0, kappa: 0, secondMoment: 1, largestWeight: 1 } as const;

/** Builds allocation maps of one size. Keeps scratch between calls, so one instance per caller; the result does not depend on it. */
export class AllocationMapper {
  private readonly reader: ConceptMapReader;
  private readonly union: Float64Array;

  /**
   * @param rows h, image token rows
   * @param columns w, image token columns
   */
  constructor(
    readonly rows: number,
    readonly columns: number,
    private readonly settings: AllocationSettings,
  ) {
    this.reader = new ConceptMapReader(rows, columns, settings.smoothing);
    this.union = new Float64Array(rows * columns);
  }

  /**
   * Allocation maps of one rollout, from attention before the step's noise (method.md 9.3).
   *
   * @throws StarError TENSOR_INVALID when attention, concepts and map size do not fit together
   */
  map(attention: AttentionMaps, concepts: CoreContent['concepts']): Allocation {
    this.checkShape(attention, concepts.length);
    const size = this.union.length;
    const steps = attention.stepIndexes.length;
    const data = new Float32Array(steps * size);
    const weights = concepts.map(({ weight }, index) => (attention.unmappedConcepts.includes(index) ? 0 : weight));
    const statistics = attention.stepIndexes.map((_, step) =>
      this.mapStep(
        attention.values.data,
        step * concepts.length * size,
        weights,
        data.subarray(step * size, (step + 1) * size),
      ),
    );
    return { maps: tensor([steps, this.rows, this.columns], data), stepIndexes: attention.stepIndexes, statistics };
  }

  /**
   * Allocation map of one step, written to `target` [h, w].
   *
   * @param attention planes [J, h, w] from `offset` on
   * @param weights per concept; 0: left out because no token was found for it
   */
  mapStep(
    attention: Float32Array,
    offset: number,
    weights: readonly number[],
    target: Float32Array,
  ): AllocationStatistics {
    const reason = this.unite(attention, offset, weights);
    if (reason !== null) return uniform(target, reason);
    const { strength, floor, cap, entropyGate } = this.settings;
    const concentration = concentrationOf(this.union);
    const kappa = entropyGate > 0 ? Math.max(0, Math.min(1, concentration / entropyGate)) : 1;
    if (kappa < SMALLEST_KAPPA) return uniform(target, 'gate_closed', concentration, kappa);
    if (strength === 0) return uniform(target, null, concentration, kappa);
    project(this.union, strength * kappa, floor, cap);
    return { fallback: null, concentration, kappa, ...store(this.union, target) };
  }

  /** Mass-balanced mean of the concept maps into `union`, mean 1; a flat concept keeps its share, spread evenly. */
  private unite(attention: Float32Array, offset: number, weights: readonly number[]): FallbackReason | null {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (weights.length === 0) return 'empty_core';
    if (!(total > 0)) return 'unmapped';
    if (weights.length > MOST_CONCEPTS) return 'too_many_concepts';
    this.union.fill(0);
    let flatShare = 0;
    let lastOutcome: ConceptMapOutcome = 'ok';
    for (const [concept, weight] of weights.entries()) {
      if (weight === 0) continue;
      const share = weight / total;
      const outcome = this.reader.addTo(this.union, attention, offset + concept * this.union.length, share);
      if (outcome === 'not_finite') return outcome;
      if (outcome === 'ok') continue;
      flatShare += share;
      lastOutcome = outcome;
    }
    if (lastOutcome !== 'ok' && flatShare > 1 - MEAN_TOLERANCE) return lastOutcome;
    if (flatShare > 0) addEverywhere(this.union, flatShare);
    return null;
  }

  private checkShape(attention: AttentionMaps, conceptCount: number): void {
    const expected = [attention.stepIndexes.length, conceptCount, this.rows, this.columns];
    const received = attention.values.shape;
    if (received.length === 4 && expected.every((axis, index) => axis === received[index])) return;
    throw new StarError(
      'TENSOR_INVALID',
      `attention of ${conceptCount} concepts needs shape [${expected.join(', ')}], received [${received.join(', ')}]`,
    );
  }
}

function addEverywhere(map: Float64Array, value: number): void {
  for (let index = 0; index < map.length; index += 1) map[index] = (map[index] as number) + value;
}

function uniform(
  target: Float32Array,
  fallback: FallbackReason | null,
  concentration = 0,
  kappa = 0,
): AllocationStatistics {
  target.fill(1);
  return { ...UNIFORM, fallback, concentration, kappa };
}

/** 1 - H(m / sum m) / log P for a map of mean 1. */
function concentrationOf(map: Float64Array): number {
  if (map.length === 1) return 0;
  let sum = 0;
  for (let index = 0; index < map.length; index += 1) {
    const value = map[index] as number;
    if (value > 0) sum += value * Math.log(value);
  }
  // With p = m / P the entropy is log P - mean(m log m).
  return sum / map.length / Math.log(map.length);
}

/** w = Proj(1 + alpha (m - 1)) in place: clamp, rescale to mean 1, and again until the clamp leaves the mean within 1e-6. */
function project(map: Float64Array, alpha: number, floor: number, cap: number): void {
  let scale = 1;
  for (let index = 0; index < map.length; index += 1) map[index] = 1 + alpha * ((map[index] as number) - 1);
  for (let pass = 0; pass < MOST_PROJECTIONS; pass += 1) {
    let sum = 0;
    for (let index = 0; index < map.length; index += 1) {
      const value = Math.min(Math.max((map[index] as number) * scale, floor), cap);
      map[index] = value;
      sum += value;
    }
    const mean = sum / map.length;
    scale = 1 / mean;
    if (Math.abs(mean - 1) < MEAN_TOLERANCE) break;
  }
  for (let index = 0; index < map.length; index += 1) map[index] = (map[index] as number) * scale;
}

function store(map: Float64Array, target: Float32Array): { secondMoment: number; largestWeight: number } {
  let squares = 0;
  let largest = 0;
  for (let index = 0; index < map.length; index += 1) {
    const value = map[index] as number;
    target[index] = value;
    squares += value * value;
    if (value > largest) largest = value;
  }
  return { secondMoment: squares / map.length, largestWeight: largest };
}
