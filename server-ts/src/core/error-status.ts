import type { ErrorReason } from './errors.js';

/** How a reason leaves the process. */
export interface ErrorStatus {
  /** Number of the gRPC status code. */
  readonly grpcCode: number;
  readonly httpStatus: number;
  /** True: the same request may succeed later without a change. */
  readonly retry: boolean;
}

/** Numbers of the gRPC codes in use; the protocol fixes them. */
export const GRPC_CODE = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
} as const;

const status = (grpcCode: number, httpStatus: number, retry: boolean): ErrorStatus => ({ grpcCode, httpStatus, retry });

const TABLE: Readonly<Record<ErrorReason, ErrorStatus>> = {
  INTERNAL: status(GRPC_CODE.INTERNAL, 500, false),
  RECIPE_INVALID: status(GRPC_CODE.INVALID_ARGUMENT, 400, false),
  PROTOCOL_VERSION_MISMATCH: status(GRPC_CODE.FAILED_PRECONDITION, 409, false),
  TENSOR_INVALID: status(GRPC_CODE.INVALID_ARGUMENT, 400, false),
  TASK_ECHO_MISMATCH: status(GRPC_CODE.FAILED_PRECONDITION, 409, false),
  LEASE_EXPIRED: status(GRPC_CODE.ABORTED, 409, false),
  NOT_FOUND: status(GRPC_CODE.NOT_FOUND, 404, false),
  STATE_CONFLICT: status(GRPC_CODE.FAILED_PRECONDITION, 409, false),
  MODEL_NOT_LOADABLE: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  NOT_ON_POLICY: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  NOT_FINITE: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  CHECKPOINT_INVALID: status(GRPC_CODE.DATA_LOSS, 422, false),
  SCORER_NOT_LOADABLE: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  SCORER_CRASHED: status(GRPC_CODE.UNAVAILABLE, 503, true),
  SCORER_TIMEOUT: status(GRPC_CODE.DEADLINE_EXCEEDED, 504, true),
  SCORE_NOT_FINITE: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  IMAGE_INVALID: status(GRPC_CODE.INVALID_ARGUMENT, 400, false),
  PROMPT_INVALID: status(GRPC_CODE.INVALID_ARGUMENT, 400, false),
  STORAGE_FAILED: status(GRPC_CODE.RESOURCE_EXHAUSTED, 507, true),
  CANCELLED: status(GRPC_CODE.CANCELLED, 409, false),
  WORKER_LOST: status(GRPC_CODE.UNAVAILABLE, 503, true),
  ARGUMENT_INVALID: status(GRPC_CODE.INVALID_ARGUMENT, 400, false),
  SCORER_UNAVAILABLE: status(GRPC_CODE.UNAVAILABLE, 503, true),
  REWARD_NOT_TRUSTED: status(GRPC_CODE.FAILED_PRECONDITION, 422, false),
  SCORER_ANSWER_INVALID: status(GRPC_CODE.FAILED_PRECONDITION, 502, false),
};

/** The one table from a reason to gRPC code, HTTP status and retry-or-not. */
export function errorStatus(reason: ErrorReason): ErrorStatus {
  return TABLE[reason];
}
