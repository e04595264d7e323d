import { z } from 'zod';
import { detectorFiles, detectorManifest } from '../detection/detector-manifest.js';
import { httpManifest } from '../http/http-manifest.js';
import { imageTextFiles, imageTextManifest } from '../image-text/image-text-manifest.js';
import { ocrFiles, ocrManifest } from '../ocr/ocr-manifest.js';
import type { BundleFile } from './manifest-fields.js';

/** `manifest.yaml` of a scorer bundle; every kind declares its own fields beside the code that runs it. */
export const manifestSchema = z.discriminatedUnion('kind', [
  detectorManifest,
  httpManifest,
  imageTextManifest,
  ocrManifest,
]);

export type ScorerManifest = z.infer<typeof manifestSchema>;

/** Kind of a bundle. */
export type BundleKind = ScorerManifest['kind'];

/** Files that a manifest names. */
export function filesOf(manifest: ScorerManifest): BundleFile[] {
  const files = scoringFilesOf(manifest);
  return manifest.golden === undefined ? files : [...files, manifest.golden];
}

/** Files that scores depend on: graphs, weights beside them, dictionaries, tokenizers. */
export function scoringFilesOf(manifest: ScorerManifest): BundleFile[] {
  switch (manifest.kind) {
    case 'detector':
      return detectorFiles(manifest);
    case 'http':
      return [];
    case 'image_text':
      return imageTextFiles(manifest);
    case 'ocr':
      return ocrFiles(manifest);
  }
}
