import { iterationAdvantages } from '../core/advantages.js';
import { AllocationMapper, type AllocationSettings } from '../core/allocation-map.js';
import { rewardAdvantages } from '../core/reward-advantages.js';
import { type ScheduleKind, sampleSigmas } from '../core/schedule.js';
import { deriveSeed } from '../core/seeds.js';
import type { Reward } from '../core/types.js';
import { flatten, type GoldenArray } from './golden-files.js';

interface AdvantageCase {
  readonly name: string;
  readonly global_std: boolean;
  readonly prompts: readonly string[];
  readonly rewards: GoldenArray;
  readonly advantages: GoldenArray;
}

/** Float64 sums in another order. */
const ADVANTAGE_TOLERANCE = 1e-11;
/** Groups of equal rewards: the reference may leave a residue, ours are exactly 0. */
const ZERO_TOLERANCE = 1e-9;
/** Maps are float32. */
const MAP_TOLERANCE = 2e-6;
const SIGMA_TOLERANCE = 1e-6;

/** Advantages, one comparison per case; columns of a two-dimensional case are independent. */
export function checkAdvantages(text: string): (string | null)[] {
  return (JSON.parse(text) as { cases: AdvantageCase[] }).cases.map((one) => {
    const expected = flatten(one.advantages);
    const received = advantagesOf(one);
    const index = expected.findIndex((value, place) => !closeAdvantage(received[place] as number, value));
    return index < 0 ? null : `${one.name}[${index}]: ${received[index]}, expected ${expected[index]}`;
  });
}

function closeAdvantage(received: number, expected: number): boolean {
  if (Math.abs(expected) < ZERO_TOLERANCE) return Math.abs(received) < ZERO_TOLERANCE;
  return Math.abs(received - expected) <= ADVANTAGE_TOLERANCE * Math.max(1, Math.abs(expected));
}

/** A group of one has nothing to compare with: ours is null, the reference 0; both leave the rollout without effect. */
function advantagesOf(one: AdvantageCase): number[] {
  const rewards = flatten(one.rewards).map((value) => (one.rewards.dtype === 'float32' ? Math.fround(value) : value));
  const columns = one.rewards.shape[1] ?? 1;
  const names = [...new Set(one.prompts)];
  const members = names.map((name) => one.prompts.flatMap((prompt, row) => (prompt === name ? [row] : [])));
  const received = new Array<number>(rewards.length).fill(0);
  for (let column = 0; column < columns; column += 1) {
    const groups = members.map((rows) => rows.map((row) => rewards[row * columns + column] as number));
    const settings = { standardDeviation: one.global_std ? 'batch' : 'group', clip: Number.MAX_VALUE } as const;
    iterationAdvantages(groups, settings).forEach(({ advantages }, group) => {
      members[group]?.forEach((row, place) => {
        received[row * columns + column] = advantages[place] ?? 0;
      });
    });
  }
  return received;
}

interface StandardizedCase {
  readonly name: string;
  readonly global_std: boolean;
  readonly prompts: readonly string[];
  readonly weights: readonly number[];
  /** Per rollout, per component; null: abstained, or no reward where all are null. */
  readonly components: readonly (readonly (number | null)[])[];
  readonly advantages: readonly (number | null)[];
}

/** Advantages of several components, standardised one by one; one comparison per case. */
export function checkStandardizedAdvantages(text: string): (string | null)[] {
  return (JSON.parse(text) as { cases: StandardizedCase[] }).cases.map((one) => {
    const received = standardizedOf(one);
    const index = one.advantages.findIndex((value, place) => !closeOrNull(received[place] ?? null, value));
    return index < 0 ? null : `${one.name}[${index}]: ${received[index]}, expected ${one.advantages[index]}`;
  });
}

function closeOrNull(received: number | null, expected: number | null): boolean {
  if (received === null || expected === null) return received === expected;
  return closeAdvantage(received, expected);
}

function standardizedOf({ global_std, prompts, weights, components }: StandardizedCase): (number | null)[] {
  const names = [...new Set(prompts)];
  const members = names.map((name) => prompts.flatMap((prompt, row) => (prompt === name ? [row] : [])));
  const groups = members.map((rows) => rows.map((row) => rewardOf(components[row] ?? [])));
  const received: (number | null)[] = prompts.map(() => null);
  rewardAdvantages(groups, {
    combination: 'standardized',
    standardDeviation: global_std ? 'batch' : 'group',
    clip: Number.MAX_VALUE,
    terms: weights.map((weight, index) => ({ name: String(index), weight })),
  }).forEach(({ advantages }, group) => {
    members[group]?.forEach((row, place) => {
      received[row] = advantages[place] ?? null;
    });
  });
  return received;
}

function rewardOf(row: readonly (number | null)[]): Reward {
  if (row.every((value) => value === null)) return { kind: 'missing', failure: { reason: 'INTERNAL', message: '' } };
  const components = Object.fromEntries(row.flatMap((value, index) => (value === null ? [] : [[index, value]])));
  return { kind: 'value', reward: 0, components };
}

interface AllocationCase {
  readonly name: string;
  readonly settings: AllocationSettings;
  readonly weights: readonly number[];
  readonly attention: GoldenArray;
  readonly fallback: string | null;
  readonly kappa: number;
  readonly map: GoldenArray;
}

/** Allocation maps against the float64 reference. */
export function checkAllocationMaps(text: string): (string | null)[] {
  return (JSON.parse(text) as { cases: AllocationCase[] }).cases.map((one) => {
    const [rows, columns] = one.map.shape as [number, number];
    const target = new Float32Array(rows * columns);
    const mapper = new AllocationMapper(rows, columns, one.settings);
    const statistics = mapper.mapStep(Float32Array.from(flatten(one.attention)), 0, one.weights, target);
    const expected = flatten(one.map);
    const worst = Math.max(...expected.map((value, index) => Math.abs(value - (target[index] as number))));
    const same =
      worst <= MAP_TOLERANCE &&
      statistics.fallback === one.fallback &&
      Math.abs(statistics.kappa - one.kappa) <= MAP_TOLERANCE;
    const { fallback, kappa } = statistics;
    if (same) return null;
    return `${one.name}: map differs by ${worst}, ${fallback} ${kappa}, expected ${one.fallback} ${one.kappa}`;
  });
}

/** Sampling schedules. */
export function checkSchedules(text: string): (string | null)[] {
  const { cases } = JSON.parse(text) as {
    cases: { kind: ScheduleKind; steps: number; shift: number; sigmas: readonly number[] }[];
  };
  return cases.map(({ kind, steps, shift, sigmas }) => {
    const received = sampleSigmas(kind, steps, shift);
    const same =
      received.length === sigmas.length &&
      sigmas.every((sigma, index) => Math.abs((received[index] as number) - sigma) <= SIGMA_TOLERANCE);
    return same ? null : `${kind} ${steps} ${shift}: [${received.join(', ')}], expected [${sigmas.join(', ')}]`;
  });
}

/** Seeds that the worker derives too. */
export function checkSeeds(text: string): (string | null)[] {
  const parsed = JSON.parse(text) as SeedCase[] | { readonly cases: SeedCase[] };
  return (Array.isArray(parsed) ? parsed : parsed.cases).map(({ root, path, seed }) => {
    const received = deriveSeed(BigInt(root), ...path).toString();
    return received === seed ? null : `${JSON.stringify([root, ...path])}: ${received}, expected ${seed}`;
  });
}

interface SeedCase {
  readonly root: number | string;
  readonly path: readonly (string | number)[];
  readonly seed: string;
}
