import { z } from 'zod';

/** Fields that the manifests of several kinds share. */

/** A file of the bundle with its hash. */
export const bundleFile = z.strictObject({
  path: z.string().min(1).describe('file in the bundle, or npm:<package>/<file> of an installed package'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

export type BundleFile = z.infer<typeof bundleFile>;

/** What every manifest says. */
export const commonFields = {
  name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/),
  version: z.string().min(1),
  licence: z.string().min(1),
  source: z.string().min(1).describe('where the weights come from'),
  valueRange: z
    .tuple([z.number(), z.number()])
    .nullable()
    .default(null)
    .describe('expected smallest and largest score; outside is worth a look, not an error'),
  golden: bundleFile.optional().describe('cases that `star scorers check` runs; bundle/golden-cases.ts has the format'),
};

/** A share or probability, 0..1. */
export const fraction = z.number().min(0).max(1);
