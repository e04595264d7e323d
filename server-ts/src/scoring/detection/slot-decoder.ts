import type { RgbImage } from '../image/rgb-image.js';
import { takeOutput } from '../onnx-session.js';
import type { DetectionDecoder, GraphOutputs } from './detection-decoder.js';
import type { DetectorManifest } from './detector-manifest.js';
import { boxInPicture, classNameAt, type ObjectMask, type PixelBox, type RawDetection } from './object-detector.js';

interface Slots {
  readonly slotCount: number;
  /** float32 [n, slots, 4] in input pixels. */
  readonly boxes: Float32Array;
  /** float32 [n, slots]; 0: empty. */
  readonly scores: Float32Array;
  /** int64 [n, slots]. */
  readonly classes: BigInt64Array;
  /** float32 [n, slots, height, width] or null; 0..1. */
  readonly masks: { readonly data: Float32Array; readonly width: number; readonly height: number } | null;
}

/** For graphs with a fixed number of object slots: `boxes`, `scores`, `classes` and, where there are any, `masks`. */
export function slotDecoder(manifest: DetectorManifest): DetectionDecoder {
  return {
    outputNames: ['boxes', 'scores', 'classes'],
    decode(outputs, images) {
      const slots = readSlots(outputs, images.length);
      return images.map((image, index) => objectsOf(slots, index, image, manifest));
    },
  };
}

function readSlots(outputs: GraphOutputs, count: number): Slots {
  const scores = takeOutput(outputs, 'scores', 'float32', [count, -1]);
  const slotCount = scores.dims[1] ?? 0;
  const masks = 'masks' in outputs ? takeOutput(outputs, 'masks', 'float32', [count, slotCount, -1, -1]) : null;
  return {
    slotCount,
    scores: scores.data,
    boxes: takeOutput(outputs, 'boxes', 'float32', [count, slotCount, 4]).data,
    classes: takeOutput(outputs, 'classes', 'int64', [count, slotCount]).data,
    masks: masks && { data: masks.data, height: masks.dims[2] ?? 0, width: masks.dims[3] ?? 0 },
  };
}

function objectsOf(slots: Slots, imageIndex: number, image: RgbImage, manifest: DetectorManifest): RawDetection[] {
  const found: RawDetection[] = [];
  for (let slot = 0; slot < slots.slotCount; slot++) {
    const at = imageIndex * slots.slotCount + slot;
    const score = slots.scores[at] ?? Number.NaN;
    if (score === 0) continue;
    const box = [...slots.boxes.subarray(at * 4, at * 4 + 4)] as unknown as PixelBox;
    found.push({
      className: classNameAt(manifest.classes, Number(slots.classes[at] ?? -1n)),
      score,
      box: boxInPicture(box, manifest.input, image),
      mask: maskOf(slots, at),
    });
  }
  return found;
}

function maskOf({ masks }: Slots, at: number): ObjectMask | null {
  if (masks === null) return null;
  const size = masks.width * masks.height;
  return { width: masks.width, height: masks.height, data: masks.data.subarray(at * size, (at + 1) * size) };
}
