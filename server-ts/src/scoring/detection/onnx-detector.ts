import * as ort from 'onnxruntime-node';
import { StarError } from '../../core/errors.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { type RgbImage, resizeBilinear } from '../image/rgb-image.js';
import { ONNX_RUNTIME, openSession, takeOutput } from '../onnx-session.js';
import type { ObjectMask } from './color-classifier.js';
import type { DetectorManifest } from './detector-manifest.js';

/** One output slot of a detector, before any threshold. Numbers may be non-finite: callers check. */
export interface RawDetection {
  readonly className: string;
  readonly score: number;
  /** Pixels of the picture that was given: left, top, right, bottom; right and bottom exclusive. */
  readonly box: readonly [number, number, number, number];
  /** Null for a detector without masks. */
  readonly mask: ObjectMask | null;
}

/** Finds objects. */
export interface ObjectDetector {
  /** @returns per picture, in order, its detections with a score other than 0, unsorted */
  detect(images: readonly RgbImage[]): Promise<RawDetection[][]>;
  close(): Promise<void>;
}

interface DetectorOutputs {
  readonly slotCount: number;
  /** float32 [n, slots, 4] in input pixels. */
  readonly boxes: Float32Array;
  /** float32 [n, slots]. */
  readonly scores: Float32Array;
  /** int64 [n, slots]. */
  readonly classes: BigInt64Array;
  /** float32 [n, slots, height, width] or null; 0..1. */
  readonly masks: { readonly data: Float32Array; readonly width: number; readonly height: number } | null;
}

/**
 * Opens the detector of a bundle. Its graph takes uint8 [n, height, width, 3] and gives `boxes`, `scores`, `classes` and,
 * where it has masks, `masks` (shapes above); pictures of another size are resized to the input and boxes scaled back.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the runtime refuses the graph or an output is missing
 */
export async function openOnnxDetector(bundle: ScorerBundle<DetectorManifest>): Promise<ObjectDetector> {
  const { manifest } = bundle;
  const session = await openSession(bundle.locate(manifest.graph));
  requireNames(session, manifest);
  const hasMasks = session.outputNames.includes('masks');
  return {
    async detect(images) {
      if (images.length === 0) return [];
      const outputs = await session.run({ [manifest.input.name]: inputTensor(images, manifest) });
      const read = readOutputs(outputs, images.length, hasMasks);
      return images.map((image, index) => detectionsOf(read, index, image, manifest));
    },
    close: () => session.release(),
  };
}

/** Batch as the graph takes it: uint8 [n, height, width, 3]. */
export function inputTensor(images: readonly RgbImage[], manifest: DetectorManifest): ort.Tensor {
  const { width, height } = manifest.input;
  const data = new Uint8Array(images.length * height * width * 3);
  images.forEach((image, index) => {
    data.set(resizeBilinear(image, width, height).data, index * height * width * 3);
  });
  return new ort.Tensor('uint8', data, [images.length, height, width, 3]);
}

function requireNames(session: ort.InferenceSession, manifest: DetectorManifest): void {
  const outputs = ['boxes', 'scores', 'classes'].filter((name) => !session.outputNames.includes(name));
  const inputs = [manifest.input.name].filter((name) => !session.inputNames.includes(name));
  if (outputs.length + inputs.length === 0) return;
  throw new StarError(
    'SCORER_NOT_LOADABLE',
    `graph of ${manifest.name} lacks ${[...inputs, ...outputs].join(', ')}; it has inputs ` +
      `${session.inputNames.join(', ')} and outputs ${session.outputNames.join(', ')} (${ONNX_RUNTIME})`,
  );
}

function readOutputs(
  outputs: ort.InferenceSession.OnnxValueMapType,
  count: number,
  hasMasks: boolean,
): DetectorOutputs {
  const scores = takeOutput(outputs, 'scores', 'float32', [count, -1]);
  const slotCount = scores.dims[1] ?? 0;
  const masks = hasMasks ? takeOutput(outputs, 'masks', 'float32', [count, slotCount, -1, -1]) : null;
  return {
    slotCount,
    scores: scores.data,
    boxes: takeOutput(outputs, 'boxes', 'float32', [count, slotCount, 4]).data,
    classes: takeOutput(outputs, 'classes', 'int64', [count, slotCount]).data,
    masks: masks && { data: masks.data, height: masks.dims[2] ?? 0, width: masks.dims[3] ?? 0 },
  };
}

function detectionsOf(
  outputs: DetectorOutputs,
  imageIndex: number,
  image: RgbImage,
  manifest: DetectorManifest,
): RawDetection[] {
  const scaleX = image.width / manifest.input.width;
  const scaleY = image.height / manifest.input.height;
  const found: RawDetection[] = [];
  for (let slot = 0; slot < outputs.slotCount; slot++) {
    const at = imageIndex * outputs.slotCount + slot;
    const score = outputs.scores[at] ?? Number.NaN;
    if (score === 0) continue;
    const [left = Number.NaN, top = Number.NaN, right = Number.NaN, bottom = Number.NaN] = outputs.boxes.subarray(
      at * 4,
      at * 4 + 4,
    );
    found.push({
      className: classNameOf(Number(outputs.classes[at] ?? -1n), manifest),
      score,
      box: [left * scaleX, top * scaleY, right * scaleX, bottom * scaleY],
      mask: maskOf(outputs, at),
    });
  }
  return found;
}

function maskOf({ masks }: DetectorOutputs, at: number): ObjectMask | null {
  if (masks === null) return null;
  const size = masks.width * masks.height;
  return { width: masks.width, height: masks.height, data: masks.data.subarray(at * size, (at + 1) * size) };
}

function classNameOf(index: number, manifest: DetectorManifest): string {
  const name = manifest.classes[index];
  if (name !== undefined) return name;
  throw new StarError(
    'TENSOR_INVALID',
    `${manifest.name} gave class ${index}; its manifest names ${manifest.classes.length} classes`,
  );
}
