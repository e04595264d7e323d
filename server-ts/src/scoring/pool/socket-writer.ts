/** A ZeroMQ socket that can send. */
interface SendingSocket {
  send(frames: Uint8Array[]): Promise<void>;
}

interface Entry {
  readonly frames: Uint8Array[];
  readonly onError: (error: unknown) => void;
}

/**
 * The one writer of a ZeroMQ socket: a socket allows a single pending `send`, so messages pass through this queue in order.
 * Its length is bounded by its users: the pool by credits, both sides by one heartbeat per interval.
 */
export class SocketWriter {
  readonly #socket: SendingSocket;
  readonly #queue: Entry[] = [];
  #loop: Promise<void> | null = null;

  constructor(socket: SendingSocket) {
    this.#socket = socket;
  }

  /** Queues a message. `onError` gets the error when it cannot be sent, for example to a peer that has gone. */
  send(frames: Uint8Array[], onError: (error: unknown) => void): void {
    this.#queue.push({ frames, onError });
    this.#loop ??= this.#write();
  }

  /** Resolves when everything queued so far is handed to ZeroMQ. */
  async flush(): Promise<void> {
    await this.#loop;
  }

  async #write(): Promise<void> {
    for (let entry = this.#queue.shift(); entry !== undefined; entry = this.#queue.shift()) {
      try {
        await this.#socket.send(entry.frames);
      } catch (error) {
        entry.onError(error);
      }
    }
    this.#loop = null;
  }
}
