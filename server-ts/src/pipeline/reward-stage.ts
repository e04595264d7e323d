import type { Recipe } from '../config/recipe.js';
import { type GroupAdvantages, groupAdvantages } from '../core/advantages.js';
import { StarError } from '../core/errors.js';
import { type AdvantageSettings, rewardAdvantages, rewardNumbers } from '../core/reward-advantages.js';
import { groupRewards } from '../core/rewards.js';
import type { Reward, RolloutPlan, Score } from '../core/types.js';
import { type Clock, pause } from './clock.js';
import type { EndRun, RewardScorer, ScoreRequest, Telemetry } from './ports.js';
import { isReached, mayBeScoredAgain, quorumFailure, rewardShare } from './quorum.js';

/** Scores and rewards of one group, in the order of its rollouts. */
export interface ScoredGroup {
  readonly scores: readonly Readonly<Record<string, Score>>[];
  readonly rewards: readonly Reward[];
}

/** Told of every group when its rewards do not change any more. Must not throw. */
export type ScoringObserver = (requests: readonly ScoreRequest[], group: ScoredGroup) => void;

/** What the stage works with. */
export interface RewardStageInput {
  readonly runId: string;
  readonly recipe: Recipe;
  readonly plan: RolloutPlan;
  readonly scorer: RewardScorer;
  readonly onGroupScored: ScoringObserver;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly endRun: EndRun;
  readonly signal: AbortSignal;
}

/** A group that has been scored. */
interface GroupResult {
  group: ScoredGroup;
  /** Pictures, while missing rewards may still be asked for again; null: done. */
  requests: readonly ScoreRequest[] | null;
}

/** How a recipe turns rewards into advantages. */
export function advantageSettings({ advantages, reward }: Recipe): AdvantageSettings {
  return { ...advantages, combination: reward.combination, terms: reward.components };
}

/**
 * Scores groups as they become complete, and forms advantages as soon as their statistics are known. A group in which every
 * rollout has a reward or abstained is done at once; one with missing rewards waits for the quorum of the iteration, because
 * they may be asked for again.
 */
export class RewardStage {
  readonly #groups: PromiseWithResolvers<ScoredGroup>[];
  readonly #quorum = Promise.withResolvers<void>();
  readonly #pictures = new Map<number, Uint8Array[]>();
  readonly #results = new Map<number, GroupResult>();
  readonly #scoring: Promise<void>[] = [];
  #allAdvantages: Promise<GroupAdvantages[]> | null = null;
  #failure: StarError | null = null;

  constructor(private readonly input: RewardStageInput) {
    this.#groups = input.plan.groups.map(() => Promise.withResolvers<ScoredGroup>());
    // A failure is reported by whoever waits; nobody may wait any more after an abort.
    for (const { promise } of [...this.#groups, this.#quorum]) promise.catch(() => undefined);
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
    if (pictures.length < this.#rolloutsOf(groupIndex).length) return;
    this.#pictures.delete(groupIndex);
    this.#scoring.push(this.#start(groupIndex, pictures).catch((error: unknown) => this.#fail(error)));
  }

  /** All groups; waits for the slowest scorer and for the quorum. */
  async scored(): Promise<ScoredGroup[]> {
    await this.quorum();
    return Promise.all(this.#groups.map((group) => group.promise));
  }

  /**
   * Resolves when all groups are scored and enough rollouts have a reward to train on.
   *
   * @throws StarError when they have not, with the reason of the most frequent failure
   */
  async quorum(): Promise<void> {
    await this.#quorum.promise;
  }

  /** Waits until no scorer works for this stage any more, whatever came of it. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#scoring);
  }

  /**
   * Advantages of one group. Those of a weighted sum with `standardDeviation: group` are there as soon as the group is done,
   * all others when all groups are.
   */
  async advantages(groupIndex: number): Promise<GroupAdvantages> {
    const { advantages, reward } = this.input.recipe;
    if (reward.combination === 'weighted_sum' && advantages.standardDeviation === 'group') {
      const { rewards } = await (this.#groups[groupIndex] as PromiseWithResolvers<ScoredGroup>).promise;
      return groupAdvantages(rewardNumbers(rewards), advantages.clip);
    }
    this.#allAdvantages ??= this.scored().then((groups) =>
      rewardAdvantages(
        groups.map(({ rewards }) => rewards),
        advantageSettings(this.input.recipe),
      ),
    );
    return (await this.#allAdvantages)[groupIndex] as GroupAdvantages;
  }

  async #start(groupIndex: number, pictures: readonly Uint8Array[]): Promise<void> {
    const { plan, scorer, signal } = this.input;
    const prompt = plan.groups[groupIndex]?.prompt as ScoreRequest['prompt'];
    const requests = this.#rolloutsOf(groupIndex).map(({ rolloutId }, index): ScoreRequest => {
      return { rolloutId, prompt, image: pictures[index] as Uint8Array };
    });
    const group = this.#rewarded(await scorer.score(requests, signal));
    const result: GroupResult = { group, requests };
    this.#results.set(groupIndex, result);
    if (!group.rewards.some(({ kind }) => kind === 'missing')) this.#finish(groupIndex, result);
    if (this.#results.size === this.#groups.length) await this.#reachQuorum();
  }

  async #reachQuorum(): Promise<void> {
    const { recipe, plan, clock, signal, endRun } = this.input;
    const { quorum } = recipe.reward;
    for (let retry = 1; retry <= quorum.retries && this.#canImprove(); retry += 1) {
      this.#report(retry);
      await pause(clock, quorum.pauseMs, signal);
      await Promise.all([...this.#results.values()].map((result) => this.#scoreAgain(result)));
    }
    if (!isReached(this.#rewards(), quorum.share)) {
      const failure = quorumFailure(plan.iteration, this.#rewards(), quorum.share);
      if (quorum.action === 'hold') endRun('STOPPED', failure);
      throw failure;
    }
    for (const [index, result] of this.#results) this.#finish(index, result);
    this.#quorum.resolve();
  }

  #canImprove(): boolean {
    const rewards = this.#rewards();
    return !isReached(rewards, this.input.recipe.reward.quorum.share) && rewards.some(mayBeScoredAgain);
  }

  async #scoreAgain(result: GroupResult): Promise<void> {
    const { rewards } = result.group;
    const again = (result.requests ?? []).map((_, index) => index).filter((index) => mayBeScoredAgain(rewards[index]));
    if (again.length === 0) return;
    const requests = again.map((index) => result.requests?.[index] as ScoreRequest);
    const scores = await this.input.scorer.score(requests, this.input.signal);
    const renewed = new Map(again.map((index, place) => [index, scores[place]]));
    result.group = this.#rewarded(result.group.scores.map((each, index) => renewed.get(index) ?? each));
  }

  #finish(groupIndex: number, result: GroupResult): void {
    if (result.requests === null) return;
    this.input.onGroupScored(result.requests, result.group);
    result.requests = null;
    this.#groups[groupIndex]?.resolve(result.group);
  }

  #rewarded(scores: ScoredGroup['scores']): ScoredGroup {
    return { scores, rewards: groupRewards(scores, this.input.recipe.reward.components) };
  }

  #report(retry: number): void {
    const { runId, plan, telemetry } = this.input;
    const share = rewardShare(this.#rewards());
    telemetry.event('reward.quorum_missed', { runId, iteration: plan.iteration, retry, share });
  }

  #rewards(): Reward[] {
    return [...this.#results.values()].flatMap(({ group }) => group.rewards);
  }

  #rolloutsOf(groupIndex: number): RolloutPlan['groups'][number]['rollouts'] {
    return this.input.plan.groups[groupIndex]?.rollouts ?? [];
  }

  #fail(error: unknown): void {
    this.#failure = StarError.from(error);
    for (const { reject } of [...this.#groups, this.#quorum]) reject(this.#failure);
  }
}
