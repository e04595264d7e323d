import { z } from 'zod';
import { type BundleFile, bundleFile, commonFields, fraction } from '../bundle/manifest-fields.js';

/** Manifest of a text detector with its recogniser. */
export const ocrManifest = z.strictObject({
  ...commonFields,
  kind: z.literal('ocr'),
  detector: bundleFile.describe('DB text detector'),
  recognizer: bundleFile.describe('CTC line recogniser'),
  dictionary: bundleFile.describe('one character a line; blank comes before, space after'),
  thresholds: z.strictObject({
    pixel: fraction.describe('a pixel belongs to text above this probability'),
    box: fraction.describe('mean probability of a text box'),
    unclip: z.number().positive().describe('boxes grow by area * unclip / perimeter'),
    line: fraction.describe('lines with a lower confidence are dropped'),
  }),
});

export type OcrManifest = z.infer<typeof ocrManifest>;

/** Files that the manifest names. */
export function ocrFiles(manifest: OcrManifest): BundleFile[] {
  return [manifest.detector, manifest.recognizer, manifest.dictionary];
}
