import {
  type ComponentOutcome,
  type ComponentScores,
  componentOutcomes,
  type RewardTerm,
} from './reward-components.js';
import type { Reward } from './types.js';

/**
 * Reward of one rollout by itself: the weighted sum of its components. It is missing when any component with a weight other
 * than 0 is missing; weight 0 makes a component a mere observation. Components that abstained are left out of the sum, the
 * weights of the others stay; when all of them abstained, so does the reward.
 *
 * @throws StarError RECIPE_INVALID when a scorer does not report a named value
 */
export function combineReward(scores: ComponentScores, terms: readonly RewardTerm[]): Reward {
  const outcomes = componentOutcomes(scores, terms);
  return sumOf(outcomes, terms, namesWithValue([outcomes]));
}

/**
 * Rewards of the rollouts of one group. Only sums of the same components can be compared: a rollout whose scorer abstained
 * from a component that another rollout of the group has a value for abstains as a whole.
 *
 * @throws StarError RECIPE_INVALID when a scorer does not report a named value
 */
export function groupRewards(group: readonly ComponentScores[], terms: readonly RewardTerm[]): Reward[] {
  const outcomes = group.map((scores) => componentOutcomes(scores, terms));
  const needed = namesWithValue(outcomes);
  return outcomes.map((each) => sumOf(each, terms, needed));
}

type Outcomes = ReadonlyMap<string, ComponentOutcome>;

function namesWithValue(outcomes: readonly Outcomes[]): ReadonlySet<string> {
  return new Set(outcomes.flatMap((each) => [...each].flatMap(([name, { kind }]) => (kind === 'value' ? [name] : []))));
}

function sumOf(outcomes: Outcomes, terms: readonly RewardTerm[], needed: ReadonlySet<string>): Reward {
  const components: Record<string, number> = {};
  let reward = 0;
  let summed = 0;
  let incomplete = false;
  for (const { name, weight } of terms) {
    const outcome = outcomes.get(name);
    if (outcome?.kind === 'value') {
      components[name] = outcome.value;
      reward += weight * outcome.value;
    }
    if (weight === 0) continue;
    if (outcome?.kind === 'missing') return { kind: 'missing', failure: outcome.failure };
    if (outcome?.kind === 'value') summed += 1;
    else incomplete ||= needed.has(name);
  }
  if (incomplete || summed === 0) return { kind: 'abstained' };
  if (Number.isFinite(reward)) return { kind: 'value', reward, components };
  const message = `the weighted sum of the components is ${reward}; expected a finite number`;
  return { kind: 'missing', failure: { reason: 'SCORE_NOT_FINITE', message } };
}
