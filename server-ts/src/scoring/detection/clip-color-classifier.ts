import { GENEVAL_COLORS } from '../../core/geneval-objects.js';
import { cropLikePillow, roundHalfEven } from '../image/pillow-crop.js';
import type { RgbImage } from '../image/rgb-image.js';
import type { ClipModel } from '../image-text/clip-model.js';
import { type ColorClassifier, isObject, type ObjectColor, type ObjectView } from './color-classifier.js';

/** Grey that hides what is not the object: #999. */
const BACKGROUND = 0x99;

const templates = (color: string, name: string): string[] => [
  `a photo of a ${color} ${name}`,
  `a photo of a ${color}-colored ${name}`,
  `a photo of a ${color} object`,
];

/**
 * GenEval's zero-shot classifier (rewards.md 1.4): the picture's object on grey, cropped to its box, against three texts per
 * colour. Its model is CLIP ViT-L/14 with OpenAI's weights and QuickGELU, which is a property of the exported graph. The
 * largest cosine decides; GenEval scales it by 100 first, which changes nothing.
 */
export function clipColorClassifier(model: ClipModel): ColorClassifier {
  /** Unit vectors of the colours by class name. */
  const kept = new Map<string, readonly Float32Array[]>();
  const vectorsOf = async (className: string): Promise<readonly Float32Array[]> => {
    const vectors = kept.get(className) ?? (await colorVectors(model, className));
    kept.set(className, vectors);
    return vectors;
  };
  return {
    backend: 'clip',
    async classify(objects) {
      const crops = objects.map(cropObject);
      const embeddings = (await model.embedImages(crops.filter((crop) => crop !== null))).values();
      const names: ObjectColor[] = [];
      for (const [index, crop] of crops.entries()) {
        const className = objects[index]?.className ?? '';
        const embedding = crop === null ? null : (embeddings.next().value ?? null);
        names.push(embedding && nearestColor(embedding, await vectorsOf(className), className));
      }
      return names;
    },
    close: () => model.close(),
  };
}

async function colorVectors(model: ClipModel, className: string): Promise<Float32Array[]> {
  const texts = await model.embedTexts(GENEVAL_COLORS.flatMap((color) => templates(color, className)));
  const perColor = texts.length / GENEVAL_COLORS.length;
  return GENEVAL_COLORS.map((_, index) => unitMean(texts.slice(index * perColor, (index + 1) * perColor)));
}

function unitMean(vectors: readonly Float32Array[]): Float32Array {
  const sum = Float32Array.from({ length: vectors[0]?.length ?? 0 }, (_, axis) =>
    vectors.reduce((total, vector) => total + (vector[axis] ?? Number.NaN), 0),
  );
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}

function nearestColor(embedding: Float32Array, vectors: readonly Float32Array[], className: string): ObjectColor {
  let best: { name: string; cosine: number } | null = null;
  for (const [index, name] of GENEVAL_COLORS.entries()) {
    const cosine = embedding.reduce((sum, value, axis) => sum + value * (vectors[index]?.[axis] ?? Number.NaN), 0);
    if (!Number.isFinite(cosine)) {
      return { reason: 'SCORE_NOT_FINITE', message: `CLIP compares a ${className} with ${name} by ${cosine}` };
    }
    if (best === null || cosine > best.cosine) best = { name, cosine };
  }
  return best?.name ?? null;
}

/** The object on grey, as Pillow cuts it out: black outside the picture; null where the rounded box is empty. */
function cropObject({ image, box, mask }: ObjectView): RgbImage | null {
  const crop = cropLikePillow(image, box);
  if (crop === null || mask === null) return crop;
  const [left, top] = [roundHalfEven(box[0]), roundHalfEven(box[1])];
  for (let y = Math.max(0, -top); y < Math.min(crop.height, image.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(crop.width, image.width - left); x++) {
      if (isObject(mask, (left + x + 0.5) / image.width, (top + y + 0.5) / image.height)) continue;
      crop.data.fill(BACKGROUND, (y * crop.width + x) * 3, (y * crop.width + x) * 3 + 3);
    }
  }
  return crop;
}
