import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { StarError } from '../core/errors.js';
import { type WorkerServiceServer, WorkerServiceService } from '../gen/star/v1/worker_service.js';
import { serializeLossMasks } from './loss-mask-serializer.js';

/** Biggest message that is read; chunks are about 1 MiB. */
const BIGGEST_MESSAGE_BYTES = 16 * 1024 * 1024;

/** HTTP/2 window. The default of 64 KiB starves bulk over a network; above 4 MiB two Node peers can lock each other. */
const WINDOW_BYTES = 2 * 1024 * 1024;

const OPTIONS = {
  'grpc.max_receive_message_length': BIGGEST_MESSAGE_BYTES,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

/** A listening server. */
export interface RpcServer {
  readonly port: number;
  /** Ends all calls and frees the port. */
  close(): void;
}

/**
 * Serves workers without encryption: loopback is the default, and other hosts are the deployment's to protect.
 *
 * @param options.port 0: any free one
 * @throws StarError ARGUMENT_INVALID when the address cannot be listened on
 */
export async function startRpcServer(options: {
  host?: string;
  port: number;
  service: WorkerServiceServer;
}): Promise<RpcServer> {
  const server = new Server(OPTIONS);
  server.addService(serviceDefinition, options.service);
  const address = `${options.host ?? '127.0.0.1'}:${options.port}`;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new StarError('ARGUMENT_INVALID', `cannot listen on ${address}: ${error.message}`, {}, error));
    });
  });
  widenWindows(server);
  return { port, close: () => server.forceShutdown() };
}

/** Loss masks are the bulk that goes down, and the generated serializer copies them several times. */
const serviceDefinition: typeof WorkerServiceService = {
  ...WorkerServiceService,
  fetchLossMasks: { ...WorkerServiceService.fetchLossMasks, responseSerialize: serializeLossMasks },
};

/** grpc-js has a window option for clients only; its servers are reached through a private field. */
function widenWindows(server: Server): void {
  const { http2Servers } = server as unknown as { http2Servers: Map<Http2Server, unknown> };
  for (const http2Server of http2Servers.keys()) {
    http2Server.on('session', (session: ServerHttp2Session) => {
      session.settings({ initialWindowSize: WINDOW_BYTES });
      session.setLocalWindowSize(WINDOW_BYTES);
    });
  }
}
