import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Tensor as WireTensor } from '../gen/star/v1/tensor.js';
import { LossMask as WireLossMask } from '../gen/star/v1/update.js';
import type { FetchLossMasksResponse } from '../gen/star/v1/worker_service.js';

/** Tags of length-delimited fields: number << 3 | 2. */
const TAG_CHUNK = 0x0a;
const TAG_MASKS = 0x0a;
const TAG_ALLOCATION_MAPS = 0x1a;
const TAG_TENSOR_DATA = 0x1a;

const NO_BYTES = new Uint8Array(0);

/** A mask cut at its bulk: everything but the tensor, everything of the tensor but its elements, the elements. */
interface Parts {
  readonly fields: Uint8Array;
  /** Null: no allocation maps. */
  readonly tensor: { readonly fields: Uint8Array; readonly data: Uint8Array; readonly size: number } | null;
  readonly size: number;
}

/**
 * Bytes of a message of loss masks; any protobuf reader takes them. The generated writer moves the elements once per level
 * of nesting and whenever it grows; here the sizes are known before, and the elements are copied once.
 */
export function serializeLossMasks({ chunk }: FetchLossMasksResponse): Buffer {
  if (chunk === undefined) return Buffer.alloc(0);
  // One writer for all small parts: `finish` empties it, and its memory is used again.
  const writer = new BinaryWriter();
  const masks = chunk.masks.map((mask) => partsOf(mask, writer));
  const chunkSize = masks.reduce((sum, mask) => sum + fieldSize(mask.size), 0);
  const output = Buffer.allocUnsafe(fieldSize(chunkSize));
  let at = writeHeader(output, 0, TAG_CHUNK, chunkSize);
  for (const mask of masks) at = writeMask(output, at, mask);
  return output;
}

function partsOf(mask: WireLossMask, writer: BinaryWriter): Parts {
  const fields = WireLossMask.encode({ ...mask, allocationMaps: undefined }, writer).finish();
  const maps = mask.allocationMaps;
  if (maps === undefined) return { fields, tensor: null, size: fields.length };
  const tensorFields = WireTensor.encode({ ...maps, data: NO_BYTES }, writer).finish();
  const size = tensorFields.length + fieldSize(maps.data.length);
  return { fields, tensor: { fields: tensorFields, data: maps.data, size }, size: fields.length + fieldSize(size) };
}

function writeMask(output: Buffer, start: number, { fields, tensor, size }: Parts): number {
  let at = writeHeader(output, start, TAG_MASKS, size);
  at = writeBytes(output, at, fields);
  if (tensor === null) return at;
  at = writeHeader(output, at, TAG_ALLOCATION_MAPS, tensor.size);
  at = writeBytes(output, at, tensor.fields);
  at = writeHeader(output, at, TAG_TENSOR_DATA, tensor.data.length);
  return writeBytes(output, at, tensor.data);
}

/** Bytes of a field with a tag of one byte and `size` bytes of content. */
function fieldSize(size: number): number {
  let bytes = 2 + size;
  for (let rest = size >>> 7; rest > 0; rest >>>= 7) bytes += 1;
  return bytes;
}

/** Tag and length as varint. @returns position after them */
function writeHeader(output: Buffer, start: number, tag: number, size: number): number {
  let at = output.writeUInt8(tag, start);
  let rest = size;
  for (; rest > 0x7f; rest >>>= 7) at = output.writeUInt8((rest & 0x7f) | 0x80, at);
  return output.writeUInt8(rest, at);
}

function writeBytes(output: Buffer, start: number, bytes: Uint8Array): number {
  output.set(bytes, start);
  return start + bytes.length;
}
