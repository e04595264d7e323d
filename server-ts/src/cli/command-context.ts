import type { CommandSettings, ServerSettings } from '../config/server-settings.js';
import { StarError } from '../core/errors.js';
import { findHolder } from '../local/data-lock.js';
import { type ControlPlane, startControlPlane, startRecords } from '../main.js';
import { ApiClient } from './api-client.js';
import type { ConsoleOutput } from './console-output.js';

/** What every command gets. */
export interface CommandContext {
  readonly output: ConsoleOutput;
  readonly server: ServerSettings;
  readonly settings: CommandSettings;
  /** Calls `listener` at every Ctrl-C (SIGINT, SIGTERM). @returns function that ends that */
  onInterrupt(listener: () => void): () => void;
  /** Ends the process at once. */
  exitNow(code: number): never;
}

/** Options that most commands share. */
export interface ConnectionOptions {
  readonly server?: string;
  readonly dataDir?: string;
}

/** A control plane to talk to; `plane` is null when it is another process. */
export interface Connection {
  readonly client: ApiClient;
  readonly plane: ControlPlane | null;
  close(): Promise<void>;
}

/** Folder of run data: the option, else the environment, else `.star`. */
export function dataDirOf(context: CommandContext, options: ConnectionOptions): string {
  return options.dataDir ?? context.server.dataDir;
}

/** The running control plane: `--server`, STAR_SERVER, else the one that works on the data folder; null: none. */
export function findServer(context: CommandContext, options: ConnectionOptions): ApiClient | null {
  const url = options.server ?? context.settings.serverUrl ?? findHolder(dataDirOf(context, options))?.url ?? null;
  return url === null ? null : new ApiClient(url.replace(/\/+$/, ''));
}

/** As `findServer`. @throws StarError NOT_FOUND when there is none */
export function requireServer(context: CommandContext, options: ConnectionOptions): ApiClient {
  const client = findServer(context, options);
  if (client !== null) return client;
  throw new StarError(
    'NOT_FOUND',
    `no control plane works on ${dataDirOf(context, options)}; start one with \`star up\`, or name one with --server`,
  );
}

/**
 * The running control plane, or a new one in this process on free ports.
 *
 * @param mode `work`: with a worker; `read`: only to look at stored runs
 */
export async function connect(
  context: CommandContext,
  options: ConnectionOptions,
  mode: 'work' | 'read',
): Promise<Connection> {
  const client = findServer(context, options);
  if (client !== null) return { client, plane: null, close: async () => undefined };
  const dataDir = dataDirOf(context, options);
  const plane = mode === 'read' ? await startRecords(dataDir) : await startSingle(context, dataDir);
  return { client: new ApiClient(plane.url), plane, close: () => plane.stop() };
}

/** A control plane for one run: free ports, a local worker, log in the data folder. */
function startSingle(context: CommandContext, dataDir: string): Promise<ControlPlane> {
  return startControlPlane({
    ...context.server,
    dataDir,
    httpPort: 0,
    grpcPort: 0,
    leftovers: 'single',
    localWorker: true,
    python: context.settings.python,
    log: 'file',
  });
}
