"""From a PyTorch module to an ONNX file, and back to numbers."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from star_worker.onnx_export.bundle_folder import Manifest, file_entry

OPSET: Final = 17
EXTERNAL_ABOVE_BYTES: Final = 1_900_000_000
"""A protobuf file ends at 2 GiB: weights of a larger graph go to a file beside it."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GraphFile:
    """An ONNX graph and, where its weights lie outside, their file."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def external_data(self) -> list[Path]:
        """Files beside the graph that hold its weights."""
        data = external_path(self.path)
        return [data] if data.exists() else []

    def fields(self) -> Manifest:
        """Return `graph` and `externalData` of the manifest."""
        return {"graph": file_entry(self.path), "externalData": [file_entry(path) for path in self.external_data]}

    def run(self, *values: npt.NDArray[np.generic]) -> list[Array]:
        """Run the graph on the CPU and return its outputs as float32, in order."""
        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        feeds = dict(zip(self.inputs, values, strict=True))
        return [np.asarray(value, np.float32) for value in session.run(list(self.outputs), feeds)]


def external_path(graph: Path) -> Path:
    """Return where the weights of a graph lie when they lie outside."""
    return graph.with_name(graph.name + ".data")


def write_graph(
    module: nn.Module,
    example: Tensor,
    path: Path,
    *,
    input_name: str,
    outputs: Sequence[str],
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES,
    free_length: bool = False,
) -> GraphFile:
    """Trace a module with one input, free in its first axis and fixed in the others.

    The other axes must be fixed: with free height and width some models export without complaint and then give
    wrong numbers at another size. `free_length` frees the second one too; the caller compares several lengths.
    """
    free = {0: "n", 1: "length"} if free_length else {0: "n"}
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, warnings.catch_warnings():
        # Tracing warns about every shape that becomes a constant; that is what we want.
        warnings.simplefilter("ignore")
        traced = Path(scratch) / path.name
        torch.onnx.export(
            module.eval(),
            (example,),
            str(traced),
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_axes={input_name: free, **{name: {0: "n"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(traced)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > external_above_bytes:
        onnx.save_model(model, path, save_as_external_data=True, location=external_path(path).name)
    else:
        onnx.save_model(model, path)
    return GraphFile(path, (input_name,), tuple(outputs))
