import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StarError } from '../core/errors.js';

/** A listening HTTP server. */
export interface RestServer {
  /** For example `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Refuses new requests, ends open event streams and resolves when all are gone. */
  close(): Promise<void>;
}

/** Time that requests at hand get when the server closes. */
const CLOSE_GRACE_MS = 2_000;

const HOST = '127.0.0.1';

/**
 * Listens on loopback.
 *
 * @param port 0: any free port
 * @throws StarError ARGUMENT_INVALID when the port is taken
 */
export async function listenRest(app: RequestListener, port: number): Promise<RestServer> {
  const server = createServer(app);
  server.requestTimeout = 30_000;
  server.listen(port, HOST);
  try {
    await once(server, 'listening', { signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    throw new StarError(
      'ARGUMENT_INVALID',
      `cannot listen on ${HOST}:${port}: ${StarError.from(error).message}; choose another port (0: any free one)`,
      { port },
      error,
    );
  }
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    const force = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
    await closed;
    clearTimeout(force);
  };
  return { url: `http://${HOST}:${(server.address() as AddressInfo).port}`, close };
}
