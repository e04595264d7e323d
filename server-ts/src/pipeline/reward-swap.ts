import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { mayTakeEffect, pendingVersion, versionAt } from '../core/reward-version.js';
import type { RewardScorer, ScoreRequest, StoredRewardEvent, StoredRewardVersion } from './ports.js';
import type { ScoredGroup } from './reward-stage.js';
import type { RunServices } from './run-session.js';
import { comparisonFields, type ObservedGroup, shadowComparison } from './shadow-scoring.js';

/** What judges one iteration, from its first picture to its last. */
export interface RewardInEffect {
  readonly version: number;
  /** The run's recipe with the reward of this version. */
  readonly recipe: Recipe;
  readonly scorer: RewardScorer;
}

/** The version that waits, with everything that works for it. */
interface StagedReward {
  readonly version: StoredRewardVersion;
  readonly recipe: Recipe;
  /** Ends loading and shadow scoring. */
  readonly abort: AbortController;
  readonly scorer: Promise<RewardScorer>;
  /** Groups of the iteration at hand since it was staged; null: they are all there. */
  observed: ObservedGroup[] | null;
}

type SwapServices = Pick<RunServices, 'store' | 'createScorer' | 'telemetry'>;

/**
 * The reward of one run while it is under way. A staged reward is loaded beside the one in effect, scores the pictures of one
 * iteration after it at low priority, and takes effect at the next boundary at which all of that is done: the run never waits
 * for it. An iteration that is computed again has the version that it had.
 */
export class RewardSwap {
  #inEffect: RewardInEffect | null = null;
  #staged: StagedReward | null = null;
  #iteration = 0;
  /** Groups of the iteration at hand that have their rewards. */
  #scoredGroups = 0;
  readonly #closing: Promise<unknown>[] = [];

  private constructor(
    private readonly services: SwapServices,
    private readonly runId: string,
    private readonly recipe: Recipe,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Loads the reward of the next iteration, and begins to load one that was staged before the run was interrupted.
   *
   * @throws StarError as the scorers do
   */
  static async start(services: SwapServices, runId: string, signal: AbortSignal): Promise<RewardSwap> {
    const { recipe, checkpointVersion } = services.store.getRun(runId);
    const swap = new RewardSwap(services, runId, recipe, signal);
    await swap.#load(versionAt(services.store.rewardVersions(runId), checkpointVersion));
    swap.#advance({ kind: 'restarted' });
    swap.takeUp();
    return swap;
  }

  /** Follows the store: begins to load what was staged, drops what was withdrawn. */
  takeUp(): void {
    const version = pendingVersion(this.services.store.rewardVersions(this.runId));
    if (version?.version === this.#staged?.version.version) return;
    this.#dropStaged();
    if (version === null) return;
    const abort = new AbortController();
    const recipe = { ...this.recipe, reward: version.reward };
    const scorer = this.services.createScorer(recipe, AbortSignal.any([this.signal, abort.signal]));
    this.#staged = { version, recipe, abort, scorer, observed: [] };
    this.#event('reward.staged', { version: version.version, author: version.author });
    this.#inBackground(this.#check(this.#staged));
  }

  /**
   * The reward of an iteration that is about to begin: the one place where a staged reward takes effect.
   *
   * @throws StarError as the scorers do, when an iteration is computed again under a reward that has to be loaded again
   */
  async at(iteration: number): Promise<RewardInEffect> {
    this.#iteration = iteration;
    this.#scoredGroups = 0;
    // Groups that are not all there belong to an iteration that broke off.
    if (this.#staged?.observed) this.#staged.observed = [];
    const lineage = this.services.store.rewardVersions(this.runId);
    if (this.#staged !== null && mayTakeEffect(lineage, iteration)) return this.#activate(this.#staged, iteration);
    return this.#load(versionAt(lineage, iteration));
  }

  /**
   * Told of every group of an iteration that has its rewards. With the last one the staged reward begins to score the same
   * pictures: then nobody waits for scores any more, and the worker updates.
   */
  readonly observe = (requests: readonly ScoreRequest[], inEffect: ScoredGroup): void => {
    this.#scoredGroups += 1;
    const staged = this.#staged;
    if (staged === null || staged.observed === null || staged.version.rollbackOf !== null) return;
    staged.observed.push({ requests, inEffect });
    if (this.#scoredGroups === this.recipe.prompts.groupsPerIteration) {
      this.#inBackground(this.#shadow(staged, staged.observed));
    }
  };

  /**
   * Lends the scorer of the recipe's own reward. Evaluations are always judged by it: before and after stay comparable
   * whatever happens to the reward in between.
   */
  async withRecipeScorer<T>(work: (scorer: RewardScorer) => Promise<T>): Promise<T> {
    if (this.#inEffect?.version === 1) return work(this.#inEffect.scorer);
    const scorer = await this.services.createScorer(this.recipe, this.signal);
    try {
      return await work(scorer);
    } finally {
      await scorer.close();
    }
  }

  /** Ends all processes. What is staged stays staged in the store. */
  async close(): Promise<void> {
    this.#dropStaged();
    this.#retire();
    await Promise.all(this.#closing);
  }

  async #load(version: StoredRewardVersion): Promise<RewardInEffect> {
    if (this.#inEffect?.version === version.version) return this.#inEffect;
    const recipe = { ...this.recipe, reward: version.reward };
    this.#retire();
    const scorer = await this.services.createScorer(recipe, this.signal);
    this.#inEffect = { version: version.version, recipe, scorer };
    return this.#inEffect;
  }

  async #activate(staged: StagedReward, iteration: number): Promise<RewardInEffect> {
    const { version } = staged.version;
    this.#advance({ kind: 'activated', version, iteration });
    this.#staged = null;
    this.#retire();
    this.#inEffect = { version, recipe: staged.recipe, scorer: await staged.scorer };
    this.#event('reward.activated', { version, iteration });
    return this.#inEffect;
  }

  /** The iteration before is over: nothing scores with it any more. */
  #retire(): void {
    if (this.#inEffect !== null) this.#closeLater(Promise.resolve(this.#inEffect.scorer));
    this.#inEffect = null;
  }

  #dropStaged(): void {
    const staged = this.#staged;
    this.#staged = null;
    staged?.abort.abort(new StarError('CANCELLED', 'the staged reward was withdrawn'));
    if (staged !== null) this.#closeLater(staged.scorer);
  }

  /** Nobody waits for it before the end of the run. One that could not be loaded has nothing to close. */
  #closeLater(scorer: Promise<RewardScorer>): void {
    this.#closing.push(scorer.then((loaded) => loaded.close()).catch(() => undefined));
  }

  /** The run goes on when the store refuses what is said of a staged reward; it then waits for the next start. */
  #inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#event('reward.bookkeeping_failed', { message: StarError.from(error).message });
    });
  }

  async #check(staged: StagedReward): Promise<void> {
    try {
      await staged.scorer;
      if (this.#staged === staged) this.#advance({ kind: 'checked', version: staged.version.version });
      if (this.#staged === staged) this.#event('reward.checked', { version: staged.version.version });
    } catch (error) {
      this.#refuse(staged, error);
    }
  }

  async #shadow(staged: StagedReward, observed: readonly ObservedGroup[]): Promise<void> {
    staged.observed = null;
    const { version } = staged.version;
    const inEffect = this.#inEffect?.recipe ?? this.recipe;
    const iteration = this.#iteration;
    try {
      const shadow = await shadowComparison(observed, { ...staged, inEffect, iteration });
      if (this.#staged !== staged) return;
      this.#advance({ kind: 'shadowed', version, shadow });
      this.#event('reward.shadowed', { version, ...comparisonFields(shadow) });
    } catch (error) {
      this.#refuse(staged, error);
    }
  }

  #refuse(staged: StagedReward, error: unknown): void {
    if (this.#staged !== staged || this.signal.aborted) return;
    const { reason, message } = StarError.from(error);
    const { version } = staged.version;
    this.#advance({ kind: 'refused', version, failure: `${reason}: ${message}` });
    this.#event('reward.refused', { version, reason, message });
    this.#dropStaged();
  }

  #advance(event: StoredRewardEvent): void {
    this.services.store.advanceReward(this.runId, event);
  }

  #event(name: string, fields: Readonly<Record<string, string | number | null>>): void {
    this.services.telemetry.event(name, { runId: this.runId, ...fields });
  }
}
