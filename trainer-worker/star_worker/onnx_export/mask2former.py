"""Bundles of kind `detector` from Mask2Former checkpoints, as GenEval needs them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from star_worker.errors import StarError
from star_worker.onnx_export.bundle_folder import Manifest, Origin, new_bundle, write_manifest
from star_worker.onnx_export.color_towers import color_classifier
from star_worker.onnx_export.graph_file import Array, write_graph
from star_worker.onnx_export.model_folder import load_model
from star_worker.onnx_export.parity import BATCH, SEED, Check, max_error, require, write_report
from star_worker.onnx_export.preprocessing import channel_numbers, read_preprocessing

STRIDE: Final = 32
"""Height and width are multiples of this: the coarsest features of the backbone."""
TOLERANCE: Final = 1e-3
"""Of logits relative to the largest of them (where that is above 1), and of scores."""
CANDIDATES: Final = 100
THRESHOLDS: Final = {"threshold": 0.3, "countingThreshold": 0.9, "maxObjects": 16, "maxOverlap": 1.0}
"""GenEval's, which are meant for this detector."""


class Mask2FormerGraph(nn.Module):
    """Maps pixels [n, 3, height, width] to class logits [n, queries, classes + 1] and mask logits at a quarter size."""

    def __init__(self, model: Mask2FormerForUniversalSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Segment pictures."""
        found = self.model(pixel_values=pixel_values)
        return found.class_queries_logits, found.masks_queries_logits


@dataclass(frozen=True, slots=True)
class DetectorSource:
    """A Mask2Former checkpoint and what its folder says about pictures and classes."""

    model: Mask2FormerForUniversalSegmentation
    mean: list[float]
    """Of values 0..255."""
    std: list[float]
    classes: str | list[str]

    @classmethod
    def load(cls, folder: Path) -> "DetectorSource":
        """Read the folder.

        Raises:
            StarError: MODEL_NOT_LOADABLE that names file and fix.
        """
        model = load_model(Mask2FormerForUniversalSegmentation, folder, "mask2former")
        config = read_preprocessing(folder)
        mean, std = (
            [round(255 * value, 4) for value in channel_numbers(config, field, folder)]
            for field in ("image_mean", "image_std")
        )
        return cls(model, mean, std, class_names(model.config.id2label))


def class_names(labels: dict[int, str]) -> str | list[str]:
    """Return the labels in order, or "coco-80": then the scorer uses GenEval's spellings, not the checkpoint's."""
    names = [labels[index] for index in sorted(labels)]
    return "coco-80" if len(names) == 80 and names[0] == "person" and names[-1] == "toothbrush" else names


def query_scores(class_logits: Array, mask_logits: Array) -> Array:
    """Return per query its best class probability times the mean mask probability where the logit is above 0.

    Shapes: [n, queries, classes + 1] (the last is "no object") and [n, queries, h, w] to [n, queries].
    """
    weights = np.exp(class_logits - class_logits.max(-1, keepdims=True))
    best = (weights / weights.sum(-1, keepdims=True))[..., :-1].max(-1)
    inside = (mask_logits > 0).astype(np.float32)
    certainty = (inside / (1 + np.exp(-mask_logits))).sum((-2, -1)) / (inside.sum((-2, -1)) + 1e-6)
    scores: Array = best * certainty
    return scores


def _relative_error(received: Array, expected: Array) -> float:
    return max_error(received, expected) / max(1.0, float(np.abs(expected).max()))


def _checks(received: list[Array], expected: list[Array]) -> list[Check]:
    return [
        Check("class logits, relative to the largest", _relative_error(received[0], expected[0]), TOLERANCE),
        Check("mask logits, relative to the largest", _relative_error(received[1], expected[1]), TOLERANCE),
        Check("score of every query", max_error(query_scores(*received), query_scores(*expected)), TOLERANCE),
    ]


def _manifest(
    source: DetectorSource, origin: Origin, graph: dict[str, str], sides: dict[str, int], colors: Manifest
) -> Manifest:
    frame: dict[str, Any] = {"name": "pixel_values", "layout": "NCHW", "dtype": "float32", **sides, "channels": "rgb"}
    return {
        **origin.fields("detector"),
        "graph": graph,
        "input": {**frame, "mean": source.mean, "std": source.std},
        "output": {
            "kind": "mask2former",
            "classLogits": "class_logits",
            "maskLogits": "mask_logits",
            "candidates": CANDIDATES,
        },
        "classes": source.classes,
        "thresholds": THRESHOLDS,
        "colors": colors,
    }


def export_mask2former(
    source: DetectorSource, out: Path, origin: Origin, *, height: int, width: int, colors: Path | None = None
) -> list[Check]:
    """Write a detector bundle for pictures of one size; `colors` is the bundle of the CLIP that tells colours.

    Raises:
        StarError: ARGUMENT_INVALID for a size that the backbone cannot halve; SCORER_NOT_LOADABLE when the graph
            differs from PyTorch. Then nothing is written.
    """
    if height % STRIDE or width % STRIDE or min(height, width) < STRIDE:
        raise StarError("ARGUMENT_INVALID", f"--height {height} and --width {width} should be multiples of {STRIDE}")
    with new_bundle(out) as folder:
        model = Mask2FormerGraph(source.model)
        graph = write_graph(
            model,
            torch.zeros(2, 3, height, width),
            folder / "model.onnx",
            input_name="pixel_values",
            outputs=["class_logits", "mask_logits"],
        )
        pixels = torch.randn(BATCH, 3, height, width, generator=torch.Generator().manual_seed(SEED))
        with torch.inference_mode():
            expected = [output.numpy() for output in model(pixels)]
        checks = _checks(graph.run(pixels.numpy()), expected)
        require(checks)
        write_report(folder, checks, inputs=f"normal noise as pixels, {height} x {width}", precision="float32")
        sides = {"width": width, "height": height}
        write_manifest(
            folder, _manifest(source, origin, graph.fields()["graph"], sides, color_classifier(colors, folder))
        )
    return checks
