import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tensor } from '../core/tensor.js';
import { DataType } from '../gen/star/v1/tensor.js';
import {
  assertWireTensor,
  decodeFloat16,
  decodeFloat32,
  decodePlanes,
  encodeAllocationMaps,
  encodeFloat16,
  encodeFloat32,
  encodePlanes,
} from './tensor-codec.js';

interface Case {
  name: string;
  shape: number[];
  values: number[];
  codes: number[];
  scales: number[];
  offsets: number[];
  decoded: number[];
  bytes_hex: string;
}

const golden = JSON.parse(
  readFileSync(new URL('../../../golden/tensor_codec.json', import.meta.url), 'utf8'),
) as Record<'attention_uint8' | 'allocation_uint8' | 'attention_float16', Case[]> & { relative_tolerance: number };

function expectClose(received: ArrayLike<number>, expected: readonly number[]): void {
  expect(received.length).toBe(expected.length);
  for (const [index, value] of expected.entries()) {
    const error = Math.abs((received[index] as number) - value);
    expect(error).toBeLessThanOrEqual(Math.abs(value) * golden.relative_tolerance);
  }
}

describe('golden/tensor_codec.json', () => {
  it.each(golden.attention_uint8)('attention as uint8: $name', (each) => {
    const coded = encodePlanes(tensor(each.shape, Float32Array.from(each.values)));
    expect([...coded.tensor.data]).toEqual(each.codes);
    expect(coded.scales).toEqual(each.scales);
    expect(coded.offsets).toEqual(each.offsets);
    expectClose(decodePlanes(coded, each.name).data, each.decoded);
  });

  it.each(golden.allocation_uint8)('allocation maps as uint8: $name', (each) => {
    const coded = encodeAllocationMaps(tensor(each.shape, Float32Array.from(each.values)));
    expect([...coded.tensor.data]).toEqual(each.codes);
    expect(coded.scales).toEqual(each.scales);
  });

  it.each(golden.attention_float16)('attention as float16: $name', (each) => {
    const wire = encodeFloat16(tensor(each.shape, Float32Array.from(each.values)));
    expect(Buffer.from(wire.data).toString('hex')).toBe(each.bytes_hex);
    expect([...decodeFloat16(wire).data]).toEqual(each.decoded);
  });
});

describe('properties', () => {
  const plane = fc.array(fc.float({ min: 0, max: 1000, noNaN: true }), { minLength: 4, maxLength: 4 });

  it('coding loses at most half a scale, plus rounding to float32', () => {
    fc.assert(
      fc.property(fc.array(plane, { minLength: 1, maxLength: 3 }), (planes) => {
        const values = tensor([planes.length, 2, 2], Float32Array.from(planes.flat()));
        const coded = encodePlanes(values);
        const back = decodePlanes(coded, 'test');
        for (const [index, value] of values.data.entries()) {
          const scale = coded.scales[Math.floor(index / 4)] as number;
          expect(Math.abs((back.data[index] as number) - value)).toBeLessThanOrEqual(
            scale * 0.5001 + value * 3e-7 + 1e-35,
          );
        }
      }),
    );
  });

  it('float32 passes every bit, also from bytes that are not aligned', () => {
    const values = tensor([1, 3], Float32Array.of(1e-45, -0, 3.4e38));
    const wire = encodeFloat32(values);
    const shifted = new Uint8Array(13);
    shifted.set(wire.data, 1);
    expect(decodeFloat32({ ...wire, data: shifted.subarray(1) })).toEqual(values);
  });

  it.each([
    [
      'element type',
      { dataType: DataType.DATA_TYPE_FLOAT16 },
      /expected element type DATA_TYPE_UINT8, received DATA_TYPE_FLOAT16/,
    ],
    ['shape', { shape: [4] }, /expected shape \[2, 2\], received \[4\]/],
    ['length', { data: new Uint8Array(3) }, /needs 4 bytes, received 3/],
  ])('names expected and received %s', (_, change, message) => {
    const wire = { dataType: DataType.DATA_TYPE_UINT8, shape: [2, 2], data: new Uint8Array(4), ...change };
    expect(() => assertWireTensor(wire, 'map', DataType.DATA_TYPE_UINT8, [2, 2])).toThrow(message);
  });
});
