import { z } from 'zod';
import { StarError } from '../core/errors.js';

/** Id of a run or a rollout in an address. No dots and slashes: it becomes part of a path. */
const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/, 'letters, digits, "-" and "_", at most 128');

const wholeNumber = z
  .string()
  .regex(/^\d{1,9}$/, 'a whole number >= 0')
  .transform(Number);

/** `/runs/:runId` */
export const runParams = z.object({ runId: id });
/** `/runs/:runId/rollouts/:rolloutId` */
export const rolloutParams = z.object({ runId: id, rolloutId: id });
/** `/runs/:runId/iterations/:iteration` */
export const iterationParams = z.object({ runId: id, iteration: wholeNumber });
/** `/runs/:runId/evaluations/:policyVersion/:position/image` */
export const evaluationImageParams = z.object({ runId: id, policyVersion: wholeNumber, position: wholeNumber });
/** `/scorers/:reference`: name, name@version or first characters of a hash; never a path. */
export const scorerParams = z.object({
  reference: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}(@[A-Za-z0-9._-]{1,32})?$/, 'a name, name@version or hash'),
});
/** `?limit=` of lists, 1..1000. */
export const listQuery = z.object({ limit: wholeNumber.pipe(z.int().min(1).max(1_000)).default(100) });
/** `?since=` first iteration of a series. */
export const sinceQuery = z.object({ since: wholeNumber.default(0) });
/** `?author=` who changes something; shown to people. */
export const authorQuery = z.object({ author: z.string().min(1).max(100).default('api') });
/** `?after=` id of the last event that the client has. */
export const afterQuery = z.object({ after: wholeNumber.default(0) });

/**
 * Parses what a client sent.
 *
 * @throws StarError ARGUMENT_INVALID naming every bad field
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new StarError('ARGUMENT_INVALID', issues.join('; '));
}
