"""How pictures become pixels, from preprocessor_config.json to the manifest."""

from pathlib import Path
from typing import Any, Final

from star_worker.onnx_export.bundle_folder import Manifest
from star_worker.onnx_export.model_folder import not_loadable, read_json

FILTERS: Final = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of its resampling filters."""


def read_preprocessing(folder: Path) -> dict[str, Any]:
    """Read the picture part of preprocessor_config.json or, as newer versions write it, of processor_config.json.

    Raises:
        StarError: MODEL_NOT_LOADABLE when neither is there.
    """
    path = folder / "preprocessor_config.json"
    if path.exists():
        return read_json(path)
    newer = folder / "processor_config.json"
    config = read_json(newer).get("image_processor") if newer.exists() else None
    if not isinstance(config, dict):
        raise not_loadable(
            f"{path} is missing: it says size, mean and std; copy it there, or name its folder (--processor)"
        )
    return config


def channel_numbers(config: dict[str, Any], field: str, folder: Path) -> list[float]:
    """Return `image_mean` or `image_std`, three numbers in 0..1.

    Raises:
        StarError: MODEL_NOT_LOADABLE when there are not three.
    """
    values = config.get(field)
    if not isinstance(values, list) or len(values) != 3:
        raise not_loadable(f"preprocessor_config.json of {folder}: {field} is {values!r}, expected three numbers")
    return [float(value) for value in values]


def _length(value: object, *keys: str) -> object:
    """Return the one length of {"shortest_edge": n}, {"height": n, "width": n} or n; else None."""
    if not isinstance(value, dict):
        return value
    lengths = {value.get(key) for key in keys}
    return lengths.pop() if len(lengths) == 1 else None


def clip_preprocessing(folder: Path, image_size: int) -> Manifest:
    """Return size, resize, crop, mean and std of the manifest's image tower.

    Raises:
        StarError: MODEL_NOT_LOADABLE when the folder says something that the scorer does not do.
    """
    config = read_preprocessing(folder)
    size, crop = config.get("size"), config.get("crop_size")
    if _length(size, "shortest_edge") != image_size or _length(crop, "height", "width") != image_size:
        raise not_loadable(
            f"preprocessor_config.json of {folder}: size {size!r} and crop_size {crop!r} should both be the model's "
            f"image_size, {image_size}"
        )
    if config.get("resample") not in FILTERS:
        raise not_loadable(
            f"preprocessor_config.json of {folder}: resample is {config.get('resample')!r}, expected 2 (bilinear) or "
            "3 (bicubic)"
        )
    return {
        "size": image_size,
        "resize": {"filter": FILTERS[config["resample"]]},
        "crop": "floor",
        "mean": channel_numbers(config, "image_mean", folder),
        "std": channel_numbers(config, "image_std", folder),
    }
