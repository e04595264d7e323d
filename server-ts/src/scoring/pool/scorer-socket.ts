import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Router } from 'zeromq';
import { decodeProcessMessage, encodePoolMessage, type PoolMessage, type ProcessMessage } from './scorer-messages.js';
import { SocketWriter } from './socket-writer.js';

/** Longest path of a Unix domain socket on all systems. */
const MAX_IPC_PATH = 100;
/** A peer that takes nothing for this long counts as gone, so that it cannot hold up the others. */
const SEND_TIMEOUT_MS = 5000;

/** What a pool does with what its processes say; `identity` is the one that the process was started with. */
export interface ScorerSocketHandlers {
  onMessage(identity: string, message: ProcessMessage): void;
  /** The process cannot be reached, or sent something that cannot be read. */
  onBroken(identity: string, error: unknown): void;
}

/** The pool's end of ZeroMQ: a ROUTER in a private folder, one writer, one reader. */
export class ScorerSocket {
  readonly endpoint: string;
  readonly #router: Router;
  readonly #writer: SocketWriter;
  readonly #folder: string;
  readonly #handlers: ScorerSocketHandlers;
  readonly #reading: Promise<void>;

  private constructor(router: Router, folder: string, handlers: ScorerSocketHandlers) {
    this.#router = router;
    this.#writer = new SocketWriter(router);
    this.#folder = folder;
    this.#handlers = handlers;
    this.endpoint = router.lastEndpoint ?? '';
    this.#reading = this.#read();
  }

  /** Binds in a new folder that only this user can enter; on loopback where such a path would be too long. */
  static async bind(handlers: ScorerSocketHandlers): Promise<ScorerSocket> {
    const folder = await mkdtemp(join(tmpdir(), 'star-scorers-'));
    // mandatory: sending to a process that has gone is an error instead of silence.
    const router = new Router({ mandatory: true, linger: 0, sendTimeout: SEND_TIMEOUT_MS });
    const path = join(folder, 'pool');
    const usable = process.platform !== 'win32' && path.length <= MAX_IPC_PATH;
    await router.bind(usable ? `ipc://${path}` : 'tcp://127.0.0.1:*');
    return new ScorerSocket(router, folder, handlers);
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
    await rm(this.#folder, { recursive: true, force: true });
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
