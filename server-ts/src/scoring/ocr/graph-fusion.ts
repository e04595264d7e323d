import {
  floatOf,
  intsOf,
  type OnnxConstant,
  type OnnxGraph,
  type OnnxNode,
  onnxNode,
  rewriteModel,
} from './onnx-graph.js';

/**
 * Rewrites of PP-OCR's graphs that leave what they compute as it is, up to the rounding of float32, and let ONNX Runtime keep
 * its fast layout. PP-LCNet puts a learnable scale and shift around every hard swish; exported, that is eight passes over a
 * feature map, each of which also takes the runtime out of its blocked layout.
 *
 * @param model bytes of an ONNX file
 * @returns the model itself where nothing fits
 */
export function fuseGraph(model: Uint8Array): Uint8Array {
  return rewriteModel(model, (graph) =>
    [foldScalesIntoConvs, fuseHardSwish, fuseGates].reduce((made, pass) => pass(made), graph),
  );
}

/** What a rewrite needs to know of the graph around a node, and what it wants changed. */
class Rewrite {
  readonly #graph: OnnxGraph;
  readonly #consumers = new Map<string, OnnxNode[]>();
  readonly #producers = new Map<string, OnnxNode>();
  readonly #replacements = new Map<OnnxNode, readonly OnnxNode[]>();
  readonly #constants = new Map<string, OnnxConstant>();

  constructor(graph: OnnxGraph) {
    this.#graph = graph;
    for (const node of graph.nodes) {
      for (const input of node.inputs) this.#consumers.set(input, [...this.consumersOf(input), node]);
      for (const output of node.outputs) this.#producers.set(output, node);
    }
  }

  consumersOf(value: string): readonly OnnxNode[] {
    return this.#consumers.get(value) ?? [];
  }

  producerOf(value: string): OnnxNode | undefined {
    return this.#producers.get(value);
  }

  /** The only node that reads a value, if it is of that kind and the value is no output of the graph. */
  onlyConsumer(value: string, op: string): OnnxNode | undefined {
    const [node, ...others] = this.consumersOf(value);
    return others.length === 0 && node?.op === op && !this.isOutput(value) ? node : undefined;
  }

  constant(name: string | undefined): OnnxConstant | undefined {
    return name === undefined ? undefined : (this.#constants.get(name) ?? this.#graph.constants.get(name));
  }

  isOutput(value: string): boolean {
    return this.#graph.outputs.has(value);
  }

  /** The one number among the inputs of a node. */
  scalarOf(node: OnnxNode | undefined): number | undefined {
    const numbers = node?.inputs.map((input) => this.constant(input)?.data).filter((data) => data?.length === 1);
    return numbers?.[0]?.[0];
  }

  /** @returns name of the new constant */
  addConstant(shape: readonly number[], data: Float32Array): string {
    const name = `star.constant.${this.#graph.constants.size + this.#constants.size}`;
    this.#constants.set(name, { shape, data });
    return name;
  }

  /** Puts nodes in the place of one; none: removes it. */
  replace(node: OnnxNode, ...by: readonly OnnxNode[]): void {
    this.#replacements.set(node, by);
  }

  /** @returns the graph itself when nothing was replaced */
  finish(): OnnxGraph {
    if (this.#replacements.size === 0) return this.#graph;
    const nodes = this.#graph.nodes.flatMap((node) => this.#replacements.get(node) ?? [node]);
    return { ...this.#graph, nodes, constants: new Map([...this.#graph.constants, ...this.#constants]) };
  }
}

/** value * scale + shift, by a Mul and an Add with one number each, of which either may be absent. */
interface ScaleShift {
  readonly scale: number;
  readonly shift: number;
  readonly output: string;
  readonly nodes: readonly OnnxNode[];
}

function scaleShiftAfter(rewrite: Rewrite, value: string): ScaleShift {
  const mul = rewrite.onlyConsumer(value, 'Mul');
  const scale = rewrite.scalarOf(mul);
  const scaled = mul !== undefined && scale !== undefined ? (mul.outputs[0] ?? value) : value;
  const add = rewrite.onlyConsumer(scaled, 'Add');
  const shift = rewrite.scalarOf(add);
  const output = add !== undefined && shift !== undefined ? (add.outputs[0] ?? scaled) : scaled;
  const nodes = [scale === undefined ? undefined : mul, shift === undefined ? undefined : add];
  return { scale: scale ?? 1, shift: shift ?? 0, output, nodes: nodes.filter((node) => node !== undefined) };
}

/** conv(x) * scale + shift is a convolution with other weights. */
function foldScalesIntoConvs(graph: OnnxGraph): OnnxGraph {
  const rewrite = new Rewrite(graph);
  for (const conv of graph.nodes.filter(({ op }) => op === 'Conv')) {
    const weights = rewrite.constant(conv.inputs[1]);
    const { scale, shift, output, nodes } = scaleShiftAfter(rewrite, conv.outputs[0] ?? '');
    if (weights === undefined || nodes.length === 0) continue;
    const bias = biasOf(rewrite, conv, weights).map((value) => value * scale + shift);
    const inputs = [
      conv.inputs[0] ?? '',
      rewrite.addConstant(
        weights.shape,
        weights.data.map((value) => value * scale),
      ),
      rewrite.addConstant([bias.length], bias),
    ];
    rewrite.replace(conv, { ...conv, inputs, outputs: [output] });
    for (const node of nodes) rewrite.replace(node);
  }
  return rewrite.finish();
}

function biasOf(rewrite: Rewrite, conv: OnnxNode, weights: OnnxConstant): Float32Array {
  return rewrite.constant(conv.inputs[2])?.data ?? new Float32Array(weights.shape[0] ?? 0);
}

/**
 * Hard swish x * min(max(x + 3, 0), 6) / 6 with a scale and shift after it. The gate becomes a 1x1 convolution per channel with
 * a hard sigmoid, which the runtime fuses; scale and shift go into the next convolutions where these have no padding, else
 * into another one per channel.
 */
function fuseHardSwish(graph: OnnxGraph): OnnxGraph {
  const rewrite = new Rewrite(graph);
  for (const add of graph.nodes.filter(({ op }) => op === 'Add')) {
    const found = hardSwishFrom(rewrite, add);
    if (found === undefined) continue;
    const { x, channels, chain, after } = found;
    const name = after.output;
    const gate = [
      perChannel(rewrite, x, `${name}.x`, channels, 1, 0),
      onnxNode('HardSigmoid', [`${name}.x`], `${name}.gate`, { alpha: { float: 1 / 6 }, beta: { float: 0.5 } }),
    ];
    const last = chain.at(-1) as OnnxNode;
    for (const node of chain) rewrite.replace(node);
    if (foldIntoConsumers(rewrite, after)) {
      rewrite.replace(last, ...gate, onnxNode('Mul', [x, `${name}.gate`], name));
    } else {
      const shifted = perChannel(rewrite, `${name}.swish`, name, channels, after.scale, after.shift);
      rewrite.replace(last, ...gate, onnxNode('Mul', [x, `${name}.gate`], `${name}.swish`), shifted);
    }
  }
  return rewrite.finish();
}

interface HardSwish {
  readonly x: string;
  readonly channels: number;
  /** Its nodes, with scale and shift. */
  readonly chain: readonly OnnxNode[];
  readonly after: ScaleShift;
}

/** @param add where the pattern may start */
function hardSwishFrom(rewrite: Rewrite, add: OnnxNode): HardSwish | undefined {
  if (rewrite.scalarOf(add) !== 3) return undefined;
  const x = add.inputs.find((input) => rewrite.constant(input) === undefined) ?? '';
  const clip = rewrite.onlyConsumer(add.outputs[0] ?? '', 'Clip');
  const mul = rewrite.onlyConsumer(clip?.outputs[0] ?? '', 'Mul');
  const div = rewrite.onlyConsumer(mul?.outputs[0] ?? '', 'Div');
  const source = rewrite.producerOf(x);
  const channels = source?.op === 'Conv' ? rewrite.constant(source.inputs[1])?.shape[0] : undefined;
  if (clip === undefined || mul === undefined || div === undefined || channels === undefined) return undefined;
  if (!mul.inputs.includes(x) || rewrite.scalarOf(div) !== 6 || !clipsToSix(rewrite, clip)) return undefined;
  const after = scaleShiftAfter(rewrite, div.outputs[0] ?? '');
  return { x, channels, chain: [add, clip, mul, div, ...after.nodes], after };
}

/** Limits are inputs from opset 11 on and attributes before. */
function clipsToSix(rewrite: Rewrite, clip: OnnxNode): boolean {
  const [, low, high] = clip.inputs;
  const from = low === undefined ? floatOf(clip, 'min') : rewrite.constant(low)?.data[0];
  const to = high === undefined ? floatOf(clip, 'max') : rewrite.constant(high)?.data[0];
  return from === 0 && to === 6;
}

/** The same scale and shift for every channel, as a 1x1 convolution: the runtime's cheapest pass in its own layout. */
function perChannel(
  rewrite: Rewrite,
  x: string,
  output: string,
  channels: number,
  scale: number,
  shift: number,
): OnnxNode {
  const weights = rewrite.addConstant([channels, 1, 1, 1], new Float32Array(channels).fill(scale));
  const bias = rewrite.addConstant([channels], new Float32Array(channels).fill(shift));
  return onnxNode('Conv', [x, weights, bias], output, { kernel_shape: { ints: [1, 1] }, group: { int: channels } });
}

/**
 * conv(h * scale + shift) is a convolution of h with other weights, unless padding with zeros comes in between.
 *
 * @returns false, and nothing is changed, when a consumer is anything else
 */
function foldIntoConsumers(rewrite: Rewrite, { scale, shift, output }: ScaleShift): boolean {
  const consumers = rewrite.consumersOf(output);
  const fits = consumers.every((node) => {
    const pads = intsOf(node, 'pads') ?? [];
    return node.op === 'Conv' && rewrite.constant(node.inputs[1]) !== undefined && pads.every((pad) => pad === 0);
  });
  if (!fits || consumers.length === 0 || rewrite.isOutput(output)) return false;
  for (const conv of consumers) {
    const weights = rewrite.constant(conv.inputs[1]) as OnnxConstant;
    const size = weights.data.length / (weights.shape[0] ?? 1);
    const bias = biasOf(rewrite, conv, weights).map((value, channel) => {
      const row = weights.data.subarray(channel * size, (channel + 1) * size);
      return value + shift * row.reduce((sum, weight) => sum + weight, 0);
    });
    const inputs = [
      conv.inputs[0] ?? '',
      rewrite.addConstant(
        weights.shape,
        weights.data.map((value) => value * scale),
      ),
      rewrite.addConstant([bias.length], bias),
    ];
    rewrite.replace(conv, { ...conv, inputs });
  }
  return true;
}

/** x + x * gate is x * (gate + 1): one pass over the feature map less, because the gate is one number per channel. */
function fuseGates(graph: OnnxGraph): OnnxGraph {
  const rewrite = new Rewrite(graph);
  for (const mul of graph.nodes.filter(({ op }) => op === 'Mul')) {
    const add = rewrite.onlyConsumer(mul.outputs[0] ?? '', 'Add');
    const x = mul.inputs.find((input) => add?.inputs.includes(input));
    const gate = mul.inputs.find((input) => input !== x);
    if (add === undefined || x === undefined || gate === undefined) continue;
    if (rewrite.producerOf(gate)?.op !== 'HardSigmoid') continue;
    const one = rewrite.addConstant([1], Float32Array.of(1));
    const output = add.outputs[0] ?? '';
    rewrite.replace(mul, onnxNode('Add', [gate, one], `${output}.gate`));
    rewrite.replace(add, onnxNode('Mul', [x, `${output}.gate`], output));
  }
  return rewrite.finish();
}
