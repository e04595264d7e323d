import * as ort from 'onnxruntime-node';
import { StarError } from '../core/errors.js';

/** Runtime with its version, for the lineage of scores. */
export const ONNX_RUNTIME = `onnxruntime-node ${ort.env.versions.node}`;

/** Where graphs can run: STAR_SCORER_DEVICE. */
const DEVICES = ['cpu', 'cuda'] as const;

/** Why graphs of this process run on the CPU although CUDA was asked for; null: they run where they should. */
let fallback: string | null = null;

/**
 * Runtime, version and device of the graphs that this process has opened, for the lineage of scores: `onnxruntime-node 1.30.0
 * cpu`. Says so when CUDA was asked for and could not be used.
 */
export function runtimeInUse(): string {
  if (fallback !== null) return `${ONNX_RUNTIME} cpu (cuda was asked for: ${fallback})`;
  return `${ONNX_RUNTIME} ${deviceAskedFor()}`;
}

/**
 * Loads a graph on one CPU thread: a scorer process owns one core, and more threads would spin against decoding
 * (two processes of one thread are faster than one process of two). With STAR_SCORER_DEVICE=cuda it runs on the GPU where the
 * runtime's CUDA library is installed, else on the CPU.
 *
 * @param path of the file; named in messages
 * @param rewritten its bytes, where they were changed after reading
 * @throws StarError SCORER_NOT_LOADABLE when the runtime refuses the file, or for an unknown device
 */
export async function openSession(path: string, rewritten?: Uint8Array): Promise<ort.InferenceSession> {
  const source = rewritten ?? path;
  if (deviceAskedFor() === 'cuda' && fallback === null) {
    try {
      return await createSession(source, ['cuda', 'cpu']);
    } catch (error) {
      fallback = messageOf(error);
    }
  }
  try {
    return await createSession(source, ['cpu']);
  } catch (error) {
    throw new StarError('SCORER_NOT_LOADABLE', `${ONNX_RUNTIME} cannot load ${path}: ${messageOf(error)}`, {}, error);
  }
}

function deviceAskedFor(): (typeof DEVICES)[number] {
  const asked = process.env.STAR_SCORER_DEVICE ?? 'cpu';
  const device = DEVICES.find((name) => name === asked);
  if (device !== undefined) return device;
  throw new StarError('SCORER_NOT_LOADABLE', `STAR_SCORER_DEVICE is "${asked}"; expected ${DEVICES.join(' or ')}`);
}

function createSession(source: string | Uint8Array, executionProviders: string[]): Promise<ort.InferenceSession> {
  const options: ort.InferenceSession.SessionOptions = {
    executionProviders,
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  };
  // The runtime declares one function per kind of source.
  return typeof source === 'string'
    ? ort.InferenceSession.create(source, options)
    : ort.InferenceSession.create(source, options);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Tensor of half precision; numbers are rounded to the nearest. The runtime's native part does not know Float16Array, which its
 * JavaScript part insists on where there is one, so the bytes are shown to it as Uint16Array.
 */
export function halfTensor(data: Float32Array, dims: readonly number[]): ort.Tensor {
  const halves = new Float16Array(data);
  const bits = new Uint16Array(halves.buffer);
  const tensor = new ort.Tensor('float16', bits, dims);
  return Object.defineProperty(tensor, 'data', { value: bits });
}

/**
 * Takes one output of a run.
 *
 * @throws StarError TENSOR_INVALID when it is missing or has another type or shape; -1 in `shape` allows any length
 */
export function takeOutput<T extends ort.Tensor.Type>(
  outputs: ort.InferenceSession.OnnxValueMapType,
  name: string,
  type: T,
  shape: readonly number[],
): ort.TypedTensor<T> {
  const output = outputs[name] as ort.Tensor | undefined;
  if (output === undefined) {
    throw new StarError('TENSOR_INVALID', `the graph has no output ${name}; it has ${Object.keys(outputs).join(', ')}`);
  }
  const fits = output.dims.length === shape.length && shape.every((axis, i) => axis === -1 || axis === output.dims[i]);
  if (output.type !== type || !fits) {
    throw new StarError(
      'TENSOR_INVALID',
      `output ${name} must be ${type} [${shape.join(', ')}], received ${output.type} [${output.dims.join(', ')}]`,
    );
  }
  return output as ort.TypedTensor<T>;
}
