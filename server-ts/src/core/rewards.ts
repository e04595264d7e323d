import { StarError } from './errors.js';
import type { Reward, Score, ScoreFailure } from './types.js';

/** One term of the reward. */
export interface RewardTerm {
  /** Component name. */
  readonly name: string;
  /** Which reported value counts, for example `score`. */
  readonly value: string;
  readonly weight: number;
}

/**
 * Reward of one rollout: the weighted sum of its components. It is missing when any component with a weight other than 0 is
 * missing; weight 0 makes a component a mere observation.
 *
 * @param scores per component name; an absent name counts as missing
 * @throws StarError RECIPE_INVALID when the scorer does not report the named value
 */
export function combineReward(scores: Readonly<Record<string, Score>>, terms: readonly RewardTerm[]): Reward {
  const components: Record<string, number> = {};
  let reward = 0;
  for (const term of terms) {
    const outcome = componentValue(scores[term.name], term);
    if (typeof outcome === 'number') {
      components[term.name] = outcome;
      reward += term.weight * outcome;
    } else if (term.weight !== 0) {
      return { kind: 'missing', failure: outcome };
    }
  }
  if (Number.isFinite(reward)) return { kind: 'value', reward, components };
  return missing('SCORE_NOT_FINITE', `the weighted sum of the components is ${reward}; expected a finite number`);
}

function componentValue(score: Score | undefined, term: RewardTerm): number | ScoreFailure {
  if (score === undefined) return { reason: 'INTERNAL', message: `no score for component ${term.name}` };
  if (score.kind === 'failed') return score.failure;
  const value = score.values[term.value];
  if (value === undefined) {
    const known = Object.keys(score.values).join(', ');
    throw new StarError('RECIPE_INVALID', `component ${term.name} reports no "${term.value}"; it reports: ${known}`);
  }
  if (Number.isFinite(value)) return value;
  return { reason: 'SCORE_NOT_FINITE', message: `component ${term.name} reported ${term.value} = ${value}` };
}

function missing(reason: ScoreFailure['reason'], message: string): Reward {
  return { kind: 'missing', failure: { reason, message } };
}
