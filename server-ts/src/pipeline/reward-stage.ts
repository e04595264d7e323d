import type { Recipe } from '../config/recipe.js';
import { type GroupAdvantages, groupAdvantages } from '../core/advantages.js';
import { StarError } from '../core/errors.js';
import { type AdvantageSettings, rewardAdvantages, rewardNumbers } from '../core/reward-advantages.js';
import { groupRewards } from '../core/rewards.js';
import type { Reward, RolloutGroup, Score } from '../core/types.js';
import type { RewardScorer, ScoreRequest } from './ports.js';

/** Scores and rewards of one group, in the order of its rollouts. */
export interface ScoredGroup {
  readonly scores: readonly Readonly<Record<string, Score>>[];
  readonly rewards: readonly Reward[];
}

/** Told of every group that has its rewards. Must not throw. */
export type ScoringObserver = (requests: readonly ScoreRequest[], group: ScoredGroup) => void;

/** Scores groups as they become complete, and forms advantages as soon as their statistics are known. */
export class RewardStage {
  readonly #groups: PromiseWithResolvers<ScoredGroup>[];
  readonly #pictures = new Map<number, Uint8Array[]>();
  readonly #scoring: Promise<void>[] = [];
  #allAdvantages: Promise<GroupAdvantages[]> | null = null;
  #failure: StarError | null = null;

  constructor(
    private readonly recipe: Recipe,
    private readonly plan: readonly RolloutGroup[],
    private readonly judge: { readonly scorer: RewardScorer; readonly onGroupScored: ScoringObserver },
    private readonly signal: AbortSignal,
  ) {
    this.#groups = plan.map(() => Promise.withResolvers<ScoredGroup>());
    // A failure is reported by whoever waits for the group; nobody may wait any more after an abort.
    for (const group of this.#groups) group.promise.catch(() => undefined);
  }

  /**
   * Takes the picture of the next rollout of a group; with its last one the group goes to the scorers.
   *
   * @throws StarError what made an earlier group impossible to score, so that sampling ends at once
   */
  take(groupIndex: number, picture: Uint8Array): void {
    if (this.#failure !== null) throw this.#failure;
    const pictures = this.#pictures.get(groupIndex) ?? [];
    pictures.push(picture);
    this.#pictures.set(groupIndex, pictures);
    if (pictures.length === this.plan[groupIndex]?.rollouts.length) this.#start(groupIndex, pictures);
  }

  /** All groups; waits for the slowest scorer. */
  async scored(): Promise<ScoredGroup[]> {
    return Promise.all(this.#groups.map((group) => group.promise));
  }

  /** Waits until no scorer works for this stage any more, whatever came of it. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#scoring);
  }

  /**
   * Advantages of one group. Those of a weighted sum with `standardDeviation: group` are there as soon as the group is
   * scored, all others when all groups are.
   */
  async advantages(groupIndex: number): Promise<GroupAdvantages> {
    const { advantages, reward } = this.recipe;
    if (reward.combination === 'weighted_sum' && advantages.standardDeviation === 'group') {
      const { rewards } = await (this.#groups[groupIndex] as PromiseWithResolvers<ScoredGroup>).promise;
      return groupAdvantages(rewardNumbers(rewards), advantages.clip);
    }
    this.#allAdvantages ??= this.scored().then((groups) =>
      rewardAdvantages(
        groups.map(({ rewards }) => rewards),
        advantageSettings(this.recipe),
      ),
    );
    return (await this.#allAdvantages)[groupIndex] as GroupAdvantages;
  }

  #start(groupIndex: number, pictures: readonly Uint8Array[]): void {
    const { resolve, reject } = this.#groups[groupIndex] as PromiseWithResolvers<ScoredGroup>;
    const group = this.plan[groupIndex] as RolloutGroup;
    const requests = group.rollouts.map(({ rolloutId }, index) => ({
      rolloutId,
      prompt: group.prompt,
      image: pictures[index] as Uint8Array,
    }));
    this.#pictures.delete(groupIndex);
    const scoring = this.#score(requests).then(resolve, (error: unknown) => {
      this.#failure = StarError.from(error);
      reject(this.#failure);
    });
    this.#scoring.push(scoring);
  }

  async #score(requests: readonly ScoreRequest[]): Promise<ScoredGroup> {
    const scores = await this.judge.scorer.score(requests, this.signal);
    const group = { scores, rewards: groupRewards(scores, this.recipe.reward.components) };
    this.judge.onGroupScored(requests, group);
    return group;
  }
}

/** How a recipe turns rewards into advantages. */
export function advantageSettings({ advantages, reward }: Recipe): AdvantageSettings {
  return { ...advantages, combination: reward.combination, terms: reward.components };
}

/**
 * Refuses an iteration without a single reward: there is nothing to learn from, and the scorers need attention.
 *
 * @throws StarError with the reason of the most frequent failure, and a message that counts all of them
 */
export function assertSomeReward(iteration: number, groups: readonly ScoredGroup[]): void {
  const rewards = groups.flatMap((group) => group.rewards);
  const failures = rewards.flatMap((reward) => (reward.kind === 'missing' ? [reward.failure] : []));
  if (failures.length < rewards.length) return;
  const counts = new Map<string, number>();
  for (const { reason } of failures) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  const example = failures.find((failure) => failure.reason === most?.[0]);
  if (example === undefined) return;
  const list = [...counts].map(([reason, count]) => `${count} x ${reason}`).join(', ');
  throw new StarError(
    example.reason,
    `none of the ${rewards.length} rollouts of iteration ${iteration} got a reward (${list}); for example: ${example.message}`,
  );
}
