"""Image and text tower of a CLIP as two graphs, with what the manifest says about them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from star_worker.onnx_export.bundle_folder import Manifest, file_entry
from star_worker.onnx_export.graph_file import EXTERNAL_ABOVE_BYTES, Array, write_graph
from star_worker.onnx_export.model_folder import load_model, load_tokenizer
from star_worker.onnx_export.parity import BATCH, SEED, Check, Precision, max_error
from star_worker.onnx_export.preprocessing import clip_preprocessing

DTYPES: Final[dict[Precision, torch.dtype]] = {"float32": torch.float32, "float16": torch.float16}
EMBEDDING_TOLERANCE: Final[dict[Precision, float]] = {"float32": 1e-5, "float16": 5e-3}
"""Largest error of one number of an embedding of length 1."""
TEXTS: Final = (
    "a photo of a red circle",
    'A sign that says "STOP", beside two green stars.',
    "",
    "one text that is longer than any context " * 20,
)
"""What both text towers are compared on: the last one has to be cut."""


class ImageTower(nn.Module):
    """Maps pixels [n, 3, size, size] to embeddings [n, D], not normalised.

    Only the class token is read after the last layer, so there the other tokens stop at keys and values.
    """

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.vision = model.vision_model
        self.projection = model.visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures."""
        tokens = self.vision.pre_layrnorm(self.vision.embeddings(pixel_values))
        *layers, last = self.vision.encoder.layers
        for layer in layers:
            tokens = layer(tokens, None)
        embeddings: Tensor = self.projection(self.vision.post_layernorm(class_token_after(last, tokens)[:, 0]))
        return embeddings


def class_token_after(layer: CLIPEncoderLayer, tokens: Tensor) -> Tensor:
    """Return the first of the tokens [n, T, width] after a layer: [n, 1, width]."""
    attention, normed = layer.self_attn, layer.layer_norm1(tokens)

    def heads(values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], -1, attention.num_heads, attention.head_dim).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        heads(attention.q_proj(normed[:, :1])), heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    )
    first = tokens[:, :1] + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    after: Tensor = first + layer.mlp(layer.layer_norm2(first))
    return after


class TextTower(nn.Module):
    """Maps token ids [n, context length] to embeddings [n, D], not normalised; padding after the end has no effect."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed texts."""
        embeddings: Tensor = self.model.get_text_features(input_ids=input_ids).pooler_output
        return embeddings


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A CLIP checkpoint and the folder of its processor, which may be another one."""

    model: CLIPModel
    tokenizer: PreTrainedTokenizerFast
    preprocessing: Manifest

    @classmethod
    def load(cls, folder: Path, processor: Path) -> "ClipSource":
        """Read both folders.

        Raises:
            StarError: MODEL_NOT_LOADABLE that names file and fix.
        """
        model = load_model(CLIPModel, folder, "clip")
        size = model.config.vision_config.image_size
        return cls(model, load_tokenizer(processor), clip_preprocessing(processor, size))

    @property
    def context_length(self) -> int:
        """Token ids of a text."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def logit_scale(self) -> float:
        """What the checkpoint multiplies cosines by."""
        return float(self.model.logit_scale.detach().exp())


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings of the same inputs by the graph and by PyTorch, all of length 1."""

    graph: Array
    torch: Array

    def check(self, output: str, precision: Precision) -> Check:
        """Compare the two."""
        return Check(output, max_error(self.graph, self.torch), EMBEDDING_TOLERANCE[precision])


def unit(embeddings: Array) -> Array:
    """Scale every row to length 1."""
    scaled: Array = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return scaled


def _traced(tower: nn.Module, precision: Precision) -> nn.Module:
    return tower if precision == "float32" else copy.deepcopy(tower).half()


def write_image_tower(
    source: ClipSource, folder: Path, precision: Precision, external_above_bytes: int = EXTERNAL_ABOVE_BYTES
) -> tuple[Manifest, Embeddings]:
    """Write image.onnx and return its part of the manifest, with embeddings of seeded noise at the deployed size."""
    tower, size = ImageTower(source.model), source.preprocessing["size"]
    graph = write_graph(
        _traced(tower, precision),
        torch.zeros(2, 3, size, size, dtype=DTYPES[precision]),
        folder / "image.onnx",
        input_name="pixel_values",
        outputs=["image_embeds"],
        external_above_bytes=external_above_bytes,
    )
    pixels = torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(SEED))
    (received,) = graph.run(pixels.to(DTYPES[precision]).numpy())
    with torch.inference_mode():
        features = source.model.get_image_features(pixel_values=pixels).pooler_output
        expected = F.normalize(features, dim=-1).numpy()
    fields = {**graph.fields(), "input": "pixel_values", "output": "image_embeds", **source.preprocessing}
    return fields, Embeddings(unit(received), expected)


def scorer_ids(
    tokenizer: Tokenizer, texts: Sequence[str], *, length: int, end: int, pad: int, fill: bool = True
) -> npt.NDArray[np.int64]:
    """Tokenize as the scorer does: a text that is too long keeps its beginning and ends with `end`.

    Texts are filled to `length`, or without `fill` to the longest of them.
    """
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        rows.append(ids if len(ids) <= length else [*ids[: length - 1], end])
    longest = length if fill else max(map(len, rows))
    return np.array([row + [pad] * (longest - len(row)) for row in rows], np.int64)


def _write_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(path))


def write_text_tower(
    source: ClipSource, folder: Path, precision: Precision, external_above_bytes: int = EXTERNAL_ABOVE_BYTES
) -> tuple[Manifest, Embeddings]:
    """Write text.onnx and tokenizer.json and return their part of the manifest, with embeddings of `TEXTS`.

    The graph gets its ids from the written tokenizer by the scorer's rule, PyTorch from transformers' own, so that
    truncation, padding and the pooled position are compared too. The graph takes texts of any length, which saves the
    work on padding; not in half precision, where the tracer then mixes types.
    """
    tower, length, tokenizer = TextTower(source.model), source.context_length, source.tokenizer
    free_length = precision == "float32"
    graph = write_graph(
        _traced(tower, precision),
        torch.full((2, length), tokenizer.eos_token_id),
        folder / "text.onnx",
        input_name="input_ids",
        outputs=["text_embeds"],
        external_above_bytes=external_above_bytes,
        free_length=free_length,
    )
    path = folder / "tokenizer.json"
    _write_tokenizer(tokenizer, path)
    ids = {"end": int(tokenizer.eos_token_id), "pad": int(tokenizer.pad_token_id)}
    written = Tokenizer.from_file(str(path))
    received = np.concatenate(
        [
            graph.run(scorer_ids(written, texts, length=length, fill=not free_length, **ids))[0]
            for texts in (TEXTS[:2], TEXTS[2:3], TEXTS[3:])
        ]
    )
    encoded = tokenizer(list(TEXTS), padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        features = source.model.get_text_features(encoded.input_ids, encoded.attention_mask).pooler_output
        expected = F.normalize(features, dim=-1).numpy()
    fields = {
        **graph.fields(),
        "input": "input_ids",
        "output": "text_embeds",
        "contextLength": length,
        "tokenizer": file_entry(path),
        "endId": ids["end"],
        "padId": ids["pad"],
    }
    return fields, Embeddings(unit(received), expected)
