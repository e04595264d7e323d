import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Context, Router, type SocketOptions } from 'zeromq';
import type { CurveKeys } from './curve-keys.js';
import { decodeProcessMessage, encodePoolMessage, type PoolMessage, type ProcessMessage } from './scorer-messages.js';
import { SocketWriter } from './socket-writer.js';

/** Longest path of a Unix domain socket on all systems. */
const MAX_IPC_PATH = 100;
/** A peer that takes nothing for this long counts as gone, so that it cannot hold up the others. */
const SEND_TIMEOUT_MS = 5000;
/** mandatory: sending to a process that has gone is an error instead of silence. */
const OPTIONS: SocketOptions<Router> = { mandatory: true, linger: 0, sendTimeout: SEND_TIMEOUT_MS };
/**
 * Beats of ZeroMQ's own threads, which answer even while a graph blocks a process: a host that is switched off or cut off is
 * noticed. Both ends set them.
 */
export const REMOTE_BEATS = { heartbeatInterval: 2000, heartbeatTimeout: 10_000 } as const;

/** What is done with what processes say; `identity` is the one that the process was started with. */
export interface ScorerSocketHandlers {
  onMessage(identity: string, message: ProcessMessage): void;
  /** The process cannot be reached, or sent something that cannot be read. */
  onBroken(identity: string, error: unknown): void;
}

/** The control plane's end of ZeroMQ: a ROUTER, one writer, one reader. */
export class ScorerSocket {
  readonly endpoint: string;
  readonly #router: Router;
  readonly #writer: SocketWriter;
  readonly #handlers: ScorerSocketHandlers;
  readonly #reading: Promise<void>;
  readonly #folder: string | null;

  private constructor(router: Router, handlers: ScorerSocketHandlers, folder: string | null) {
    this.#router = router;
    this.#writer = new SocketWriter(router);
    this.#handlers = handlers;
    this.#folder = folder;
    this.endpoint = router.lastEndpoint ?? '';
    this.#reading = this.#read();
  }

  /** Binds in a new folder that only this user can enter; on loopback where such a path would be too long. */
  static async bindLocal(handlers: ScorerSocketHandlers): Promise<ScorerSocket> {
    const folder = await mkdtemp(join(tmpdir(), 'star-scorers-'));
    const router = new Router(OPTIONS);
    const path = join(folder, 'pool');
    const usable = process.platform !== 'win32' && path.length <= MAX_IPC_PATH;
    await router.bind(usable ? `ipc://${path}` : 'tcp://127.0.0.1:*');
    return new ScorerSocket(router, handlers, folder);
  }

  /**
   * Binds where other hosts can dial in, encrypted; the gate of the context decides who may.
   *
   * @param endpoint for example `tcp://0.0.0.0:7100`; `*` as port: any free one
   */
  static async bindCurve(
    endpoint: string,
    { context, keys }: { readonly context: Context; readonly keys: CurveKeys },
    handlers: ScorerSocketHandlers,
  ): Promise<ScorerSocket> {
    const curve = { curveServer: true, curveSecretKey: keys.secretKey, zapDomain: 'star-scorers' };
    const router = new Router({ ...OPTIONS, ...REMOTE_BEATS, ...curve, context });
    await router.bind(endpoint);
    return new ScorerSocket(router, handlers, null);
  }

  send(identity: string, message: PoolMessage): void {
    this.#writer.send([Buffer.from(identity), encodePoolMessage(message)], (error) =>
      this.#handlers.onBroken(identity, error),
    );
  }

  /** Sends what is queued, then closes. */
  async close(): Promise<void> {
    await this.#writer.flush();
    this.#router.close();
    await this.#reading;
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true });
  }

  async #read(): Promise<void> {
    for await (const [sender, frame] of this.#router) {
      const identity = sender?.toString() ?? '';
      try {
        this.#handlers.onMessage(identity, decodeProcessMessage(frame ?? new Uint8Array()));
      } catch (error) {
        this.#handlers.onBroken(identity, error);
      }
    }
  }
}
