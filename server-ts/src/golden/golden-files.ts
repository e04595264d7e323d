import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { StarError } from '../core/errors.js';

/** Array as golden files write it. */
export interface GoldenArray {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: unknown;
}

/** Text of a golden file, plain or `.gz`; null where the folder has neither. */
export function readGolden(folder: string, name: string): string | null {
  const path = join(folder, name);
  if (existsSync(path)) return readFileSync(path, 'utf8');
  return existsSync(`${path}.gz`) ? gunzipSync(readFileSync(`${path}.gz`)).toString('utf8') : null;
}

/** Numbers of an array, row-major. */
export function flatten(array: GoldenArray): number[] {
  const values = [array.data].flat(Number.POSITIVE_INFINITY) as number[];
  const expected = array.shape.reduce((product, axis) => product * axis, 1);
  if (values.length === expected) return values;
  const shape = array.shape.join(', ');
  throw new StarError('TENSOR_INVALID', `golden array of shape [${shape}] holds ${values.length} values`);
}
