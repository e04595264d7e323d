import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Reads and writes what a rewrite of an ONNX graph needs (onnx.proto3); everything else is carried over as it is. */

/** A node; attributes are encoded AttributeProto messages. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly Uint8Array[];
}

/** A float32 constant. */
export interface OnnxConstant {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Nodes in an order in which they can run. */
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  /** Float32 initialisers and Constant nodes by the name of their value. */
  readonly constants: ReadonlyMap<string, OnnxConstant>;
  /** Names of the graph's outputs. */
  readonly outputs: ReadonlySet<string>;
}

/** Value of an attribute that the rewrites write: a number in `float`, whole numbers otherwise. */
export type OnnxAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly ints: readonly number[] };

/** Field numbers of onnx.proto3. */
const MODEL_GRAPH = 7;
const GRAPH = { node: 1, initializer: 5, output: 12, valueInfo: 13 } as const;
const NODE = { input: 1, output: 2, op: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { name: 1, float: 2, int: 3, tensor: 5, ints: 8, type: 20 } as const;
const TENSOR = { dims: 1, type: 2, floats: 4, name: 8, raw: 9 } as const;
const FLOAT = 1;
const ATTRIBUTE_TYPE = { float: 1, int: 2, ints: 7 } as const;

/**
 * Rewrites the graph of a model. Constants that `rewrite` adds become initialisers.
 *
 * @param model bytes of an ONNX file
 * @returns the model itself when `rewrite` returns the graph that it got
 */
export function rewriteModel(model: Uint8Array, rewrite: (graph: OnnxGraph) => OnnxGraph): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of fieldsOf(model)) {
    if (field.number !== MODEL_GRAPH) {
      writer.raw(field.whole);
      continue;
    }
    const graph = readGraph(field.content);
    const rewritten = rewrite(graph);
    if (rewritten === graph) return model;
    writer.tag(MODEL_GRAPH, WireType.LengthDelimited).bytes(writeGraph(field.content, graph, rewritten));
  }
  return writer.finish();
}

/** A node without a domain of its own. */
export function onnxNode(
  op: string,
  inputs: readonly string[],
  output: string,
  attributes: Readonly<Record<string, OnnxAttribute>> = {},
): OnnxNode {
  const encoded = Object.entries(attributes).map(([name, value]) => writeAttribute(name, value));
  return { op, inputs, outputs: [output], attributes: encoded };
}

/** Whole numbers of an attribute; null where the node has none of that name. */
export function intsOf(node: OnnxNode, name: string): readonly number[] | null {
  const fields = attributeOf(node, name);
  return fields === null ? null : fields.filter(({ number }) => number === ATTRIBUTE.ints).flatMap(varintsOf);
}

/** Number of an attribute; null where the node has none of that name. */
export function floatOf(node: OnnxNode, name: string): number | null {
  const field = attributeOf(node, name)?.find(({ number }) => number === ATTRIBUTE.float);
  return field === undefined ? null : new BinaryReader(field.content).float();
}

function attributeOf(node: OnnxNode, name: string): Field[] | null {
  const attributes = node.attributes.map(fieldsOf);
  const isNamed = ({ number, content }: Field): boolean => number === ATTRIBUTE.name && text(content) === name;
  return attributes.find((fields) => fields.some(isNamed)) ?? null;
}

/** A field of a message: `whole` with its tag, `content` without tag and length. */
interface Field {
  readonly number: number;
  readonly type: WireType;
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

function fieldsOf(message: Uint8Array): Field[] {
  const reader = new BinaryReader(message);
  const fields: Field[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, type] = reader.tag();
    const body = reader.pos;
    reader.skip(type, number);
    const whole = message.subarray(start, reader.pos);
    const inner = message.subarray(body, reader.pos);
    fields.push({
      number,
      type,
      whole,
      content: type === WireType.LengthDelimited ? new BinaryReader(inner).bytes() : inner,
    });
  }
  return fields;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Numbers of a repeated field, packed or not. */
function varintsOf({ content }: Field): number[] {
  const reader = new BinaryReader(content);
  const numbers: number[] = [];
  while (reader.pos < reader.len) numbers.push(Number(reader.int64()));
  return numbers;
}

function readGraph(message: Uint8Array): OnnxGraph {
  const fields = fieldsOf(message);
  const nodes = fields.filter(({ number }) => number === GRAPH.node).map(({ content }) => readNode(content));
  const outputs = fields.filter(({ number }) => number === GRAPH.output).map(({ content }) => nameIn(content, 1));
  const constants = new Map<string, OnnxConstant>();
  for (const { number, content } of fields) {
    if (number === GRAPH.initializer) addConstant(constants, nameIn(content, TENSOR.name), content);
  }
  for (const node of nodes.filter(({ op }) => op === 'Constant')) {
    const value = node.attributes.flatMap(fieldsOf).find(({ number }) => number === ATTRIBUTE.tensor);
    if (value !== undefined) addConstant(constants, node.outputs[0] ?? '', value.content);
  }
  return { nodes, constants, outputs: new Set(outputs) };
}

function readNode(message: Uint8Array): OnnxNode {
  const fields = fieldsOf(message);
  const all = (wanted: number): Uint8Array[] =>
    fields.filter(({ number }) => number === wanted).map((field) => field.content);
  const domain = all(NODE.domain).map(text).join('');
  return {
    // A node of another domain is carried over under a name that no rewrite looks for.
    op: all(NODE.op).map(text).join('') + (domain === '' ? '' : `@${domain}`),
    inputs: all(NODE.input).map(text),
    outputs: all(NODE.output).map(text),
    attributes: all(NODE.attribute),
  };
}

function nameIn(message: Uint8Array, wanted: number): string {
  const field = fieldsOf(message).find(({ number }) => number === wanted);
  return field === undefined ? '' : text(field.content);
}

/** Other types than float32 are left to the runtime. */
function addConstant(constants: Map<string, OnnxConstant>, name: string, tensor: Uint8Array): void {
  const fields = fieldsOf(tensor);
  const of = (wanted: number): Field[] => fields.filter(({ number }) => number === wanted);
  if (of(TENSOR.type).flatMap(varintsOf)[0] !== FLOAT) return;
  const bytes = [...of(TENSOR.raw), ...of(TENSOR.floats)].map(({ content }) => content)[0];
  if (bytes === undefined) return;
  constants.set(name, {
    shape: of(TENSOR.dims).flatMap(varintsOf),
    data: new Float32Array(new Uint8Array(bytes).buffer),
  });
}

function writeGraph(message: Uint8Array, before: OnnxGraph, after: OnnxGraph): Uint8Array {
  const writer = new BinaryWriter();
  for (const node of after.nodes) writer.tag(GRAPH.node, WireType.LengthDelimited).bytes(writeNode(node));
  for (const [name, constant] of after.constants) {
    if (before.constants.has(name)) continue;
    writer.tag(GRAPH.initializer, WireType.LengthDelimited).bytes(writeConstant(name, constant));
  }
  // Shapes of values in between are inferred anew.
  for (const { number, whole } of fieldsOf(message)) {
    if (number !== GRAPH.node && number !== GRAPH.valueInfo) writer.raw(whole);
  }
  return writer.finish();
}

function writeNode({ op, inputs, outputs, attributes }: OnnxNode): Uint8Array {
  const writer = new BinaryWriter();
  const [name = '', domain] = op.split('@');
  for (const input of inputs) writer.tag(NODE.input, WireType.LengthDelimited).string(input);
  for (const output of outputs) writer.tag(NODE.output, WireType.LengthDelimited).string(output);
  writer.tag(NODE.op, WireType.LengthDelimited).string(name);
  for (const attribute of attributes) writer.tag(NODE.attribute, WireType.LengthDelimited).bytes(attribute);
  if (domain !== undefined) writer.tag(NODE.domain, WireType.LengthDelimited).string(domain);
  return writer.finish();
}

function writeAttribute(name: string, value: OnnxAttribute): Uint8Array {
  const writer = new BinaryWriter().tag(ATTRIBUTE.name, WireType.LengthDelimited).string(name);
  let type: number;
  if ('float' in value) {
    type = ATTRIBUTE_TYPE.float;
    writer.tag(ATTRIBUTE.float, WireType.Bit32).float(value.float);
  } else if ('int' in value) {
    type = ATTRIBUTE_TYPE.int;
    writer.tag(ATTRIBUTE.int, WireType.Varint).int64(value.int);
  } else {
    type = ATTRIBUTE_TYPE.ints;
    for (const each of value.ints) writer.tag(ATTRIBUTE.ints, WireType.Varint).int64(each);
  }
  return writer.tag(ATTRIBUTE.type, WireType.Varint).int32(type).finish();
}

function writeConstant(name: string, { shape, data }: OnnxConstant): Uint8Array {
  const writer = new BinaryWriter();
  for (const axis of shape) writer.tag(TENSOR.dims, WireType.Varint).int64(axis);
  writer.tag(TENSOR.type, WireType.Varint).int32(FLOAT);
  writer.tag(TENSOR.name, WireType.LengthDelimited).string(name);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return writer.tag(TENSOR.raw, WireType.LengthDelimited).bytes(bytes).finish();
}
