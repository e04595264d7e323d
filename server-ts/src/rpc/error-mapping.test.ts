import { describe, expect, it } from 'vitest';
import { errorStatus } from '../core/error-status.js';
import { ERROR_REASONS, StarError } from '../core/errors.js';
import { ErrorReason } from '../gen/star/v1/error_reason.js';
import { fromGrpcError, fromWireReason, toGrpcStatus } from './error-mapping.js';

describe('error reasons', () => {
  it('are the same list as in the proto', () => {
    const wire = Object.keys(ErrorReason).filter((name) => name.startsWith('ERROR_REASON_'));
    const ours = ERROR_REASONS.map((reason) => `ERROR_REASON_${reason}`);
    expect(new Set(wire)).toEqual(new Set(['ERROR_REASON_UNSPECIFIED', ...ours]));
  });

  it.each(ERROR_REASONS)('%s survives the way through a gRPC status and has an HTTP status', (reason) => {
    const status = toGrpcStatus(
      new StarError(reason, 'what happened'),
      () => 'id-1',
      () => undefined,
    );
    const back = fromGrpcError(status as never);
    expect(back.reason).toBe(reason);
    expect(back.message).toContain(reason === 'INTERNAL' ? 'id-1' : 'what happened');
    expect(errorStatus(reason).httpStatus).toBeGreaterThanOrEqual(400);
    expect(fromWireReason(ErrorReason[`ERROR_REASON_${reason}`])).toBe(reason);
  });

  it('unknown reasons of a newer worker become INTERNAL', () => {
    expect(fromWireReason(ErrorReason.ERROR_REASON_UNSPECIFIED)).toBe('INTERNAL');
    expect(fromWireReason(999 as ErrorReason)).toBe('INTERNAL');
  });

  it('an unknown failure leaves only as an id; the log has the cause', () => {
    const log: [string, string][] = [];
    const status = toGrpcStatus(
      new TypeError('password is 1234'),
      () => 'id-7',
      (id, error) => log.push([id, error.message]),
    );
    expect(status.details).not.toContain('1234');
    expect(log).toEqual([['id-7', 'password is 1234']]);
  });
});
