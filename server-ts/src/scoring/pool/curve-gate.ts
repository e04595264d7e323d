import { type Context, Reply } from 'zeromq';
import { encodeZ85 } from './z85.js';

const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';

/** Whom a gate lets in. */
export interface CurveGateOptions {
  /** @param publicKey Z85 */
  isAllowed(publicKey: string): Promise<boolean>;
  onRefused(publicKey: string, address: string): void;
}

/** Answers ZeroMQ's question who may connect (ZAP, RFC 27) for all CURVE sockets of a context. Open it before they bind. */
export class CurveGate {
  readonly #socket: Reply;
  readonly #options: CurveGateOptions;
  readonly #serving: Promise<void>;

  private constructor(socket: Reply, options: CurveGateOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#serving = this.#serve();
  }

  static async open(context: Context, options: CurveGateOptions): Promise<CurveGate> {
    const socket = new Reply({ context, linger: 0 });
    await socket.bind(ZAP_ENDPOINT);
    return new CurveGate(socket, options);
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#serving;
  }

  async #serve(): Promise<void> {
    for await (const [version, requestId, , address, , mechanism, key] of this.#socket) {
      const allowed =
        mechanism?.toString() === 'CURVE' && key !== undefined && (await this.#admit(key, String(address)));
      const [status, text] = allowed ? ['200', 'OK'] : ['400', 'unknown key'];
      await this.#socket.send([version ?? '1.0', requestId ?? '', status ?? '', text ?? '', '', '']);
    }
  }

  async #admit(key: Uint8Array, address: string): Promise<boolean> {
    const publicKey = encodeZ85(key);
    const allowed = await this.#options.isAllowed(publicKey).catch(() => false);
    if (!allowed) this.#options.onRefused(publicKey, address);
    return allowed;
  }
}
