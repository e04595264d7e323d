import { StarError } from './errors.js';

/** Dense row-major array. Shape letters: G rollouts of a group, S captured steps, J concepts, h w rows and columns of image tokens. */
export interface Tensor<T extends Float32Array | Float64Array | Uint8Array = Float32Array> {
  readonly shape: readonly number[];
  readonly data: T;
}

/**
 * Checks that `data` fits `shape`.
 *
 * @throws StarError TENSOR_INVALID when an axis is not a positive whole number or the length differs
 */
export function tensor<T extends Float32Array | Float64Array | Uint8Array>(
  shape: readonly number[],
  data: T,
): Tensor<T> {
  const expected = shape.reduce((product, axis) => product * axis, 1);
  if (shape.some((axis) => !Number.isInteger(axis) || axis < 1) || expected !== data.length) {
    throw new StarError(
      'TENSOR_INVALID',
      `shape [${shape.join(', ')}] needs ${expected} elements, received ${data.length}`,
    );
  }
  return { shape, data };
}
