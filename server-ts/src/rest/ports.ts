import type { ArtifactStore, RunStore, StoredRewardVersion, StoredRun } from '../pipeline/ports.js';

/** What HTTP clients may do with runs. Implemented in `main.ts` over the run controller. */
export interface RunService {
  /**
   * Creates a run and queues it.
   *
   * @param recipeText YAML or JSON
   * @throws StarError RECIPE_INVALID, PROMPT_INVALID; STATE_CONFLICT while the control plane is stopping
   */
  create(recipeText: string): Promise<StoredRun>;
  /** Asks a run to stop after a checkpoint. @throws StarError NOT_FOUND, STATE_CONFLICT */
  stop(runId: string): Promise<StoredRun>;
  /** Queues a stopped or failed run from its last checkpoint. @throws StarError NOT_FOUND, STATE_CONFLICT */
  resume(runId: string): Promise<StoredRun>;
  /**
   * Stages another reward; it is loaded and shadow-scored while the run goes on, and takes effect at an iteration boundary.
   *
   * @param rewardText content of a recipe's `reward`, YAML or JSON
   * @returns all versions of the run's reward, the staged one last
   * @throws StarError NOT_FOUND, RECIPE_INVALID; STATE_CONFLICT for a run that has succeeded
   */
  stageReward(runId: string, rewardText: string, author: string): Promise<StoredRewardVersion[]>;
  /**
   * Undoes the last change: withdraws a staged reward, else stages the one before.
   *
   * @throws StarError NOT_FOUND, STATE_CONFLICT
   */
  rollBackReward(runId: string, author: string): Promise<StoredRewardVersion[]>;
}

/** Live events; `telemetry/event-feed.ts` fits. */
export interface LiveEvents {
  subscribe(
    runId: string | null,
    afterId: number,
    listener: (event: {
      readonly id: number;
      readonly runId: string | null;
      readonly name: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }) => void,
  ): () => void;
}

/** State of the control plane, for people and for `star status`-like views. */
export interface SystemStatus {
  readonly version: string;
  readonly startedAt: string;
  /** Null: none is connected. */
  readonly worker: { readonly workerId: string; readonly device: string } | null;
  /** Address that workers dial; null: only stored runs are served. */
  readonly grpcAddress: string | null;
  /** Run at hand, or null. */
  readonly activeRunId: string | null;
}

/** Scorer bundles; `scoring/bundle/bundle-store.ts` fits. */
export interface ScorerBundles {
  /** All that a recipe can name, and folders that look like a bundle and are none. */
  list(): Promise<object>;
  /** @throws StarError SCORER_NOT_LOADABLE for an unknown reference */
  find(reference: string): Promise<object>;
}

/** Everything that the HTTP edge needs. */
export interface RestServices {
  readonly runs: RunService;
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
  readonly scorers: ScorerBundles;
  readonly events: LiveEvents;
  readonly status: () => SystemStatus;
  readonly exposeMetrics: () => Promise<{ contentType: string; text: string }>;
  /** Builds the report of a run, as a page, from what is stored now. */
  readonly reportHtml: (runId: string) => Promise<string>;
  /** The same as JSON, without pictures. */
  readonly reportJson: (runId: string) => Promise<string>;
  /** Writes the report files of a run. @returns absolute path of report.html */
  readonly writeReport: (runId: string) => Promise<string>;
  /** Receives errors that clients see only as INTERNAL, with the id that the client got. */
  readonly logError: (errorId: string, error: unknown) => void;
}
