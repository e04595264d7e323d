import { randomUUID } from 'node:crypto';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { errorStatus } from '../core/error-status.js';
import { StarError } from '../core/errors.js';

/** Body of an error answer: RFC 9457 problem details with our reason. Content type `application/problem+json`. */
export interface ProblemDetails {
  /** `urn:star:error:<REASON>`. */
  readonly type: string;
  /** Reason of `error_reason.proto`. */
  readonly reason: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** True: the same request may succeed later. */
  readonly retry: boolean;
  /** For INTERNAL: the id that the log has too. */
  readonly errorId?: string;
}

function title(reason: string): string {
  const words = reason.toLowerCase().replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Error answers of express itself (body too large, malformed URL): they carry an HTTP status below 500. */
function clientStatus(error: unknown): number | null {
  const status = (error as { status?: unknown } | null)?.status;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : null;
}

/**
 * Problem details of a caught value. The message of an unknown error stays in the log; the client gets an id.
 *
 * @param logError receives what the client is not told
 */
export function problemOf(error: unknown, logError: (errorId: string, error: unknown) => void): ProblemDetails {
  const status = clientStatus(error);
  if (!(error instanceof StarError) && status !== null) {
    const reason = status === 404 ? 'NOT_FOUND' : 'ARGUMENT_INVALID';
    return problem(reason, status, error instanceof Error ? error.message : 'the request cannot be read', false);
  }
  const known = StarError.from(error);
  if (known.reason !== 'INTERNAL') {
    const entry = errorStatus(known.reason);
    return problem(known.reason, entry.httpStatus, known.message, entry.retry);
  }
  const errorId = randomUUID();
  logError(errorId, error);
  return { ...problem('INTERNAL', 500, `internal error ${errorId}; the log has the details`, false), errorId };
}

function problem(reason: string, status: number, detail: string, retry: boolean): ProblemDetails {
  return { type: `urn:star:error:${reason}`, reason, title: title(reason), status, detail, retry };
}

/** Last handler of the app: answers every error as problem details. */
export function problemHandler(logError: (errorId: string, error: unknown) => void): ErrorRequestHandler {
  return (error, _request, response, next) => {
    const body = problemOf(error, logError);
    if (response.headersSent) {
      next(error);
      return;
    }
    response.status(body.status).type('application/problem+json').send(JSON.stringify(body));
  };
}

/** Answers what no route has taken. */
export const noRoute: RequestHandler = (request) => {
  throw new StarError('NOT_FOUND', `there is no ${request.method} ${request.path}; GET /v1/runs lists the runs`);
};
