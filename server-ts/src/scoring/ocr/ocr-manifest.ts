import { z } from 'zod';
import { type BundleFile, bundleFile, commonFields, fraction } from '../bundle/manifest-fields.js';

/** Red, green, blue of a value 0..1. */
const perChannel = z.tuple([z.number(), z.number(), z.number()]);
const deviation = z.tuple([z.number().positive(), z.number().positive(), z.number().positive()]);

/** A graph with one picture input, float32 [n, 3, height, width], (x/255 - mean) / std, and one output. */
const pictureGraph = {
  graph: bundleFile,
  input: z.string().min(1).default('x'),
  mean: perChannel,
  std: deviation,
};

/** Manifest of a text detector with its recogniser. */
export const ocrManifest = z.strictObject({
  ...commonFields,
  kind: z.literal('ocr'),
  detector: z
    .strictObject({
      ...pictureGraph,
      maxSide: z.int().positive().default(960).describe('pictures with a longer side are shrunk to it'),
      sideStep: z.int().positive().default(32).describe('sides are resized to multiples of it'),
    })
    .describe('DB text detector; output: probability of text, float32 [1, 1, height, width]'),
  recognizer: z
    .strictObject({
      ...pictureGraph,
      height: z.int().positive().default(48).describe('of a line'),
    })
    .describe('CTC line recogniser; output: probabilities of the classes, float32 [n, T, classes]'),
  dictionary: z
    .strictObject({
      ...bundleFile.shape,
      space: z.enum(['last', 'none']).default('last').describe('whether the space is a class after those of the file'),
    })
    .describe("one character a line; CTC's blank is the class before them"),
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
  return [manifest.detector.graph, manifest.recognizer.graph, manifest.dictionary];
}
