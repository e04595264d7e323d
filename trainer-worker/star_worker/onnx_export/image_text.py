"""Bundles of kind `image_text`: PickScore and CLIPScore, and aesthetic predictors on top of a CLIP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from star_worker.onnx_export.bundle_folder import Manifest, Origin, new_bundle, write_manifest
from star_worker.onnx_export.clip_towers import ClipSource, Embeddings, write_image_tower, write_text_tower
from star_worker.onnx_export.graph_file import EXTERNAL_ABOVE_BYTES, write_graph
from star_worker.onnx_export.model_folder import not_loadable
from star_worker.onnx_export.parity import Check, Precision, max_error, require, write_report

SCORE_TOLERANCE: Final[dict[Precision, float]] = {"float32": 1e-4, "float16": 2e-2}
INPUTS: Final = "normal noise as pixels at the deployed size; four texts, one of which has to be cut"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How graphs are written."""

    precision: Precision = "float32"
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES


def _similarity_check(
    source: ClipSource, images: Embeddings, texts: Embeddings, divisor: float, precision: Precision
) -> Check:
    """Compare the scores of every picture with every text."""
    scale = source.logit_scale / divisor
    error = max_error(scale * images.graph @ texts.graph.T, scale * images.torch @ texts.torch.T)
    return Check("score of every picture with every text", error, SCORE_TOLERANCE[precision])


def export_similarity(
    source: ClipSource,
    out: Path,
    origin: Origin,
    *,
    divisor: float,
    value_range: tuple[float, float] | None = None,
    options: ExportOptions | None = None,
) -> list[Check]:
    """Write a bundle whose score is logit scale x cosine(picture, text) / divisor.

    Raises:
        StarError: SCORER_NOT_LOADABLE when the graphs differ from PyTorch; then nothing is written.
    """
    options = options or ExportOptions()
    with new_bundle(out) as folder:
        image, images = write_image_tower(source, folder, options.precision, options.external_above_bytes)
        text, texts = write_text_tower(source, folder, options.precision, options.external_above_bytes)
        checks = [
            images.check("image embedding, of length 1", options.precision),
            texts.check("text embedding, of length 1", options.precision),
            _similarity_check(source, images, texts, divisor, options.precision),
        ]
        require(checks)
        write_report(folder, checks, inputs=INPUTS, precision=options.precision)
        head: Manifest = {"kind": "similarity", "logitScale": source.logit_scale, "divisor": divisor}
        write_manifest(
            folder,
            {
                **origin.fields("image_text"),
                "image": image,
                "text": text,
                "head": head,
                "valueRange": None if value_range is None else list(value_range),
            },
        )
    return checks


def _layer_number(key: str) -> int:
    return int(key.removesuffix(".weight").rsplit(".", 1)[-1])


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer


def load_linear_head(path: Path, width: int) -> nn.Sequential:
    """Read a chain of linear layers, as aesthetic predictors on CLIP embeddings are (.safetensors, .pt or .pth).

    Args:
        path: File of weights named like `layers.0.weight`; dropout between the layers has none.
        width: Width of the embedding that goes in.

    Raises:
        StarError: MODEL_NOT_LOADABLE when the layers do not lead from `width` to one number.
    """
    try:
        state: dict[str, Tensor] = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        keys = sorted((key for key in state if key.endswith(".weight")), key=_layer_number)
        layers = [_linear(state[key], state[key.removesuffix("weight") + "bias"]) for key in keys]
    except Exception as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise not_loadable(
            f"--head {path} holds no weights and biases of numbered linear layers ({reason}); save the predictor's "
            "state_dict(), not the module"
        ) from error
    sides = [width, *(layer.out_features for layer in layers)]
    if not layers or sides[-1] != 1 or [layer.in_features for layer in layers] != sides[:-1]:
        found = ", ".join(f"{layer.in_features} -> {layer.out_features}" for layer in layers)
        raise not_loadable(
            f"--head {path} has layers {found or 'none'}; expected a chain from {width} (the embedding) to 1"
        )
    return nn.Sequential(*layers).eval().requires_grad_(False)


def export_aesthetic(
    source: ClipSource,
    head: nn.Sequential,
    out: Path,
    origin: Origin,
    *,
    value_range: tuple[float, float] | None = None,
    options: ExportOptions | None = None,
) -> list[Check]:
    """Write a bundle whose score is `head` of the normalised picture embedding, without texts.

    Raises:
        StarError: SCORER_NOT_LOADABLE when the graphs differ from PyTorch; then nothing is written.
    """
    options = options or ExportOptions()
    with new_bundle(out) as folder:
        image, images = write_image_tower(source, folder, options.precision, options.external_above_bytes)
        graph = write_graph(
            head, torch.zeros(2, images.torch.shape[1]), folder / "head.onnx", input_name="embedding", outputs=["score"]
        )
        (received,) = graph.run(images.graph.astype(np.float32))
        with torch.inference_mode():
            expected = head(torch.from_numpy(images.torch)).numpy()
        checks = [
            images.check("image embedding, of length 1", options.precision),
            Check("score", max_error(received, expected), SCORE_TOLERANCE[options.precision]),
        ]
        require(checks)
        write_report(folder, checks, inputs="normal noise as pixels at the deployed size", precision=options.precision)
        fields = {"kind": "aesthetic", "graph": graph.fields()["graph"], "input": "embedding", "output": "score"}
        write_manifest(
            folder,
            {
                **origin.fields("image_text"),
                "image": image,
                "text": None,
                "head": fields,
                "valueRange": None if value_range is None else list(value_range),
            },
        )
    return checks
