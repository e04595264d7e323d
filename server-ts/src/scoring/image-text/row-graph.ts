import * as ort from 'onnxruntime-node';
import { StarError } from '../../core/errors.js';
import { halfTensor, ONNX_RUNTIME, openSession, takeOutput } from '../onnx-session.js';

type FloatType = 'float32' | 'float16';

/** What a graph must look like: one input, and an output with one row per entry of the batch. */
export interface RowGraphSignature {
  readonly input: string;
  /** Types that the input may have. */
  readonly inputTypes: readonly (FloatType | 'int64')[];
  /** Axes after the batch; the graph may leave any of them free; null: any length. */
  readonly inputShape: readonly (number | null)[];
  readonly output: string;
}

/** A graph that turns every entry of a batch into a row of numbers. */
export interface RowGraph {
  /** Axes of the input after the batch; null: the graph leaves the length free. */
  readonly inputShape: readonly (number | null)[];
  /**
   * @param data [n, ...shape]; float32 numbers are rounded where the graph takes float16
   * @returns n rows, float32 [D] each
   */
  run(data: Float32Array | BigInt64Array, shape: readonly number[]): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/**
 * Opens a graph file; weights outside it lie in its folder.
 *
 * @throws StarError SCORER_NOT_LOADABLE when the runtime refuses it or it does not look as it must
 */
export async function openRowGraph(path: string, signature: RowGraphSignature): Promise<RowGraph> {
  const session = await openSession(path);
  const inputs = session.inputMetadata.map(describe);
  const outputs = session.outputMetadata.map(describe);
  const input = requireInput(path, inputs, signature);
  const output = requireOutput(path, outputs, signature);
  return {
    inputShape: input.shape.slice(1),
    async run(data, shape) {
      const count = data.length / shape.reduce((product, axis) => product * axis, 1);
      const feed = tensorOf(input.type, data, [count, ...shape]);
      const results = await session.run({ [input.name]: feed }, [output.name]);
      const { data: values, dims } = takeOutput(results, output.name, output.type as FloatType, [count, -1]);
      // The types say Uint16Array; the runtime gives a Float16Array where there is one.
      return rowsOf(values as Float32Array | Float16Array, dims[1] ?? 0);
    },
    close: () => session.release(),
  };
}

/** An input or output of a graph. */
interface Value {
  readonly name: string;
  readonly type: string;
  /** Null: free. */
  readonly shape: readonly (number | null)[];
}

function describe(value: ort.InferenceSession.ValueMetadata): Value {
  if (!value.isTensor) return { name: value.name, type: 'no tensor', shape: [] };
  return {
    name: value.name,
    type: value.type,
    shape: value.shape.map((axis) => (typeof axis === 'number' ? axis : null)),
  };
}

function requireInput(path: string, inputs: readonly Value[], signature: RowGraphSignature): Value {
  const wanted = ['n', ...signature.inputShape.map((axis) => axis ?? 'any')].join(', ');
  const expected = `one input ${signature.input}: ${signature.inputTypes.join(' or ')} [${wanted}]`;
  const [input, ...others] = inputs;
  const fits =
    input !== undefined &&
    others.length === 0 &&
    input.name === signature.input &&
    signature.inputTypes.some((type) => type === input.type) &&
    fitsShape(input.shape, [null, ...signature.inputShape]);
  if (fits) return input;
  throw unlike(path, expected, inputs);
}

function requireOutput(path: string, outputs: readonly Value[], { output: name }: RowGraphSignature): Value {
  const output = outputs.find((value) => value.name === name);
  if (output !== undefined && ['float32', 'float16'].includes(output.type)) return output;
  throw unlike(path, `an output ${name}: float32 or float16 [n, D]`, outputs);
}

function fitsShape(shape: readonly (number | null)[], expected: readonly (number | null)[]): boolean {
  const fits = (axis: number | null, index: number): boolean =>
    axis === null || expected[index] === null || axis === expected[index];
  return shape.length === expected.length && shape.every(fits);
}

function unlike(path: string, expected: string, values: readonly Value[]): StarError {
  const received = values.map(
    ({ name, type, shape }) => `${name}: ${type} [${shape.map((axis) => axis ?? 'any').join(', ')}]`,
  );
  return new StarError(
    'SCORER_NOT_LOADABLE',
    `${path} must have ${expected}; it has ${received.join('; ')} (${ONNX_RUNTIME})`,
  );
}

function tensorOf(type: string, data: Float32Array | BigInt64Array, dims: readonly number[]): ort.Tensor {
  if (data instanceof BigInt64Array) return new ort.Tensor('int64', data, dims);
  return type === 'float16' ? halfTensor(data, dims) : new ort.Tensor('float32', data, dims);
}

function rowsOf(values: Float32Array | Float16Array, length: number): Float32Array[] {
  return Array.from({ length: values.length / length }, (_, row) =>
    Float32Array.from(values.subarray(row * length, (row + 1) * length)),
  );
}
