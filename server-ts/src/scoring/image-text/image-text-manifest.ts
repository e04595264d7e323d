import { z } from 'zod';
import { type BundleFile, bundleFile, commonFields } from '../bundle/manifest-fields.js';
import { clipTowers, towerFiles } from './clip-towers.js';

const similarityHead = z.strictObject({
  kind: z.literal('similarity'),
  logitScale: z.number().positive().describe('exp(logit_scale) of the checkpoint'),
  divisor: z.number().positive().default(1).describe('score = logitScale * cosine / divisor; 26 for PickScore'),
});

const aestheticHead = z.strictObject({
  kind: z.literal('aesthetic'),
  graph: bundleFile,
  input: z.string().min(1).describe('float32 [n, D], the normalised embedding of the picture'),
  output: z.string().min(1).describe('float32 [n, 1]'),
});

/** Manifest of an image-text model: PickScore, CLIPScore, HPS and, without texts, aesthetic predictors. */
export const imageTextManifest = z
  .strictObject({
    ...commonFields,
    ...clipTowers.shape,
    kind: z.literal('image_text'),
    head: z.discriminatedUnion('kind', [similarityHead, aestheticHead]),
  })
  .refine(({ head, text }) => head.kind !== 'similarity' || text !== null, {
    path: ['text'],
    error: 'a similarity head compares pictures with texts; received null, give the text tower',
  });

export type ImageTextManifest = z.infer<typeof imageTextManifest>;

/** Files that the manifest names. */
export function imageTextFiles({ image, text, head }: ImageTextManifest): BundleFile[] {
  const files = towerFiles({ image, text });
  if (head.kind === 'aesthetic') files.push(head.graph);
  return files;
}
