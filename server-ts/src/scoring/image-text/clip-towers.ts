import { z } from 'zod';
import { type BundleFile, bundleFile } from '../bundle/manifest-fields.js';

const perChannel = z.tuple([z.number(), z.number(), z.number()]);

const externalData = z
  .array(bundleFile)
  .default([])
  .describe('weights outside the graph; in the folder of the graph, under the names that the graph says');

/** Image tower: pixels to embeddings. */
export const imageTower = z.strictObject({
  graph: bundleFile,
  externalData,
  input: z.string().min(1).describe('float32 or float16 [n, 3, size, size]'),
  output: z.string().min(1).describe('same type [n, D], not normalised'),
  size: z.int().min(1).max(2048).describe('pixels'),
  resize: z
    .strictObject({ filter: z.enum(['bicubic', 'bilinear']) })
    .describe('shortest edge to size, as Pillow resamples'),
  crop: z
    .enum(['floor', 'half_even'])
    .describe('rounding of the centre crop; floor: Hugging Face, half_even: torchvision and open-clip'),
  mean: perChannel.describe('subtracted from red, green, blue in 0..1'),
  std: z
    .tuple([z.number().positive(), z.number().positive(), z.number().positive()])
    .describe('divides after the mean'),
});

/** Text tower: token ids to embeddings. */
export const textTower = z.strictObject({
  graph: bundleFile,
  externalData,
  input: z
    .string()
    .min(1)
    .describe('int64 [n, contextLength]; where the graph leaves the second axis free, texts are filled to the longest'),
  output: z.string().min(1).describe('float32 or float16 [n, D], not normalised'),
  contextLength: z.int().min(2).max(4096),
  tokenizer: bundleFile.describe("tokenizer.json of Hugging Face's tokenizers"),
  endId: z.int().min(0).describe('last id of every text, also of one that is cut'),
  padId: z.int().min(0).describe('fills up to contextLength'),
});

/** The two towers of a CLIP-like model; `text` is null where only pictures are embedded. */
export const clipTowers = z.strictObject({ image: imageTower, text: textTower.nullable() });

export type ImageTower = z.infer<typeof imageTower>;
export type TextTower = z.infer<typeof textTower>;
export type ClipTowers = z.infer<typeof clipTowers>;

/** Files that the towers name. */
export function towerFiles({ image, text }: ClipTowers): BundleFile[] {
  const files = [image.graph, ...image.externalData];
  return text === null ? files : [...files, text.graph, ...text.externalData, text.tokenizer];
}
