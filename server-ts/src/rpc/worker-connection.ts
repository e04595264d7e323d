import type { StarError } from '../core/errors.js';
import type { ConnectResponse } from '../gen/star/v1/worker_service.js';

/** A worker's control stream after its hello was accepted. */
export interface WorkerConnection {
  /** Stable name of the worker. */
  readonly workerId: string;
  /** For example `cpu` or `cuda`. */
  readonly device: string;
  send(message: NonNullable<ConnectResponse['message']>): void;
  /** Ends the stream; with an error, the worker gets its reason. */
  close(error?: StarError): void;
}
