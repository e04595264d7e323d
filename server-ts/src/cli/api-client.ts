import { z } from 'zod';
import { ERROR_REASONS, type ErrorReason, StarError } from '../core/errors.js';
import { REWARD_VERSION_STATES } from '../core/reward-version.js';
import { RUN_STATES } from '../core/run-state.js';
import { parseEvents, type ServerEvent } from './event-parser.js';

/** Limit of one ordinary request; a report may read many files. */
const REQUEST_TIMEOUT_MS = 60_000;
/** Wait before a broken event stream is opened again. */
const RECONNECT_MS = 1_000;

const runSchema = z.object({
  runId: z.string(),
  name: z.string(),
  state: z.enum(RUN_STATES),
  completedIterations: z.number(),
  iterations: z.number(),
  checkpointVersion: z.number(),
  createdAt: z.string(),
  updatedAt: z.string(),
  failure: z.string().nullable(),
  recipe: z.object({ evaluation: z.object({ every: z.number() }) }).loose(),
});

/** A run as the API shows it. */
export type RunView = z.infer<typeof runSchema>;

const spreadSchema = z.object({ mean: z.number(), standardDeviation: z.number() }).nullable();
const comparisonSchema = z.object({
  groupCount: z.number(),
  pictureCount: z.number(),
  missingBefore: z.number(),
  missingAfter: z.number(),
  before: spreadSchema,
  after: spreadSchema,
  agreement: z.number().nullable(),
  flipped: z.number().nullable(),
  rankedGroupCount: z.number(),
  spearman: z.number().nullable(),
  kendall: z.number().nullable(),
});
const componentSchema = z.object({
  name: z.string(),
  scorer: z.string(),
  bundle: z.string().nullable(),
  value: z.string(),
  weight: z.number(),
});
const rewardVersionSchema = z.object({
  version: z.number(),
  reward: z.object({ components: z.array(componentSchema.loose()) }).loose(),
  state: z.enum(REWARD_VERSION_STATES),
  effectiveIteration: z.number().nullable(),
  rollbackOf: z.number().nullable(),
  author: z.string(),
  stagedAt: z.string(),
  failure: z.string().nullable(),
  shadow: comparisonSchema.loose().nullable(),
});
const rewardSchema = z.object({
  runId: z.string(),
  inEffect: rewardVersionSchema,
  pending: rewardVersionSchema.nullable(),
  versions: z.array(rewardVersionSchema),
});

/** A run's reward as the API shows it. */
export type RewardView = z.infer<typeof rewardSchema>;
/** One version of it. */
export type RewardVersionView = z.infer<typeof rewardVersionSchema>;
/** How far two rewards agree. */
export type RewardComparisonView = z.infer<typeof comparisonSchema>;

const metricsSchema = z.object({
  metrics: z.array(z.object({ iteration: z.number(), name: z.string(), value: z.number() })),
});
const reportSchema = z.object({ path: z.string() });
const historySchema = z.object({
  evaluation: z.object({ history: z.array(z.object({ accuracy: z.number().nullable() })) }),
});
const problemSchema = z.object({ reason: z.string(), detail: z.string() });

/** The HTTP API as methods. Every method throws the StarError that the server reported. */
export class ApiClient {
  /** @param url for example `http://127.0.0.1:8080` */
  constructor(readonly url: string) {}

  async createRun(recipeText: string): Promise<RunView> {
    const headers = { 'content-type': 'application/yaml' };
    return runSchema.parse(await this.request('/v1/runs', { method: 'POST', headers, body: recipeText }));
  }

  async listRuns(): Promise<RunView[]> {
    return z.object({ runs: z.array(runSchema) }).parse(await this.request('/v1/runs')).runs;
  }

  async getRun(runId: string): Promise<RunView> {
    return runSchema.parse(await this.request(runPath(runId)));
  }

  async stopRun(runId: string): Promise<RunView> {
    return runSchema.parse(await this.request(`${runPath(runId)}/stop`, { method: 'POST' }));
  }

  async resumeRun(runId: string): Promise<RunView> {
    return runSchema.parse(await this.request(`${runPath(runId)}/resume`, { method: 'POST' }));
  }

  /** The reward in effect, the one that waits, and all versions. */
  async reward(runId: string): Promise<RewardView> {
    return rewardSchema.parse(await this.request(`${runPath(runId)}/reward`));
  }

  /** @param rewardText YAML or JSON */
  async stageReward(runId: string, rewardText: string, author: string): Promise<RewardView> {
    const headers = { 'content-type': 'application/yaml' };
    const path = `${runPath(runId)}/reward?author=${encodeURIComponent(author)}`;
    return rewardSchema.parse(await this.request(path, { method: 'PUT', headers, body: rewardText }));
  }

  /** Undoes the last change of the reward. */
  async rollBackReward(runId: string, author: string): Promise<RewardView> {
    const path = `${runPath(runId)}/reward/rollback?author=${encodeURIComponent(author)}`;
    return rewardSchema.parse(await this.request(path, { method: 'POST' }));
  }

  /** Metric points, ordered by name and iteration. */
  async metrics(runId: string): Promise<z.infer<typeof metricsSchema>['metrics']> {
    return metricsSchema.parse(await this.request(`${runPath(runId)}/metrics`)).metrics;
  }

  /** Writes the report files. @returns absolute path of report.html on the server's machine */
  async writeReport(runId: string): Promise<string> {
    return reportSchema.parse(await this.request(`${runPath(runId)}/report`, { method: 'POST' })).path;
  }

  /** Strict accuracy of the last evaluation, 0..1; null: none yet. */
  async lastAccuracy(runId: string): Promise<number | null> {
    return historySchema.parse(await this.report(runId)).evaluation.history.at(-1)?.accuracy ?? null;
  }

  /** Content of report.json. */
  report(runId: string): Promise<unknown> {
    return this.request(`${runPath(runId)}/report.json`);
  }

  /** Live events until the signal aborts; a broken connection is opened again after the last event seen. */
  async *events(runId: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    let lastId = 0;
    while (!signal.aborted) {
      try {
        const response = await fetch(`${this.url}${runPath(runId)}/events?after=${lastId}`, { signal });
        if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
        for await (const event of parseEvents(response.body.pipeThrough(new TextDecoderStream()))) {
          lastId = event.id;
          yield event;
        }
      } catch {
        // The run goes on without its view; the caller learns of the end by asking for the state.
      }
      await delay(RECONNECT_MS, signal);
    }
  }

  private async request(path: string, init: RequestInit = {}): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(`${this.url}${path}`, { ...init, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    } catch (error) {
      const message = `no control plane answers at ${this.url}; start one with \`star up\` or leave out --server`;
      throw new StarError('NOT_FOUND', message, {}, error);
    }
    const body: unknown = await response.json().catch(() => null);
    if (response.ok) return body;
    throw toError(body, response.status);
  }
}

function runPath(runId: string): string {
  return `/v1/runs/${encodeURIComponent(runId)}`;
}

function toError(body: unknown, status: number): StarError {
  const problem = problemSchema.safeParse(body);
  if (!problem.success) return new StarError('INTERNAL', `the server answered with HTTP status ${status}`);
  const known = ERROR_REASONS.find((reason): reason is ErrorReason => reason === problem.data.reason);
  return new StarError(known ?? 'INTERNAL', problem.data.detail);
}

/** Waits, or returns at once on abort. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    signal.addEventListener('abort', finish);
  });
}
