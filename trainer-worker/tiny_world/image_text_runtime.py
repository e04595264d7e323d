"""Runs the exported image-text bundle by its manifest, so that the model can be measured where it is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import yaml
from tokenizers import Tokenizer

from star_worker.onnx_export.clip_towers import scorer_ids
from tiny_world.renderer import Picture

CHUNK: Final = 64

Floats = npt.NDArray[np.float32]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _unit(values: Floats) -> Floats:
    scaled: Floats = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return scaled


class ImageTextSession:
    """Both towers on one CPU thread."""

    def __init__(self, bundle: Path) -> None:
        self._manifest: dict[str, Any] = yaml.safe_load((bundle / "manifest.yaml").read_text(encoding="utf-8"))
        self._image = _session(bundle / self._manifest["image"]["graph"]["path"])
        self._text = _session(bundle / self._manifest["text"]["graph"]["path"])
        self._tokenizer = Tokenizer.from_file(str(bundle / self._manifest["text"]["tokenizer"]["path"]))

    def score(self, pictures: Sequence[Picture], captions: Sequence[str]) -> Floats:
        """Score pictures against captions, pair by pair: float32 [n]."""
        head = self._manifest["head"]
        parts = [
            (self._embed_pictures(pictures[at : at + CHUNK]) * self._embed_captions(captions[at : at + CHUNK])).sum(-1)
            for at in range(0, len(pictures), CHUNK)
        ]
        scores: Floats = np.concatenate(parts) * (head["logitScale"] / head["divisor"])
        return scores

    def _embed_pictures(self, pictures: Sequence[Picture]) -> Floats:
        image = self._manifest["image"]
        levels = np.stack(pictures).astype(np.float32) / 255
        pixels = ((levels - image["mean"]) / image["std"]).astype(np.float32).transpose(0, 3, 1, 2)
        return _unit(self._image.run([image["output"]], {image["input"]: pixels})[0])

    def _embed_captions(self, captions: Sequence[str]) -> Floats:
        text = self._manifest["text"]
        ids = scorer_ids(self._tokenizer, captions, length=text["contextLength"], end=text["endId"], pad=text["padId"])
        return _unit(self._text.run([text["output"]], {text["input"]: ids})[0])
