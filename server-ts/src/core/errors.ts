/**
 * Why something failed. The same list as `proto/star/v1/error_reason.proto`, without its prefix; a test keeps the two equal.
 */
export const ERROR_REASONS = [
  'INTERNAL',
  'RECIPE_INVALID',
  'PROTOCOL_VERSION_MISMATCH',
  'TENSOR_INVALID',
  'TASK_ECHO_MISMATCH',
  'LEASE_EXPIRED',
  'NOT_FOUND',
  'STATE_CONFLICT',
  'MODEL_NOT_LOADABLE',
  'NOT_ON_POLICY',
  'NOT_FINITE',
  'CHECKPOINT_INVALID',
  'SCORER_NOT_LOADABLE',
  'SCORER_CRASHED',
  'SCORER_TIMEOUT',
  'SCORE_NOT_FINITE',
  'IMAGE_INVALID',
  'PROMPT_INVALID',
  'STORAGE_FAILED',
  'CANCELLED',
  'WORKER_LOST',
  'ARGUMENT_INVALID',
  'SCORER_UNAVAILABLE',
  'REWARD_NOT_TRUSTED',
  'SCORER_ANSWER_INVALID',
] as const;

export type ErrorReason = (typeof ERROR_REASONS)[number];

/** Ids and values that belong to an error; shown in logs and API answers. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** The one error type of the control plane. `message` names expected and received values and, where there is one, the fix. */
export class StarError extends Error {
  override readonly name = 'StarError';

  constructor(
    readonly reason: ErrorReason,
    message: string,
    readonly details: ErrorDetails = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }

  /** The only way in which a caught value becomes a StarError. */
  static from(value: unknown): StarError {
    if (value instanceof StarError) return value;
    if (value instanceof Error && value.name === 'AbortError') {
      return new StarError('CANCELLED', value.message, {}, value);
    }
    return new StarError('INTERNAL', value instanceof Error ? value.message : String(value), {}, value);
  }
}
