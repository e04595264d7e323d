import { StarError } from '../core/errors.js';
import { type Tensor, tensor } from '../core/tensor.js';
import { DataType, type Tensor as WireTensor } from '../gen/star/v1/tensor.js';

/** Planes coded as bytes: value = code * scale + offset, one scale and offset per plane. */
export interface CodedPlanes {
  readonly tensor: WireTensor;
  readonly scales: number[];
  readonly offsets: number[];
}

const ELEMENT_BYTES: Readonly<Partial<Record<DataType, number>>> = {
  [DataType.DATA_TYPE_FLOAT32]: 4,
  [DataType.DATA_TYPE_FLOAT16]: 2,
  [DataType.DATA_TYPE_FLOAT64]: 8,
  [DataType.DATA_TYPE_UINT8]: 1,
};

const BIGGEST_CODE = 255;

/**
 * Checks element type, shape and length of a tensor from the wire.
 *
 * @param name what it is, for the message
 * @param expected shape that was agreed
 * @throws StarError TENSOR_INVALID
 */
export function assertWireTensor(wire: WireTensor, name: string, type: DataType, expected: readonly number[]): void {
  const fail = (what: string): never => {
    throw new StarError('TENSOR_INVALID', `${name}: ${what}`);
  };
  if (wire.dataType !== type) {
    fail(`expected element type ${DataType[type]}, received ${DataType[wire.dataType] ?? wire.dataType}`);
  }
  if (wire.shape.join() !== expected.join()) {
    fail(`expected shape [${expected.join(', ')}], received [${wire.shape.join(', ')}]`);
  }
  const byteCount = expected.reduce((product, axis) => product * axis, ELEMENT_BYTES[type] ?? 0);
  if (wire.data.byteLength !== byteCount) {
    fail(`shape [${expected.join(', ')}] needs ${byteCount} bytes, received ${wire.data.byteLength}`);
  }
}

/** float32 values as they are; the bytes are shared, not copied. */
export function encodeFloat32(values: Tensor): WireTensor {
  const { data } = values;
  return {
    dataType: DataType.DATA_TYPE_FLOAT32,
    shape: [...values.shape],
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

/** float32 values from a checked tensor; copied, because the bytes of a message need not be aligned. */
export function decodeFloat32(wire: WireTensor): Tensor {
  return tensor([...wire.shape], new Float32Array(alignedCopy(wire.data)));
}

/** float16 values from a checked tensor as float32. */
export function decodeFloat16(wire: WireTensor): Tensor {
  return tensor([...wire.shape], Float32Array.from(new Float16Array(alignedCopy(wire.data))));
}

/** float32 values as float16, rounded to nearest. */
export function encodeFloat16(values: Tensor): WireTensor {
  const halves = Float16Array.from(values.data);
  return { dataType: DataType.DATA_TYPE_FLOAT16, shape: [...values.shape], data: new Uint8Array(halves.buffer) };
}

/**
 * Attention as bytes, one plane of the last two axes at a time: offset = smallest value, scale = range / 255.
 * The error of a value is at most scale / 2. A constant plane has scale 0.
 *
 * @param values float32, at least two axes
 */
export function encodePlanes(values: Tensor): CodedPlanes {
  const codes = new Uint8Array(values.data.length);
  const scales: number[] = [];
  const offsets: number[] = [];
  for (const [start, plane] of planesOf(values)) {
    const offset = smallest(plane);
    const scale = Math.fround((largest(plane) - offset) / BIGGEST_CODE);
    quantise(plane, scale, offset, codes.subarray(start, start + plane.length));
    scales.push(scale);
    offsets.push(offset);
  }
  return {
    tensor: { dataType: DataType.DATA_TYPE_UINT8, shape: [...values.shape], data: codes },
    scales,
    offsets,
  };
}

/**
 * Inverse of `encodePlanes`, in float32: fround(fround(code * scale) + offset).
 *
 * @param name what it is, for the message
 * @throws StarError TENSOR_INVALID when scales or offsets do not fit the planes or are not finite
 */
export function decodePlanes(coded: CodedPlanes, name: string): Tensor {
  const values = tensor([...coded.tensor.shape], Float32Array.from(coded.tensor.data));
  const planes = [...planesOf(values)];
  assertFactors(coded.scales, planes.length, `${name}: scales`);
  assertFactors(coded.offsets, planes.length, `${name}: offsets`);
  for (const [index, [, plane]] of planes.entries()) {
    const scale = coded.scales[index] as number;
    const offset = coded.offsets[index] as number;
    for (let i = 0; i < plane.length; i += 1) plane[i] = Math.fround((plane[i] as number) * scale) + offset;
  }
  return values;
}

/**
 * Allocation maps as bytes: scale = largest value of the plane / 255, value = code * scale. The receiver makes the mean
 * exactly 1 again.
 *
 * @param maps float32 [S, h, w], >= 0, mean 1 over h, w
 */
export function encodeAllocationMaps(maps: Tensor): { tensor: WireTensor; scales: number[] } {
  const codes = new Uint8Array(maps.data.length);
  const scales: number[] = [];
  for (const [start, plane] of planesOf(maps)) {
    const scale = Math.fround(largest(plane) / BIGGEST_CODE);
    quantise(plane, scale, 0, codes.subarray(start, start + plane.length));
    scales.push(scale);
  }
  return { tensor: { dataType: DataType.DATA_TYPE_UINT8, shape: [...maps.shape], data: codes }, scales };
}

/** Every plane of the last two axes with the index of its first element. */
function* planesOf(values: Tensor): Generator<[number, Float32Array]> {
  const [rows = 1, columns = 1] = values.shape.slice(-2);
  const size = rows * columns;
  for (let start = 0; start < values.data.length; start += size)
    yield [start, values.data.subarray(start, start + size)];
}

/** codes = floor((value - offset) / scale + 0.5) inside 0..255; all 0 for scale 0. Plain loop: this is bulk. */
function quantise(plane: Float32Array, scale: number, offset: number, codes: Uint8Array): void {
  if (scale === 0) return;
  for (let i = 0; i < plane.length; i += 1) {
    const code = ((plane[i] as number) - offset) / scale + 0.5;
    // Storing to a Uint8Array drops the fraction.
    codes[i] = Math.min(BIGGEST_CODE, Math.max(0, code));
  }
}

function smallest(plane: Float32Array): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < plane.length; i += 1) if ((plane[i] as number) < least) least = plane[i] as number;
  return least;
}

function largest(plane: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < plane.length; i += 1) if ((plane[i] as number) > most) most = plane[i] as number;
  return most;
}

function assertFactors(factors: readonly number[], count: number, name: string): void {
  if (factors.length !== count || !factors.every(Number.isFinite)) {
    throw new StarError(
      'TENSOR_INVALID',
      `${name}: expected ${count} finite numbers, one per plane, received [${factors.slice(0, 8).join(', ')}]`,
    );
  }
}

function alignedCopy(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}
