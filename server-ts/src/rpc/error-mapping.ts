import { Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { errorStatus, GRPC_CODE } from '../core/error-status.js';
import { ERROR_REASONS, type ErrorReason, StarError } from '../core/errors.js';
import { ErrorReason as WireReason } from '../gen/star/v1/error_reason.js';

/** Metadata key that carries the reason beside the gRPC code. */
export const REASON_KEY = 'star-reason';

const WIRE_PREFIX = 'ERROR_REASON_';

/** Called with every error whose cause must not leave the process: the log gets the id and the cause. */
export type LogInternalError = (errorId: string, error: StarError) => void;

/**
 * A StarError as a gRPC status with its reason in the metadata. INTERNAL leaves only as an id that the log has too.
 *
 * @param newId source of that id
 */
export function toGrpcStatus(
  value: unknown,
  newId: () => string,
  log: LogInternalError,
): Partial<StatusObject> & Error {
  const error = StarError.from(value);
  let message = error.message;
  if (error.reason === 'INTERNAL') {
    const errorId = newId();
    log(errorId, error);
    message = `internal error ${errorId}; the log of the control plane has the cause`;
  }
  const metadata = new Metadata();
  metadata.set(REASON_KEY, error.reason);
  // HTTP/2 trailers are ASCII without line breaks; grpc-js percent-encodes the message itself.
  return Object.assign(new Error(message), {
    code: errorStatus(error.reason).grpcCode,
    details: message,
    metadata,
  });
}

/** The reason of a failed gRPC call as its caller sees it. WORKER_LOST when the connection broke and nobody gave one. */
export function fromGrpcError(error: ServiceError): StarError {
  const given = error.metadata?.get(REASON_KEY)[0];
  const reason = ERROR_REASONS.find((each) => each === given);
  if (reason !== undefined) return new StarError(reason, error.details, {}, error);
  if (error.code === GRPC_CODE.CANCELLED) return new StarError('CANCELLED', error.details, {}, error);
  if (error.code === GRPC_CODE.UNAVAILABLE) return new StarError('WORKER_LOST', error.details, {}, error);
  return new StarError('INTERNAL', error.details, {}, error);
}

/** Reason of the wire as ours; one that this version does not know, or UNSPECIFIED, becomes INTERNAL. */
export function fromWireReason(reason: WireReason): ErrorReason {
  const name = WireReason[reason]?.slice(WIRE_PREFIX.length);
  return ERROR_REASONS.find((each) => each === name) ?? 'INTERNAL';
}
