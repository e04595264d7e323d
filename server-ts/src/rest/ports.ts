import type { ArtifactStore, RunStore, StoredRun } from '../pipeline/ports.js';

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

/** Everything that the HTTP edge needs. */
export interface RestServices {
  readonly runs: RunService;
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
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
