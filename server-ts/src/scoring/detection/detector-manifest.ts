import { z } from 'zod';
import { type BundleFile, bundleFile, commonFields, fraction } from '../bundle/manifest-fields.js';

const byte = z.int().min(0).max(255);

/** Manifest of an object detector, which GenEval's rules are applied to. */
export const detectorManifest = z.strictObject({
  ...commonFields,
  kind: z.literal('detector'),
  graph: bundleFile,
  input: z.strictObject({
    name: z.string().min(1),
    layout: z.literal('NHWC'),
    dtype: z.literal('uint8'),
    width: z.int().min(1).max(4096),
    height: z.int().min(1).max(4096),
  }),
  classes: z.array(z.string().min(1)).min(1).describe('names in the order of class indexes'),
  thresholds: z.strictObject({
    threshold: fraction.describe('objects score above this'),
    countingThreshold: fraction.describe('the same for prompts with the tag counting'),
    maxObjects: z.int().min(1).describe('objects kept per class'),
    maxOverlap: fraction.describe('greedy suppression by IoU; 1: none'),
  }),
  colors: z
    .array(z.strictObject({ name: z.string().min(1), rgb: z.tuple([byte, byte, byte]) }))
    .min(1)
    .describe('prototypes of the colour classifier'),
});

export type DetectorManifest = z.infer<typeof detectorManifest>;

/** Files that the manifest names. */
export function detectorFiles(manifest: DetectorManifest): BundleFile[] {
  return [manifest.graph];
}
