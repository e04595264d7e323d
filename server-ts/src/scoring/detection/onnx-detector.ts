import * as ort from 'onnxruntime-node';
import { StarError } from '../../core/errors.js';
import type { ScorerBundle } from '../bundle/scorer-bundle.js';
import { type RgbImage, resizeBilinear } from '../image/rgb-image.js';
import { ONNX_RUNTIME, openSession } from '../onnx-session.js';
import { centernetDecoder } from './centernet-decoder.js';
import type { DetectionDecoder } from './detection-decoder.js';
import type { DetectorManifest } from './detector-manifest.js';
import { mask2formerDecoder } from './mask2former-decoder.js';
import { nanodetDecoder } from './nanodet-decoder.js';
import type { ObjectDetector } from './object-detector.js';
import { slotDecoder } from './slot-decoder.js';

/**
 * Opens the detector of a bundle. Pictures of another size are stretched to the graph's input and boxes scaled back.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the runtime refuses the graph or an input or output is missing
 */
export async function openOnnxDetector(bundle: ScorerBundle<DetectorManifest>): Promise<ObjectDetector> {
  const { manifest } = bundle;
  const decoder = decoderOf(manifest);
  const session = await openSession(bundle.locate(manifest.graph));
  requireNames(session, manifest, decoder);
  const batchSize = fixedBatchSize(session) ?? Number.POSITIVE_INFINITY;
  const detectBatch = async (images: readonly RgbImage[]) =>
    decoder.decode(await session.run({ [manifest.input.name]: inputTensor(images, manifest) }), images);
  return {
    async detect(images) {
      const found = [];
      for (let start = 0; start < images.length; start += batchSize) {
        found.push(...(await detectBatch(images.slice(start, start + batchSize))));
      }
      return found;
    },
    close: () => session.release(),
  };
}

/** The decoder that the manifest asks for. */
function decoderOf(manifest: DetectorManifest): DetectionDecoder {
  switch (manifest.output.kind) {
    case 'slots':
      return slotDecoder(manifest);
    case 'centernet':
      return centernetDecoder(manifest, manifest.output);
    case 'nanodet':
      return nanodetDecoder(manifest, manifest.output);
    case 'mask2former':
      return mask2formerDecoder(manifest, manifest.output);
  }
}

/** Batch as the graph takes it. */
export function inputTensor(images: readonly RgbImage[], { input }: DetectorManifest): ort.Tensor {
  const { width, height, layout, dtype } = input;
  const size = width * height * 3;
  const data = dtype === 'uint8' ? new Uint8Array(images.length * size) : new Float32Array(images.length * size);
  images.forEach((image, index) => {
    const pixels = resizeBilinear(image, width, height).data;
    writePixels(pixels, input, data.subarray(index * size, (index + 1) * size));
  });
  const shape = layout === 'NHWC' ? [height, width, 3] : [3, height, width];
  return new ort.Tensor(dtype, data, [images.length, ...shape]);
}

function writePixels(pixels: Uint8Array, input: DetectorManifest['input'], target: Uint8Array | Float32Array): void {
  if (input.dtype === 'uint8' && input.layout === 'NHWC' && input.channels === 'rgb') {
    target.set(pixels);
    return;
  }
  const [pixelStride, channelStride] = input.layout === 'NHWC' ? [3, 1] : [1, input.width * input.height];
  for (let channel = 0; channel < 3; channel++) {
    const source = input.channels === 'rgb' ? channel : 2 - channel;
    const mean = input.dtype === 'float32' ? (input.mean[channel] ?? 0) : 0;
    const std = input.dtype === 'float32' ? (input.std[channel] ?? 1) : 1;
    for (let at = source, out = channel * channelStride; at < pixels.length; at += 3, out += pixelStride) {
      target[out] = ((pixels[at] ?? 0) - mean) / std;
    }
  }
}

/** Length of the first axis of the first input where the graph fixes it; null: any. */
function fixedBatchSize(session: ort.InferenceSession): number | null {
  const [input] = session.inputMetadata;
  const length = input?.isTensor === true ? input.shape[0] : null;
  return typeof length === 'number' && length > 0 ? length : null;
}

function requireNames(session: ort.InferenceSession, manifest: DetectorManifest, decoder: DetectionDecoder): void {
  const outputs = decoder.outputNames.filter((name) => !session.outputNames.includes(name));
  const inputs = [manifest.input.name].filter((name) => !session.inputNames.includes(name));
  if (outputs.length + inputs.length === 0) return;
  throw new StarError(
    'SCORER_NOT_LOADABLE',
    `graph of ${manifest.name} lacks ${[...inputs, ...outputs].join(', ')}; it has inputs ` +
      `${session.inputNames.join(', ')} and outputs ${session.outputNames.join(', ')} (${ONNX_RUNTIME})`,
  );
}
