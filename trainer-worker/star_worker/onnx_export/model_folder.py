"""Reads a folder in the form of transformers' save_pretrained."""

import json
from pathlib import Path
from typing import Any, TypeVar, cast

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from star_worker.errors import StarError

Model = TypeVar("Model", bound=PreTrainedModel)


def not_loadable(message: str) -> StarError:
    """Return the error of a folder that cannot be read; the message names file, field and fix."""
    return StarError("MODEL_NOT_LOADABLE", message)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StarError: MODEL_NOT_LOADABLE that names the file.
    """
    try:
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise not_loadable(
            f"{path} cannot be read: {error}; name a folder as transformers' save_pretrained writes it"
        ) from error


def load_model(kind: type[Model], folder: Path, model_type: str) -> Model:
    """Load all weights of a model in float32, from this machine only.

    Raises:
        StarError: MODEL_NOT_LOADABLE for another kind of model and for weights that are missing.
    """
    found = read_json(folder / "config.json").get("model_type")
    if found != model_type:
        raise not_loadable(f"{folder / 'config.json'} has model_type {found!r}, expected {model_type!r}")
    try:
        # Eager attention: traced in half precision, the others mix types, which ONNX refuses.
        model, info = kind.from_pretrained(
            folder, local_files_only=True, dtype="float32", attn_implementation="eager", output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise not_loadable(f"{folder} holds no weights that can be read: {error}") from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise not_loadable(
            f"{folder} lacks {len(info['missing_keys'])} weights of {kind.__name__} ({missing}, ...); "
            "transformers would fill them with random numbers"
        )
    return cast(Model, model.eval().requires_grad_(False))


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer.

    Raises:
        StarError: MODEL_NOT_LOADABLE when the folder has none that can be written as tokenizer.json.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise not_loadable(
            f"{folder} has no tokenizer that can be read ({error}); give a folder with tokenizer.json, or vocab.json "
            "and merges.txt, as --processor (for PickScore: that of laion/CLIP-ViT-H-14-laion2B-s32B-b79K)"
        ) from error
    if not tokenizer.is_fast:
        raise not_loadable(f"the tokenizer of {folder} has no tokenizer.json form")
    return cast(PreTrainedTokenizerFast, tokenizer)
