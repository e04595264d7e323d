"""Reads a graph model of TensorFlow.js: `model.json` beside its weight files."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from star_worker.errors import StarError

Array = npt.NDArray[Any]

DTYPES: Final[Mapping[str, str]] = {"float32": "<f4", "int32": "<i4", "bool": "?", "float16": "<f2"}
INTEGERS: Final[Mapping[str, str]] = {"uint8": "<u1", "uint16": "<u2"}


@dataclass(frozen=True, slots=True)
class TfjsNode:
    """One operation."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of nodes, with `:i` for an output other than the first; without control inputs."""
    attributes: Mapping[str, Any]
    """As in the file."""

    def number(self, name: str, default: float) -> float:
        """Return a number or truth value; numbers are text in the file where they are whole."""
        value = self.attributes.get(name, {})
        return float(next((value[key] for key in ("i", "f", "b") if key in value), default))

    def numbers(self, name: str) -> list[int]:
        """Return a list of whole numbers; empty where there is none."""
        return [int(value) for value in self.attributes.get(name, {}).get("list", {}).get("i", [])]

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.attributes.get(name, {}).get("s")
        return default if value is None else base64.b64decode(value).decode("ascii")

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; empty where there is none."""
        values = self.attributes.get(name, {}).get("list", {}).get("s", [])
        return [base64.b64decode(value).decode("ascii") for value in values]


@dataclass(frozen=True, slots=True)
class TfjsModel:
    """A graph with its weights."""

    nodes: Mapping[str, TfjsNode]
    """Without constants."""
    constants: Mapping[str, Array]
    """Float weights in float32, whatever they are stored in."""
    inputs: Mapping[str, tuple[int, ...]]
    """Shapes of the float32 inputs."""
    outputs: tuple[str, ...]
    """Nodes in the order of the signature."""


def read_tfjs_model(path: Path) -> TfjsModel:
    """Read `model.json` and the weights that it names.

    Raises:
        StarError: ARGUMENT_INVALID when it is no graph model, or a weight is missing or stored in an unknown way.

    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != "graph-model":
        raise StarError("ARGUMENT_INVALID", f"{path} has format {document.get('format')!r}, expected 'graph-model'")
    nodes = [_node(entry) for entry in document["modelTopology"]["node"]]
    signature = document["signature"]
    return TfjsModel(
        nodes={node.name: node for node in nodes if node.op != "Const"},
        constants=_read_weights(document["weightsManifest"], path),
        inputs={_base(tensor["name"]): _shape(tensor) for tensor in signature["inputs"].values()},
        outputs=tuple(_base(tensor["name"]) for tensor in signature["outputs"].values()),
    )


def _node(entry: Mapping[str, Any]) -> TfjsNode:
    inputs = tuple(_base(name) for name in entry.get("input", []) if not name.startswith("^"))
    return TfjsNode(entry["name"], entry["op"], inputs, entry.get("attr", {}))


def _base(name: str) -> str:
    return name.removesuffix(":0")


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(axis["size"]) for axis in tensor["tensorShape"]["dim"])


def _read_weights(manifest: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    for group in manifest:
        content = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        offset = 0
        for spec in group["weights"]:
            stored = np.dtype(_stored_dtype(spec))
            count = int(np.prod(spec["shape"], dtype=np.int64))
            if offset + count * stored.itemsize > len(content):
                raise StarError(
                    "ARGUMENT_INVALID", f"weights of {path} end before {spec['name']}; get the package again"
                )
            values = np.frombuffer(content, stored, count, offset).reshape(spec["shape"])
            weights[spec["name"]] = _dequantised(values, spec)
            offset += count * stored.itemsize
    return weights


def _stored_dtype(spec: Mapping[str, Any]) -> str:
    name = spec.get("quantization", {}).get("dtype", spec["dtype"])
    known = {**DTYPES, **INTEGERS}
    if name not in known:
        raise StarError("ARGUMENT_INVALID", f"weight {spec['name']} is stored as {name}; known are {', '.join(known)}")
    return known[name]


def _dequantised(values: Array, spec: Mapping[str, Any]) -> Array:
    quantization = spec.get("quantization", {})
    if "scale" in quantization:
        values = values * np.float32(quantization["scale"]) + np.float32(quantization["min"])
    return values.astype(DTYPES[spec["dtype"]])
