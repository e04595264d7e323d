import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServerSettings } from './config/server-settings.js';
import { StarError } from './core/errors.js';
import { acquireDataLock, type DataLock } from './local/data-lock.js';
import { loadPrompts } from './local/prompt-files.js';
import { WorkerProcess } from './local/worker-process.js';
import { systemClock } from './pipeline/clock.js';
import type { ArtifactStore, RunStore, StoredRun, Telemetry } from './pipeline/ports.js';
import { RunController } from './pipeline/run-controller.js';
import { buildReport, type ReportSources, readReportData, reportJson, writeReport } from './report/write-report.js';
import { createRestApp } from './rest/app.js';
import { listenRest } from './rest/listen.js';
import type { ScorerBundles } from './rest/ports.js';
import { startRpcServer } from './rpc/server.js';
import { WorkerTrainer } from './rpc/trainer.js';
import { createWorkerService } from './rpc/worker-service.js';
import { createRunService } from './run-service.js';
import { bundleStore } from './scorer-bundles.js';
import { ScorerHub } from './scoring/pool/scorer-hub.js';
import type { ScorerEventSink } from './scoring/pool/scorer-pool-options.js';
import { createRewardScorer } from './scoring/reward-scorer.js';
import { ArtifactFiles } from './storage/artifact-files.js';
import { openDatabase } from './storage/database.js';
import { SqliteRunStore } from './storage/sqlite-run-store.js';
import { EventFeed } from './telemetry/event-feed.js';
import { createLog, type Log } from './telemetry/log.js';
import { PrometheusMetrics } from './telemetry/prometheus.js';
import { FanOutTelemetry } from './telemetry/telemetry.js';

/** Repository root: relative paths of recipes (models, prompts, scorer bundles) start here. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const MIN_NODE_MAJOR = 24;
/** A worker says every 2 s that it is alive; after 20 s without, its task is lost. */
const HEARTBEAT_INTERVAL_MS = 2_000;
const LEASE_DURATION_MS = 20_000;

/** How a control plane is started. */
export interface ControlPlaneSettings extends ServerSettings {
  /** `serve`: goes on with runs that an earlier process left behind. `single`: marks them stopped, for one run at a time. */
  readonly leftovers: 'serve' | 'single';
  /** Start a worker on this machine. */
  readonly localWorker: boolean;
  /** Program of the worker; null: `.venv/bin/python` of the repository. */
  readonly python: string | null;
  /** Log to `<data-dir>/control-plane.log`, or to standard error. */
  readonly log: 'file' | 'stderr';
}

/** A running control plane. */
export interface ControlPlane {
  /** Address of the HTTP API. */
  readonly url: string;
  /** Address that workers dial; null: only stored runs are served. */
  readonly grpcAddress: string | null;
  /** Where scorer processes of other hosts dial in, and its public key; null: nobody can. */
  readonly scorerHub: { readonly address: string; readonly publicKey: string } | null;
  /** Absolute path. */
  readonly dataDir: string;
  /** Stops in order: no new requests, the run at hand (to be taken up again), the worker, the database. */
  stop(): Promise<void>;
}

/**
 * The first thing that every program here does.
 *
 * @param version `process.versions.node`
 * @throws StarError ARGUMENT_INVALID for a Node older than 24
 */
export function assertNodeVersion(version: string): void {
  if (Number.parseInt(version, 10) >= MIN_NODE_MAJOR) return;
  throw new StarError(
    'ARGUMENT_INVALID',
    `STAR needs Node ${MIN_NODE_MAJOR} or newer, this is ${version}; \`make setup\` installs one, and bin/star uses it`,
  );
}

/** What both kinds of control plane stand on. */
interface Foundation {
  readonly dataDir: string;
  readonly store: RunStore;
  readonly artifacts: ArtifactStore;
  readonly log: Log;
  readonly events: EventFeed;
  readonly reports: ReportSources;
  close(): Promise<void>;
}

/**
 * Starts everything in order: lock, log, database, gRPC, worker, HTTP.
 *
 * @throws StarError STATE_CONFLICT when the data folder is in use; ARGUMENT_INVALID for a port that is taken or a missing
 *   worker program; STORAGE_FAILED
 */
export async function startControlPlane(settings: ControlPlaneSettings): Promise<ControlPlane> {
  const dataDir = resolve(settings.dataDir);
  const lock = acquireDataLock(dataDir);
  const closers: (() => unknown)[] = [() => lock.release()];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const foundation = layFoundation(dataDir, settings.log);
    closers.push(() => foundation.close());
    return { ...(await startServers(settings, foundation, { lock, closers })), dataDir, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Serves stored runs over HTTP on a free port without working on them; needs no lock.
 *
 * @throws StarError STORAGE_FAILED
 */
export async function startRecords(dataDirOption: string): Promise<ControlPlane> {
  const foundation = layFoundation(resolve(dataDirOption), 'file');
  const readOnly = (): never => {
    throw new StarError('STATE_CONFLICT', 'only stored runs are served here; start a control plane with `star up`');
  };
  const app = createRestApp({
    ...restParts(foundation),
    runs: { create: readOnly, stop: readOnly, resume: readOnly, stageReward: readOnly, rollBackReward: readOnly },
    status: () => ({ ...program(), worker: null, grpcAddress: null, activeRunId: null }),
    exposeMetrics: readOnly,
  });
  const server = await listenRest(app, 0);
  const stop = async (): Promise<void> => {
    await server.close();
    await foundation.close();
  };
  return { url: server.url, grpcAddress: null, scorerHub: null, dataDir: foundation.dataDir, stop };
}

function layFoundation(dataDir: string, logTo: 'file' | 'stderr'): Foundation {
  mkdirSync(dataDir, { recursive: true });
  const file = logTo === 'file' ? createWriteStream(join(dataDir, 'control-plane.log'), { flags: 'a' }) : null;
  const database = openDatabase(join(dataDir, 'star.db'));
  const store = new SqliteRunStore(database, () => new Date().toISOString());
  const artifacts = new ArtifactFiles(join(dataDir, 'runs'));
  return {
    dataDir,
    store,
    artifacts,
    log: createLog(file ?? process.stderr, { pretty: file === null && process.stderr.isTTY === true }),
    events: new EventFeed(),
    reports: { store, artifacts, resolveModelPath, environment: { node: process.versions.node } },
    close: async () => {
      database.close();
      if (file !== null) await once(file.end(), 'finish');
    },
  };
}

/** A folder of this repository as absolute path; anything else (absolute path, hub id) as it is. */
function resolveModelPath(path: string): string {
  const local = resolve(ROOT, path);
  return existsSync(local) ? local : path;
}

async function startServers(
  settings: ControlPlaneSettings,
  foundation: Foundation,
  { lock, closers }: { readonly lock: DataLock; readonly closers: (() => unknown)[] },
): Promise<Pick<ControlPlane, 'url' | 'grpcAddress' | 'scorerHub'>> {
  const { log, events, store, dataDir } = foundation;
  const prometheus = new PrometheusMetrics(() => trainer.worker !== null);
  const telemetry = new FanOutTelemetry(log, prometheus, events);
  const trainer = createTrainer(telemetry);
  const service = createWorkerService({ trainer, newId: randomUUID, log: (id, error) => logInternal(log, id, error) });
  const rpc = await startRpcServer({ host: settings.host, port: settings.grpcPort, service });
  closers.push(() => rpc.close());
  const grpcAddress = `${settings.host}:${rpc.port}`;
  const hub = await openScorerHub(settings.scorerListen, dataDir, telemetry);
  closers.push(() => hub?.close());
  const controller = createController(foundation, trainer, telemetry, hub);
  const worker = settings.localWorker
    ? createWorker({ grpcAddress, dataDir, python: settings.python }, telemetry, controller)
    : null;
  closers.push(async () => {
    trainer.shutdown('the control plane stops');
    await worker?.stop();
  });
  closers.push(() => controller.close());
  const app = createRestApp({
    ...restParts(foundation),
    runs: createRunService({
      store,
      controller,
      loadPrompts: (recipe) => loadPrompts(recipe, ROOT),
      needWorker: () => worker?.ensureStarted(),
    }),
    status: () => ({
      ...program(),
      worker: trainer.worker === null ? null : { workerId: trainer.worker.workerId, device: trainer.worker.device },
      grpcAddress,
      activeRunId: controller.activeRunId,
    }),
    exposeMetrics: () => prometheus.expose(),
  });
  const server = await listenRest(app, settings.httpPort);
  closers.push(() => server.close());
  lock.publish(server.url);
  worker?.start();
  if (settings.leftovers === 'single') stopLeftovers(store);
  controller.start();
  log.info({ url: server.url, grpcAddress, dataDir }, 'control plane started');
  const scorerHub = hub && { address: hub.endpoint, publicKey: hub.publicKey };
  return { url: server.url, grpcAddress, scorerHub };
}

function createTrainer(telemetry: Telemetry): WorkerTrainer {
  return new WorkerTrainer({
    clock: systemClock,
    newId: () => randomBytes(16).toString('hex'),
    heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
    leaseDurationMs: LEASE_DURATION_MS,
    telemetry,
  });
}

/** Lets scorer processes of other hosts dial in; keys are in `<data-dir>/scorer-keys`. */
async function openScorerHub(
  endpoint: string | null,
  dataDir: string,
  telemetry: Telemetry,
): Promise<ScorerHub | null> {
  if (endpoint === null) return null;
  const onEvent = scorerEvents(telemetry);
  return ScorerHub.listen({ endpoint, keyFolder: join(dataDir, 'scorer-keys'), onEvent });
}

function scorerEvents(telemetry: Telemetry): ScorerEventSink {
  return (name, fields) => telemetry.event(`scorer.${name}`, fields);
}

function createController(
  foundation: Foundation,
  trainer: WorkerTrainer,
  telemetry: Telemetry,
  hub: ScorerHub | null,
): RunController {
  const { store, artifacts, reports } = foundation;
  return new RunController({
    store,
    artifacts,
    trainer,
    telemetry,
    clock: systemClock,
    createScorer: (recipe, signal) =>
      createRewardScorer(recipe, signal, {
        bundles: bundleStore(foundation.dataDir),
        hub,
        onEvent: scorerEvents(telemetry),
      }),
    loadPrompts: (recipe) => loadPrompts(recipe, ROOT),
    onFinished: async (run) => {
      await writeReport(reports, run.runId, run);
    },
  });
}

function createWorker(
  place: { readonly grpcAddress: string; readonly dataDir: string; readonly python: string | null },
  telemetry: Telemetry,
  controller: RunController,
): WorkerProcess {
  const python = place.python ?? join(ROOT, '.venv/bin/python');
  if (!existsSync(python) && python.includes('/')) {
    throw new StarError(
      'ARGUMENT_INVALID',
      `the worker's Python ${python} does not exist; run \`make setup\`, or set STAR_PYTHON to one that has star_worker`,
    );
  }
  const dirs = ['--data-dir', join(place.dataDir, 'worker'), '--model-root', ROOT];
  return new WorkerProcess(
    {
      program: python,
      args: [
        '-m',
        'star_worker',
        '--server',
        place.grpcAddress,
        '--worker-id',
        'local-0',
        ...dirs,
        '--exit-with-parent',
      ],
      cwd: ROOT,
      env: process.env,
      logPath: join(place.dataDir, 'worker.log'),
    },
    (name, fields) => telemetry.event(`worker.${name}`, fields),
    (error) => {
      telemetry.event('worker.process_failed', { message: error.message });
      controller.failActive(error);
    },
  );
}

const MOST_LEFTOVERS = 1_000;

/** Runs that an earlier process left behind wait for `star resume`. */
function stopLeftovers(store: RunStore): void {
  const waiting = (run: StoredRun): boolean => ['QUEUED', 'RUNNING', 'STOPPING'].includes(run.state);
  for (const { runId } of store.listRuns(MOST_LEFTOVERS).filter(waiting)) store.setState(runId, 'STOPPED');
}

function restParts({ dataDir, store, artifacts, events, reports, log }: Foundation): {
  store: RunStore;
  artifacts: ArtifactStore;
  scorers: ScorerBundles;
  events: EventFeed;
  reportHtml: (runId: string) => Promise<string>;
  reportJson: (runId: string) => Promise<string>;
  writeReport: (runId: string) => Promise<string>;
  logError: (errorId: string, error: unknown) => void;
} {
  return {
    store,
    artifacts,
    scorers: bundleStore(dataDir),
    events,
    reportHtml: async (runId) => (await buildReport(reports, runId)).html,
    reportJson: async (runId) => reportJson(await readReportData(reports, runId)),
    writeReport: (runId) => writeReport(reports, runId),
    logError: (errorId, error) => logInternal(log, errorId, error),
  };
}

const STARTED_AT = new Date().toISOString();

function program(): { version: string; startedAt: string } {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  return { version, startedAt: STARTED_AT };
}

function logInternal(log: Log, errorId: string, error: unknown): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  log.error({ errorId, error: message, stack }, 'internal error');
}
