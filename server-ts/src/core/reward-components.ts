import { StarError } from './errors.js';
import type { Score, ScoreFailure } from './types.js';

/** Changes the reported value: scale x value + offset, then clip. */
export interface RewardTransform {
  readonly scale: number;
  readonly offset: number;
  /** Smallest and largest result; null: no limit. */
  readonly clip: readonly [number, number] | null;
}

/** Lets a component count only where the value that another one reports reaches a threshold. */
export interface RewardGate {
  /** Component that is looked at, as its scorer reports it: before transform and gate of its own. */
  readonly component: string;
  /** Its reported value; null: the one that it rewards. */
  readonly value: string | null;
  readonly atLeast: number;
  /** Stands for the component behind a closed gate; `abstain`: the component abstains. */
  readonly otherwise: number | 'abstain';
}

/** One term of the reward. */
export interface RewardTerm {
  /** Component name. */
  readonly name: string;
  /** Which reported value counts, for example `score`. */
  readonly value: string;
  /** 0: monitor only. */
  readonly weight: number;
  readonly transform?: RewardTransform | null;
  readonly gate?: RewardGate | null;
}

/** Scores of one rollout by component name; an absent name counts as failed. */
export type ComponentScores = Readonly<Record<string, Score>>;

/** What one component says of one rollout. */
export type ComponentOutcome =
  | {
      readonly kind: 'value';
      /** As the scorer reported it. */
      readonly reported: number;
      /** What the sum uses, before the weight: after transform and gate. */
      readonly value: number;
      readonly gateClosed: boolean;
    }
  /** The component, or the one that its gate looks at, does not apply; or its gate is closed and says so. */
  | { readonly kind: 'abstained' }
  | { readonly kind: 'missing'; readonly failure: ScoreFailure };

/**
 * Outcome of every component of a reward for one rollout.
 *
 * @throws StarError RECIPE_INVALID when a scorer does not report a named value
 */
export function componentOutcomes(
  scores: ComponentScores,
  terms: readonly RewardTerm[],
): ReadonlyMap<string, ComponentOutcome> {
  return new Map(terms.map((term) => [term.name, componentOutcome(scores, term, terms)]));
}

function componentOutcome(scores: ComponentScores, term: RewardTerm, terms: readonly RewardTerm[]): ComponentOutcome {
  const reported = reportedValue(scores, term.name, term.value);
  if (typeof reported !== 'number') return reported;
  const { gate, transform } = term;
  if (gate) {
    const wanted = gate.value ?? terms.find(({ name }) => name === gate.component)?.value ?? 'score';
    const seen = reportedValue(scores, gate.component, wanted);
    if (typeof seen !== 'number') return seen;
    if (seen < gate.atLeast) return behindClosedGate(reported, gate);
  }
  const value = transform ? transformed(reported, transform) : reported;
  if (Number.isFinite(value)) return { kind: 'value', reported, value, gateClosed: false };
  return missing('SCORE_NOT_FINITE', `component ${term.name} is ${value} after its transform of ${reported}`);
}

function behindClosedGate(reported: number, { otherwise }: RewardGate): ComponentOutcome {
  if (otherwise === 'abstain') return { kind: 'abstained' };
  return { kind: 'value', reported, value: otherwise, gateClosed: true };
}

function transformed(value: number, { scale, offset, clip }: RewardTransform): number {
  const result = scale * value + offset;
  return clip === null ? result : Math.min(Math.max(result, clip[0]), clip[1]);
}

function reportedValue(
  scores: ComponentScores,
  name: string,
  wanted: string,
): number | Exclude<ComponentOutcome, { kind: 'value' }> {
  const score = scores[name];
  if (score === undefined) return missing('INTERNAL', `no score for component ${name}`);
  if (score.kind === 'failed') return { kind: 'missing', failure: score.failure };
  if (score.kind === 'abstained') return { kind: 'abstained' };
  const value = score.values[wanted];
  if (value === undefined) {
    const known = Object.keys(score.values).join(', ');
    throw new StarError('RECIPE_INVALID', `component ${name} reports no "${wanted}"; it reports: ${known}`);
  }
  if (Number.isFinite(value)) return value;
  return missing('SCORE_NOT_FINITE', `component ${name} reported ${wanted} = ${value}`);
}

function missing(reason: ScoreFailure['reason'], message: string): Extract<ComponentOutcome, { kind: 'missing' }> {
  return { kind: 'missing', failure: { reason, message } };
}
