import { z } from 'zod';
import { GENEVAL_OBJECTS } from '../../core/geneval-objects.js';
import { type BundleFile, bundleFile, commonFields, fraction } from '../bundle/manifest-fields.js';
import { imageTower, textTower, towerFiles } from '../image-text/clip-towers.js';

const byte = z.int().min(0).max(255);
const outputName = z.string().min(1);
const perChannel = z.tuple([z.number(), z.number(), z.number()]);

const inputFields = {
  name: z.string().min(1),
  layout: z.enum(['NHWC', 'NCHW']),
  width: z.int().min(1).max(4096),
  height: z.int().min(1).max(4096),
  channels: z.enum(['rgb', 'bgr']).default('rgb'),
};

/** Pictures of another size are stretched to width x height (bilinear, half-pixel centres, no smoothing). */
const input = z.discriminatedUnion('dtype', [
  z.strictObject({ ...inputFields, dtype: z.literal('uint8') }).describe('values 0..255; the graph normalises'),
  z.strictObject({
    ...inputFields,
    dtype: z.literal('float32'),
    mean: perChannel.describe('subtracted from 0..255, in the order of `channels`'),
    std: perChannel.describe('then divided by'),
  }),
]);

/** How the graph says what it found; one decoder each. */
const output = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('slots') }).describe('boxes, scores, classes and, where there are any, masks'),
  z.strictObject({ kind: z.literal('centernet'), detections: outputName }),
  z.strictObject({
    kind: z.literal('nanodet'),
    levels: z.array(z.strictObject({ stride: z.int().min(1), scores: outputName, distances: outputName })).min(1),
    maxOverlap: fraction.describe("the model's own suppression by IoU within a class"),
  }),
  z.strictObject({
    kind: z.literal('mask2former'),
    classLogits: outputName,
    maskLogits: outputName,
    candidates: z.int().min(1).describe('best (query, class) pairs of a picture'),
  }),
]);

const prototypes = z
  .array(z.strictObject({ name: z.string().min(1), rgb: z.tuple([byte, byte, byte]) }))
  .min(1)
  .describe('the nearest one names the colour');

/** How colours are told. */
const colors = z.discriminatedUnion('backend', [
  z.strictObject({ backend: z.literal('lab'), prototypes }),
  z.strictObject({ backend: z.literal('clip'), image: imageTower, text: textTower }),
]);

const classes = z.union([
  z.literal('coco-80').transform(() => [...GENEVAL_OBJECTS]),
  z.array(z.string().min(1)).min(1),
]);

/** Manifest of an object detector, which GenEval's rules are applied to. */
export const detectorManifest = z.strictObject({
  ...commonFields,
  kind: z.literal('detector'),
  graph: bundleFile,
  input,
  output,
  classes: classes.describe("names in the order of class indexes; coco-80: COCO's 80 classes under GenEval's names"),
  thresholds: z.strictObject({
    threshold: fraction.describe('objects score above this'),
    countingThreshold: fraction.describe('the same for prompts with the tag counting'),
    maxObjects: z.int().min(1).describe('objects kept per class'),
    maxOverlap: fraction.describe('greedy suppression by IoU; 1: none'),
  }),
  colors,
});

export type DetectorManifest = z.infer<typeof detectorManifest>;

/** Section `output` of one kind. */
export type OutputOf<K extends DetectorManifest['output']['kind']> = Extract<DetectorManifest['output'], { kind: K }>;

/** Files that the manifest names. */
export function detectorFiles({ graph, colors: classifier }: DetectorManifest): BundleFile[] {
  return classifier.backend === 'clip' ? [graph, ...towerFiles(classifier)] : [graph];
}
