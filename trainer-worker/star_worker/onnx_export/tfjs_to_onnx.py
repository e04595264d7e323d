"""Converts a graph model of TensorFlow.js to ONNX (opset 18). The same input gives the same bytes.

Covers the operations of the detectors that npm packages ship (CenterNet, NanoDet). Convolutions stay NHWC to the
outside: each one stands between two transpositions, which the runtime removes where they meet.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from star_worker.errors import StarError
from star_worker.onnx_export.tfjs_model import Array, TfjsModel, TfjsNode, read_tfjs_model

OPSET: Final = 18
IR_VERSION: Final = 8
TO_NCHW: Final = [0, 3, 1, 2]
TO_NHWC: Final = [0, 2, 3, 1]
CAST_TYPES: Final[Mapping[str, int]] = {
    "DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT32, "DT_INT64": TensorProto.INT32,
    "DT_BOOL": TensorProto.BOOL,
}  # fmt: skip


def convert(model_json: Path, out: Path, outputs: Sequence[str] | None = None) -> None:
    """Convert `model_json` (weights beside it) and write the ONNX file `out`.

    Args:
        model_json: file of the graph model
        out: file to write
        outputs: names of the nodes to give; None: those of the signature

    Raises:
        StarError: ARGUMENT_INVALID for an operation, attribute or output that is not known here.

    """
    model = read_tfjs_model(model_json)
    wanted = tuple(outputs or model.outputs)
    out.write_bytes(build_onnx(model, wanted).SerializeToString(deterministic=True))


def build_onnx(model: TfjsModel, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the ONNX model that computes `outputs`."""
    graph = _Graph(model)
    for name in outputs:
        graph.require(name)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in model.inputs.items()]
    proto = helper.make_graph(
        graph.nodes,
        "tfjs",
        inputs,
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        graph.initializers,
    )
    untyped = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="star"
    )
    typed = onnx.shape_inference.infer_shapes(untyped, strict_mode=True)
    del typed.graph.value_info[:]
    onnx.checker.check_model(typed)
    return typed


class _Graph:
    """ONNX nodes in the order in which they are needed."""

    def __init__(self, model: TfjsModel) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._model = model
        self._constants = dict(model.constants)
        self._made = set(model.inputs)

    def require(self, name: str) -> str:
        """Make sure that a tensor is there. Return its name."""
        pending = [name]
        while pending:
            current = pending[-1]
            if current in self._made or current in self._constants:
                pending.pop()
                continue
            node = self._node(current)
            missing = [wanted for wanted in node.inputs if wanted not in self._made and wanted not in self._constants]
            if missing:
                pending.extend(reversed(missing))
                continue
            self._translate(node)
            pending.pop()
        return self.tensor(name)

    def _node(self, name: str) -> TfjsNode:
        node = self._model.nodes.get(name.split(":", 1)[0])
        if node is None:
            raise StarError("ARGUMENT_INVALID", f"the graph has no node {name}")
        return node

    def _translate(self, node: TfjsNode) -> None:
        if node.op in FOLDED and all(name in self._constants for name in node.inputs):
            self._constants[node.name] = FOLDED[node.op](*(self._constants[name] for name in node.inputs))
            return
        translate = TRANSLATIONS.get(node.op)
        if translate is None:
            known = ", ".join(sorted(TRANSLATIONS))
            raise StarError("ARGUMENT_INVALID", f"operation {node.op} of {node.name} is not known; known are {known}")
        translate(self, node)

    def constant(self, name: str) -> Array:
        """Return the value of an input that has to be constant."""
        value = self._constants.get(name)
        if value is None:
            raise StarError("ARGUMENT_INVALID", f"{name} must be constant to be converted")
        return value

    def tensor(self, name: str) -> str:
        """Return the name under which ONNX nodes read a tensor."""
        if name not in self._made:
            self.value(name, self._constants[name])
        return name

    def value(self, name: str, value: Array) -> str:
        """Add a constant under a name. Return the name."""
        if name not in self._made:
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            self._made.add(name)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any) -> str:
        """Add an ONNX node. Return its first output."""
        outputs = [output] if isinstance(output, str) else list(output)
        self.nodes.append(helper.make_node(op, list(inputs), outputs, **attributes))
        self._made.update(outputs)
        return outputs[0]


Translation = Callable[[_Graph, TfjsNode], None]


def _same(op: str, **attributes: Any) -> Translation:
    """Translate to one ONNX node with the same inputs."""

    def translate(graph: _Graph, node: TfjsNode) -> None:
        graph.add(op, [graph.tensor(name) for name in node.inputs], node.name, **attributes)

    return translate


def _conv(graph: _Graph, node: TfjsNode) -> None:
    source, weights, *rest = node.inputs
    kernel = graph.constant(weights)
    group = 1
    if "Depthwise" in node.op:
        # [H, W, I, M] -> [I * M, 1, H, W]
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        group = channels
    else:
        kernel = kernel.transpose(3, 2, 0, 1)
    inputs = [_to_nchw(graph, node, source), graph.value(f"{node.name}/kernel", kernel)]
    activations = _fused(node)
    if node.texts("fused_ops"):
        inputs.append(graph.tensor(rest[0]))
    result = graph.add(
        "Conv", inputs, f"{node.name}/nchw", group=group, auto_pad=_auto_pad(node),
        strides=node.numbers("strides")[1:3], dilations=node.numbers("dilations")[1:3] or [1, 1],
    )  # fmt: skip
    for activation in activations:
        result = _activate(graph, activation, result)
    graph.add("Transpose", [result], node.name, perm=TO_NHWC)


def _fused(node: TfjsNode) -> list[str]:
    fused = node.texts("fused_ops")
    if fused and (fused[0] != "BiasAdd" or any(name not in ("Relu", "Relu6") for name in fused[1:])):
        raise StarError("ARGUMENT_INVALID", f"{node.name} fuses {fused}; known are BiasAdd, Relu and Relu6")
    return fused[1:]


def _activate(graph: _Graph, activation: str, source: str) -> str:
    if activation == "Relu":
        return graph.add("Relu", [source], f"{source}/relu")
    return graph.add("Clip", [source, *_six(graph)], f"{source}/relu6")


def _six(graph: _Graph) -> list[str]:
    return [graph.value("star/0", np.zeros((), np.float32)), graph.value("star/6", np.full((), 6, np.float32))]


def _auto_pad(node: TfjsNode) -> str:
    padding = node.text("padding", "VALID")
    if padding not in ("SAME", "VALID") or node.text("data_format", "NHWC") != "NHWC":
        raise StarError("ARGUMENT_INVALID", f"{node.name} pads by {padding}; known are SAME and VALID in NHWC")
    return "SAME_UPPER" if padding == "SAME" else "VALID"


def _to_nchw(graph: _Graph, node: TfjsNode, source: str) -> str:
    return graph.add("Transpose", [graph.tensor(source)], f"{node.name}/in", perm=TO_NCHW)


def _max_pool(graph: _Graph, node: TfjsNode) -> None:
    pooled = graph.add(
        "MaxPool", [_to_nchw(graph, node, node.inputs[0])], f"{node.name}/nchw",
        kernel_shape=node.numbers("ksize")[1:3], strides=node.numbers("strides")[1:3], auto_pad=_auto_pad(node),
    )  # fmt: skip
    graph.add("Transpose", [pooled], node.name, perm=TO_NHWC)


def _resize(graph: _Graph, node: TfjsNode) -> None:
    if node.number("align_corners", 0):
        raise StarError("ARGUMENT_INVALID", f"{node.name} aligns corners, which is not converted")
    source, size = node.inputs
    sizes = graph.value(f"{node.name}/sizes", graph.constant(size).astype(np.int64))
    mode = "half_pixel" if node.number("half_pixel_centers", 0) else "asymmetric"
    resized = graph.add(
        "Resize", [_to_nchw(graph, node, source), "", "", sizes], f"{node.name}/nchw",
        mode="linear", coordinate_transformation_mode=mode, axes=[2, 3],
    )  # fmt: skip
    graph.add("Transpose", [resized], node.name, perm=TO_NHWC)


def _relu6(graph: _Graph, node: TfjsNode) -> None:
    graph.add("Clip", [graph.tensor(node.inputs[0]), *_six(graph)], node.name)


def _leaky_relu(graph: _Graph, node: TfjsNode) -> None:
    graph.add("LeakyRelu", [graph.tensor(node.inputs[0])], node.name, alpha=node.number("alpha", 0.2))


def _cast(graph: _Graph, node: TfjsNode) -> None:
    target = node.attributes["DstT"]["type"]
    if target not in CAST_TYPES:
        raise StarError("ARGUMENT_INVALID", f"{node.name} casts to {target}; known are {', '.join(CAST_TYPES)}")
    graph.add("Cast", [graph.tensor(node.inputs[0])], node.name, to=CAST_TYPES[target])


def _floor_div(graph: _Graph, node: TfjsNode) -> None:
    """Whole numbers only: (a - a mod b) / b is exact, so truncation does not matter."""
    a, b = (graph.tensor(name) for name in node.inputs)
    rest = graph.add("Mod", [a, b], f"{node.name}/mod")
    multiple = graph.add("Sub", [a, rest], f"{node.name}/multiple")
    graph.add("Div", [multiple, b], node.name)


def _top_k(graph: _Graph, node: TfjsNode) -> None:
    source, count = node.inputs
    k = graph.value(f"{node.name}/k64", graph.constant(count).astype(np.int64).reshape(1))
    indices = f"{node.name}/indices64"
    graph.add("TopK", [graph.tensor(source), k], [node.name, indices], axis=-1, largest=1, sorted=1)
    graph.add("Cast", [indices], f"{node.name}:1", to=TensorProto.INT32)


def _gather(graph: _Graph, node: TfjsNode) -> None:
    if node.number("batch_dims", 0):
        raise StarError("ARGUMENT_INVALID", f"{node.name} gathers by batch, which is not converted")
    values, indices, axis = node.inputs
    graph.add("Gather", [graph.tensor(values), graph.tensor(indices)], node.name, axis=int(graph.constant(axis)))


def _strided_slice(graph: _Graph, node: TfjsNode) -> None:
    if node.number("new_axis_mask", 0) or node.number("ellipsis_mask", 0):
        raise StarError("ARGUMENT_INVALID", f"{node.name} has a new-axis or ellipsis mask, which is not converted")
    source, *bounds = node.inputs
    begins, ends, steps = (graph.constant(name).astype(np.int64).copy() for name in bounds)
    if (steps < 0).any():
        raise StarError("ARGUMENT_INVALID", f"{node.name} steps backwards, which is not converted")
    masks = {name: int(node.number(name, 0)) for name in ("begin_mask", "end_mask", "shrink_axis_mask")}
    shrunk = [axis for axis in range(len(begins)) if masks["shrink_axis_mask"] >> axis & 1]
    for axis in range(len(begins)):
        if axis in shrunk:
            ends[axis] = begins[axis] + 1 if begins[axis] != -1 else np.iinfo(np.int64).max
            continue
        if masks["begin_mask"] >> axis & 1:
            begins[axis] = 0
        if masks["end_mask"] >> axis & 1:
            ends[axis] = np.iinfo(np.int64).max
    limits = {"begin": begins, "end": ends, "axes": np.arange(len(begins)), "step": steps}
    inputs = [graph.value(f"{node.name}/{name}", value.astype(np.int64)) for name, value in limits.items()]
    result = f"{node.name}/slice" if shrunk else node.name
    graph.add("Slice", [graph.tensor(source), *inputs], result)
    if shrunk:
        axes = graph.value(f"{node.name}/shrunk", np.array(shrunk, np.int64))
        graph.add("Squeeze", [result, axes], node.name)


def _mean(graph: _Graph, node: TfjsNode) -> None:
    source, axes = node.inputs
    dims = graph.value(f"{node.name}/axes", graph.constant(axes).astype(np.int64).reshape(-1))
    graph.add("ReduceMean", [graph.tensor(source), dims], node.name, keepdims=int(node.number("keep_dims", 0)))


def _concat(graph: _Graph, node: TfjsNode) -> None:
    *parts, axis = node.inputs
    graph.add("Concat", [graph.tensor(name) for name in parts], node.name, axis=int(graph.constant(axis)))


def _reshape(graph: _Graph, node: TfjsNode) -> None:
    source, shape = node.inputs
    sizes = graph.value(f"{node.name}/shape", graph.constant(shape).astype(np.int64).reshape(-1))
    graph.add("Reshape", [graph.tensor(source), sizes], node.name)


def _expand_dims(graph: _Graph, node: TfjsNode) -> None:
    source, axis = node.inputs
    axes = graph.value(f"{node.name}/axes", graph.constant(axis).astype(np.int64).reshape(1))
    graph.add("Unsqueeze", [graph.tensor(source), axes], node.name)


def _transpose(graph: _Graph, node: TfjsNode) -> None:
    source, order = node.inputs
    graph.add("Transpose", [graph.tensor(source)], node.name, perm=graph.constant(order).tolist())


def _pad(graph: _Graph, node: TfjsNode) -> None:
    source, paddings, *value = node.inputs
    # [axis, (before, after)] -> all befores, then all afters
    pads = graph.value(f"{node.name}/pads", graph.constant(paddings).astype(np.int64).T.reshape(-1))
    graph.add("Pad", [graph.tensor(source), pads, *(graph.tensor(name) for name in value)], node.name)


def _split(graph: _Graph, node: TfjsNode) -> None:
    source, sizes, axis = node.inputs
    lengths = graph.constant(sizes).astype(np.int64)
    outputs = [node.name, *(f"{node.name}:{index}" for index in range(1, len(lengths)))]
    inputs = [graph.tensor(source), graph.value(f"{node.name}/lengths", lengths)]
    graph.add("Split", inputs, outputs, axis=int(graph.constant(axis)))


def _sparse_to_dense(indices: Array, shape: Array, values: Array, default: Array) -> Array:
    dense = np.full(tuple(shape), default, dtype=values.dtype)
    if indices.size:
        dense[tuple(indices.reshape(-1, len(shape)).T)] = values
    return dense


# Computed while converting when all inputs are constant: shapes that the model puts together itself.
FOLDED: Final[Mapping[str, Callable[..., Array]]] = {
    "Add": np.add,
    "AddV2": np.add,
    "SparseToDense": _sparse_to_dense,
}

TRANSLATIONS: Final[Mapping[str, Translation]] = {
    "Add": _same("Add"),
    "AddV2": _same("Add"),
    "Cast": _cast,
    "ConcatV2": _concat,
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _conv,
    "Equal": _same("Equal"),
    "ExpandDims": _expand_dims,
    "FloorDiv": _floor_div,
    "FloorMod": _same("Mod"),
    "FusedDepthwiseConv2dNative": _conv,
    "GatherV2": _gather,
    "Identity": _same("Identity"),
    "LeakyRelu": _leaky_relu,
    "MaxPool": _max_pool,
    "Mean": _mean,
    "Mul": _same("Mul"),
    "Pad": _pad,
    "PadV2": _pad,
    "Relu": _same("Relu"),
    "Relu6": _relu6,
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "Sigmoid": _same("Sigmoid"),
    "SplitV": _split,
    "StridedSlice": _strided_slice,
    "Sub": _same("Sub"),
    "TopKV2": _top_k,
    "Transpose": _transpose,
    "_FusedConv2D": _conv,
}
