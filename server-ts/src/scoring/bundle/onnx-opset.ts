import { BinaryReader } from '@bufbuild/protobuf/wire';

/** Field numbers of ModelProto and OperatorSetIdProto (onnx.proto). */
const OPSET_IMPORT = 8;
const OPSET_DOMAIN = 1;
const OPSET_VERSION = 2;

/**
 * Version of ONNX's own operators that a graph is written for. The rest of the file is passed over, not read.
 *
 * @param model bytes of a graph that a runtime has loaded
 * @returns null where the graph names none
 */
export function readOpset(model: Uint8Array): number | null {
  const reader = new BinaryReader(model);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== OPSET_IMPORT) reader.skip(wireType);
    else {
      const { domain, version } = readOpsetImport(new BinaryReader(reader.bytes()));
      if (domain === '' || domain === 'ai.onnx') return version;
    }
  }
  return null;
}

function readOpsetImport(reader: BinaryReader): { domain: string; version: number } {
  const entry = { domain: '', version: 0 };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === OPSET_DOMAIN) entry.domain = reader.string();
    else if (field === OPSET_VERSION) entry.version = Number(reader.int64());
    else reader.skip(wireType);
  }
  return entry;
}
