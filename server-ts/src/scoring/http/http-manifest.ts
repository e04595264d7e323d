import { z } from 'zod';
import { commonFields } from '../bundle/manifest-fields.js';

/** Manifest of a reward server that a team already has: pictures go out as JSON over HTTP, numbers come back. */
export const httpManifest = z.strictObject({
  ...commonFields,
  kind: z.literal('http'),
  url: z
    .url({ protocol: /^https?$/ })
    .describe('address that batches are posted to; GET `info` beside it tells a version'),
  timeoutMs: z.int().min(1).default(30_000).describe('limit for one answer'),
  maxBatch: z.int().min(1).max(1024).default(8).describe('pictures per request'),
  maxResponseBytes: z.int().min(1).default(1_048_576).describe('largest answer that is read'),
  values: z.array(z.string().min(1)).min(1).describe('names of the numbers that every result has'),
  valueRange: z
    .tuple([z.number(), z.number()])
    .nullable()
    .default(null)
    .describe('expected range of the first value; outside is worth a look, not an error'),
  headers: z
    .record(z.string().regex(/^[A-Za-z0-9-]+$/), z.string().min(1))
    .default({})
    .describe('header name to the environment variable that holds its value: no secret is ever in a bundle'),
});

export type HttpManifest = z.infer<typeof httpManifest>;
