import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataType } from '../gen/star/v1/tensor.js';
import type { LossMask } from '../gen/star/v1/update.js';
import { FetchLossMasksResponse } from '../gen/star/v1/worker_service.js';
import { serializeLossMasks } from './loss-mask-serializer.js';

const tensor = fc.record({
  dataType: fc.constantFrom(DataType.DATA_TYPE_FLOAT32, DataType.DATA_TYPE_UINT8),
  shape: fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 3 }),
  // Lengths on both sides of where a length takes another byte.
  data: fc.constantFrom(0, 1, 100, 127, 128, 16_383, 16_384, 40_000).map((length) => pattern(length)),
});
const mask: fc.Arbitrary<LossMask> = fc.record({
  rolloutId: fc.string({ unit: 'binary', maxLength: 200 }),
  advantage: fc.option(fc.double({ noNaN: true }), { nil: undefined }),
  allocationMaps: fc.option(tensor, { nil: undefined }),
  scales: fc.array(fc.float({ noNaN: true }), { maxLength: 40 }),
  stepIndexes: fc.array(fc.nat(), { maxLength: 40 }),
});

describe('serializeLossMasks', () => {
  it('writes what the generated reader reads', () => {
    fc.assert(
      fc.property(fc.array(mask, { maxLength: 4 }), (masks) => {
        const message: FetchLossMasksResponse = { chunk: { masks } };
        const expected = FetchLossMasksResponse.decode(FetchLossMasksResponse.encode(message).finish());
        expect(FetchLossMasksResponse.decode(new Uint8Array(serializeLossMasks(message)))).toEqual(expected);
      }),
    );
  });

  it('writes a message above 2 MiB and one without content', () => {
    const maps = { dataType: DataType.DATA_TYPE_UINT8, shape: [3_000_000], data: pattern(3_000_000) };
    const big = { rolloutId: 'r', advantage: 1, allocationMaps: maps, scales: [], stepIndexes: [0] };
    const { chunk } = FetchLossMasksResponse.decode(serializeLossMasks({ chunk: { masks: [big, big] } }));
    expect(
      chunk?.masks.map(({ allocationMaps }) => Buffer.compare(allocationMaps?.data ?? pattern(0), maps.data)),
    ).toEqual([0, 0]);
    expect(FetchLossMasksResponse.decode(serializeLossMasks({ chunk: undefined })).chunk).toBeUndefined();
  });
});

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 3) % 256);
}
