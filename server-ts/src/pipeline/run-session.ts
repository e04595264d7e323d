import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import type { MetricHistory } from '../core/reward-monitors.js';
import type { ExportOutcome, PreparedModel, PromptRecord } from '../core/types.js';
import type { Clock } from './clock.js';
import { runEvaluation } from './evaluation.js';
import { runIteration } from './iteration.js';
import type {
  ArtifactStore,
  EndRun,
  MetricPoint,
  RewardScorerFactory,
  RunStore,
  StoredRun,
  TaskContext,
  Telemetry,
  Trainer,
} from './ports.js';
import { RewardSwap } from './reward-swap.js';

/** Artifacts beside pictures and maps. */
export const MODEL_PATH = 'model.json';
export const EXPORT_PATH = 'export.json';

/** Losses of the worker in a row without a new checkpoint that end a run. */
const MOST_LOSSES = 3;

/** What runs work with. */
export interface RunServices {
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
  readonly trainer: Trainer;
  readonly createScorer: RewardScorerFactory;
  /** Reads the prompt files of a recipe. @throws StarError PROMPT_INVALID */
  readonly loadPrompts: (recipe: Recipe) => Promise<{ train: PromptRecord[]; evaluation: PromptRecord[] }>;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  /** Called when a run has everything for its report, before it is SUCCEEDED; its failure does not fail the run. */
  readonly onFinished: (run: StoredRun, model: PreparedModel, exported: ExportOutcome) => Promise<void>;
}

/** What people want of a run that is under way. */
export interface RunRequests {
  /** Aborts at once; its reason is a StarError where the run has to fail, and CANCELLED where it was stopped. */
  readonly signal: AbortSignal;
  /** True: end after the iteration at hand, with a checkpoint. */
  readonly stopping: () => boolean;
  readonly endRun: EndRun;
  /** Told whether the run is inside an iteration: elsewhere a stop need not wait. */
  readonly insideIteration: (inside: boolean) => void;
  /** Takes what is to be called after every change of the run's staged reward. */
  readonly onRewardChange: (listener: () => void) => void;
}

/** How a run came to its end without an error. */
export type RunEnd = 'SUCCEEDED' | 'STOPPED';

/**
 * Carries out a run from its last checkpoint to its end. A lost worker sends it back to that checkpoint; what was computed
 * since is computed again, with the same result.
 *
 * @throws StarError WORKER_LOST after three losses without a new checkpoint; CANCELLED on abort; any other failure as it is
 */
export async function carryOutRun(services: RunServices, runId: string, requests: RunRequests): Promise<RunEnd> {
  const { recipe } = services.store.getRun(runId);
  const prompts = await services.loadPrompts(recipe);
  const rewards = await RewardSwap.start(services, runId, requests.signal);
  requests.onRewardChange(() => rewards.takeUp());
  try {
    const session = new RunSession(services, runId, requests, rewards, prompts);
    return await untilWorkerStays(services, runId, () => session.fromCheckpoint());
  } finally {
    await rewards.close();
  }
}

async function untilWorkerStays(services: RunServices, runId: string, attempt: () => Promise<RunEnd>): Promise<RunEnd> {
  let losses = 0;
  for (;;) {
    const { checkpointVersion } = services.store.getRun(runId);
    try {
      return await attempt();
    } catch (error) {
      const failure = StarError.from(error);
      if (failure.reason !== 'WORKER_LOST') throw failure;
      const reached = services.store.getRun(runId).checkpointVersion;
      losses = reached > checkpointVersion ? 1 : losses + 1;
      const fields = { runId, losses, checkpointVersion: reached, message: failure.message };
      services.telemetry.event('run.worker_lost', fields);
      if (losses >= MOST_LOSSES) {
        const message = `the worker was lost ${losses} times without a new checkpoint; last: ${failure.message}`;
        throw new StarError('WORKER_LOST', message, { runId }, failure);
      }
    }
  }
}

/** One run with everything that it holds while it is under way. */
class RunSession {
  readonly #recipe: Recipe;

  constructor(
    private readonly services: RunServices,
    private readonly runId: string,
    private readonly requests: RunRequests,
    private readonly rewards: RewardSwap,
    private readonly prompts: { readonly train: PromptRecord[]; readonly evaluation: PromptRecord[] },
  ) {
    this.#recipe = services.store.getRun(runId).recipe;
  }

  async fromCheckpoint(): Promise<RunEnd> {
    const model = await this.#prepare();
    let completed = model.policyVersion;
    await this.#evaluateIfDue(completed);
    while (completed < this.#recipe.iterations && !this.requests.stopping()) {
      await this.#iterate(completed, model);
      completed += 1;
      if (!this.requests.stopping()) await this.#evaluateIfDue(completed);
    }
    if (completed < this.#recipe.iterations || this.requests.stopping()) return 'STOPPED';
    await this.#finish(completed, model);
    return 'SUCCEEDED';
  }

  async #prepare(): Promise<PreparedModel> {
    const { store, trainer, telemetry, artifacts } = this.services;
    telemetry.event('run.waiting_for_worker', { runId: this.runId });
    const { workerId } = await trainer.ready(this.requests.signal);
    const { checkpointVersion } = store.getRun(this.runId);
    store.rewind(this.runId, checkpointVersion);
    telemetry.event('run.preparing', { runId: this.runId, workerId, policyVersion: checkpointVersion });
    const model = await trainer.prepare(this.#context(checkpointVersion), this.#recipe);
    await artifacts.put(this.runId, MODEL_PATH, json(model));
    return model;
  }

  async #iterate(iteration: number, model: PreparedModel): Promise<void> {
    const { runId, services, requests, rewards } = this;
    const reward = await rewards.at(iteration);
    requests.insideIteration(true);
    try {
      const last = iteration === this.#recipe.iterations - 1;
      const record = await runIteration({
        ...services,
        runId,
        recipe: reward.recipe,
        rewardVersion: reward.version,
        iteration,
        prompts: this.prompts.train,
        model,
        forceCheckpoint: () => last || requests.stopping(),
        history: () => historyOf(services.store.metrics(runId), iteration),
        endRun: requests.endRun,
        scorer: reward.scorer,
        onGroupScored: rewards.observe,
        signal: requests.signal,
      });
      services.store.commitIteration(record);
      services.telemetry.metrics(runId, iteration, record.metrics);
      for (const [phase, seconds] of Object.entries(record.seconds)) {
        services.telemetry.event('phase.completed', { runId, iteration, phase, seconds });
      }
      services.telemetry.event('iteration.completed', { runId, iteration, iterations: this.#recipe.iterations });
    } finally {
      requests.insideIteration(false);
    }
  }

  /** Before the run, after it, and every n-th iteration; one that is stored already is not repeated. */
  async #evaluateIfDue(policyVersion: number): Promise<void> {
    const { store, telemetry } = this.services;
    const { every } = this.#recipe.evaluation;
    const between = every > 0 && policyVersion % every === 0;
    if (policyVersion !== 0 && policyVersion !== this.#recipe.iterations && !between) return;
    if (store.evaluations(this.runId).some((record) => record.policyVersion === policyVersion)) return;
    telemetry.event('evaluation.started', { runId: this.runId, policyVersion });
    const record = await this.rewards.withRecipeScorer((scorer) =>
      runEvaluation({
        ...this.services,
        context: this.#context(policyVersion),
        recipe: this.#recipe,
        prompts: this.prompts.evaluation,
        scorer,
      }),
    );
    store.commitEvaluation(record);
    telemetry.event('evaluation.completed', { runId: this.runId, policyVersion, pictures: record.items.length });
  }

  async #finish(policyVersion: number, model: PreparedModel): Promise<void> {
    const { store, trainer, artifacts, telemetry } = this.services;
    const exported = await trainer.export(this.#context(policyVersion));
    await artifacts.put(this.runId, EXPORT_PATH, json(exported));
    try {
      await this.services.onFinished({ ...store.getRun(this.runId), state: 'SUCCEEDED' }, model, exported);
    } catch (error) {
      telemetry.event('report.failed', { runId: this.runId, message: StarError.from(error).message });
    }
  }

  #context(policyVersion: number): TaskContext {
    const { runId, services } = this;
    return {
      runId,
      iteration: policyVersion,
      policyVersion,
      signal: this.requests.signal,
      onProgress: (phase, fraction) =>
        services.telemetry.event('run.progress', { runId, iteration: policyVersion, phase, fraction }),
    };
  }
}

/** Metrics by iteration, of the iterations before one. */
function historyOf(points: readonly MetricPoint[], before: number): MetricHistory {
  const history = Array.from({ length: before }, (): Record<string, number> => ({}));
  for (const { iteration, name, value } of points) Object.assign(history[iteration] ?? {}, { [name]: value });
  return history;
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value, null, 2));
}
