import type { Recipe } from '../config/recipe.js';
import { StarError } from '../core/errors.js';
import { isFinal, type RunState } from '../core/run-state.js';
import type { StoredRewardVersion, StoredRun } from './ports.js';
import { carryOutRun, type RunServices } from './run-session.js';

/** The run under way. */
interface ActiveRun {
  readonly runId: string;
  readonly abort: AbortController;
  stopping: boolean;
  insideIteration: boolean;
  rewardChanged: () => void;
  /** Asked for by the run itself; the first one counts. */
  ending: { readonly state: 'STOPPED' | 'FAILED'; readonly error: StarError } | null;
}

/** What people may do to the reward of a run. */
export type RewardChange =
  | { readonly kind: 'staged'; readonly reward: Recipe['reward']; readonly author: string }
  | { readonly kind: 'rolledBack'; readonly author: string };

/** Runs looked through at start for ones that a crash left behind. */
const MOST_RUNS_TO_TAKE_UP = 1000;

/** Works through queued runs, one after the other: there is one worker. */
export class RunController {
  readonly #queue: string[] = [];
  #active: ActiveRun | null = null;
  #closed = false;
  #work: Promise<void> = Promise.resolve();

  constructor(private readonly services: RunServices) {}

  /** The run under way; null: none. */
  get activeRunId(): string | null {
    return this.#active?.runId ?? null;
  }

  /** Takes up what an earlier process left behind: queued and running runs go on, one that was stopping is stopped. */
  start(): void {
    const { store } = this.services;
    for (const { runId, state, failure } of store.listRuns(MOST_RUNS_TO_TAKE_UP).reverse()) {
      if (state === 'STOPPING') store.setState(runId, 'STOPPED', failure ?? undefined);
      if (state === 'RUNNING') store.setState(runId, 'QUEUED');
      if (state === 'RUNNING' || state === 'QUEUED') this.#enqueue(runId);
    }
  }

  /** Queues a run that was just created. @throws StarError NOT_FOUND; STATE_CONFLICT when it is not QUEUED */
  submit(runId: string): void {
    const { state } = this.services.store.getRun(runId);
    if (state !== 'QUEUED' || this.#queue.includes(runId) || this.#closed) {
      throw new StarError('STATE_CONFLICT', `run ${runId} cannot be queued: ${this.#closed ? 'closing' : state}`, {
        runId,
      });
    }
    this.#enqueue(runId);
  }

  /**
   * Asks a run to stop. Inside an iteration it finishes that one with a checkpoint first; a second request stops it at
   * once, and what was computed since the last checkpoint is computed again on resume.
   *
   * @throws StarError NOT_FOUND; STATE_CONFLICT when it has ended already
   */
  stop(runId: string): StoredRun {
    const { store } = this.services;
    const active = this.#active;
    if (active?.runId !== runId) {
      const stopped = store.setState(runId, 'STOPPED');
      this.#queue.splice(0, Infinity, ...this.#queue.filter((queued) => queued !== runId));
      return stopped;
    }
    if (active.stopping || !active.insideIteration) active.abort.abort(stopped());
    if (active.stopping) return store.getRun(runId);
    active.stopping = true;
    return store.setState(runId, 'STOPPING');
  }

  /** Queues a stopped or failed run from its last checkpoint. @throws StarError NOT_FOUND, STATE_CONFLICT */
  resume(runId: string): StoredRun {
    const run = this.services.store.getRun(runId);
    if (run.state !== 'STOPPED' && run.state !== 'FAILED') {
      throw new StarError('STATE_CONFLICT', `run ${runId} is ${run.state}; only stopped and failed runs are resumed`, {
        runId,
      });
    }
    const queued = this.services.store.setState(runId, 'QUEUED');
    this.#enqueue(runId);
    return queued;
  }

  /**
   * Stages a reward, or undoes the last change: a staged reward is withdrawn, else the one before the reward in effect is
   * staged. It takes effect at the boundary of an iteration that has not begun. Runs that wait or were stopped take it up later.
   *
   * @throws StarError NOT_FOUND; STATE_CONFLICT when the run has succeeded, or there is nothing to go back to
   */
  changeReward(runId: string, change: RewardChange): StoredRewardVersion[] {
    const { state, completedIterations } = this.services.store.getRun(runId);
    if (state === 'SUCCEEDED') {
      throw new StarError('STATE_CONFLICT', `run ${runId} has ended; compare rewards on it with \`star rescore\``, {
        runId,
      });
    }
    const active = this.#active?.runId === runId ? this.#active : null;
    const earliestIteration = completedIterations + Number(active?.insideIteration ?? false);
    const versions = this.services.store.advanceReward(runId, { ...change, earliestIteration });
    active?.rewardChanged();
    return versions;
  }

  /** Ends the run under way with an error, for example when no worker can be started any more. */
  failActive(error: StarError): void {
    this.#active?.abort.abort(error);
  }

  /** Stops at once; the run under way is queued again for the next start. Resolves when nothing works any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#queue.length = 0;
    this.#active?.abort.abort(stopped());
    await this.#work;
  }

  /** Resolves when the queue is empty. */
  async idle(): Promise<void> {
    await this.#work;
  }

  #enqueue(runId: string): void {
    this.#queue.push(runId);
    this.#work = this.#work
      .then(() => this.#next())
      .catch((error: unknown) => {
        // The store refused: the state of the run cannot be told there, and the next run must not wait for it.
        this.services.telemetry.event('run.bookkeeping_failed', { runId, message: StarError.from(error).message });
      });
  }

  async #next(): Promise<void> {
    const runId = this.#queue.shift();
    if (runId === undefined || this.#closed) return;
    const active: ActiveRun = {
      runId,
      abort: new AbortController(),
      stopping: false,
      insideIteration: false,
      rewardChanged: () => undefined,
      ending: null,
    };
    this.#active = active;
    this.services.store.setState(runId, 'RUNNING');
    this.services.telemetry.event('run.started', { runId });
    try {
      const end = await carryOutRun(this.services, runId, {
        signal: active.abort.signal,
        stopping: () => active.stopping,
        endRun: (state, error) => this.#endAfterIteration(active, state, error),
        insideIteration: (inside) => {
          active.insideIteration = inside;
        },
        onRewardChange: (listener) => {
          active.rewardChanged = listener;
        },
      });
      const { ending } = active;
      if (ending === null) this.#end(runId, end);
      else this.#end(runId, ending.state, textOf(ending.error));
    } catch (error) {
      this.#endByError(active, error);
    } finally {
      this.#active = null;
    }
  }

  /** Like `stop`, asked for by the run itself; the reason is stored at once, so that a crash does not lose it. */
  #endAfterIteration(active: ActiveRun, state: 'STOPPED' | 'FAILED', error: StarError): void {
    active.ending ??= { state, error };
    if (active.stopping) return;
    active.stopping = true;
    this.services.store.setState(active.runId, 'STOPPING', textOf(error));
  }

  #endByError(active: ActiveRun, error: unknown): void {
    const aborted = active.abort.signal.aborted;
    const failure = aborted ? StarError.from(active.abort.signal.reason) : StarError.from(error);
    if (failure === active.ending?.error) this.#end(active.runId, active.ending.state, textOf(failure));
    else if (failure.reason !== 'CANCELLED') this.#end(active.runId, 'FAILED', textOf(failure));
    else this.#end(active.runId, this.#closed && !active.stopping ? 'QUEUED' : 'STOPPED');
  }

  #end(runId: string, state: RunState, failure?: string): void {
    const run = this.services.store.setState(runId, state, failure);
    const name = isFinal(state) ? `run.${state.toLowerCase()}` : 'run.interrupted';
    this.services.telemetry.event(name, {
      runId,
      completedIterations: run.completedIterations,
      failure: failure ?? null,
    });
  }
}

function textOf({ reason, message }: StarError): string {
  return `${reason}: ${message}`;
}

function stopped(): StarError {
  return new StarError('CANCELLED', 'stopped on request');
}
