"""GenEval's colour classifier in a detector's bundle: the towers of a CLIP bundle."""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from star_worker.errors import StarError
from star_worker.onnx_export.bundle_folder import Manifest
from star_worker.onnx_export.lab_colors import LAB_COLORS

SUBFOLDER: Final = "clip"


def color_classifier(clip_bundle: Path | None, folder: Path) -> Manifest:
    """Return the field `colors` of a detector's manifest; copies the towers of an image-text bundle into `folder`/clip.

    Without such a bundle colours are told by the nearest of ten prototypes in CIE Lab, which is not what GenEval does.

    Raises:
        StarError: ARGUMENT_INVALID when it is no image-text bundle with both towers in its own folder.
    """
    if clip_bundle is None:
        return LAB_COLORS
    path = clip_bundle / "manifest.yaml"
    manifest: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    if manifest.get("kind") != "image_text" or manifest.get("text") is None:
        raise StarError("ARGUMENT_INVALID", f"{clip_bundle} is no bundle that `star-export clip` wrote")
    towers: Manifest = {"backend": "clip", "image": manifest["image"], "text": manifest["text"]}
    (folder / SUBFOLDER).mkdir()
    for tower in (towers["image"], towers["text"]):
        for entry in _files(tower):
            shutil.copyfile(clip_bundle / entry["path"], folder / SUBFOLDER / Path(entry["path"]).name)
            entry["path"] = f"{SUBFOLDER}/{Path(entry['path']).name}"
    return towers


def _files(tower: Manifest) -> list[dict[str, str]]:
    tokenizer = [tower["tokenizer"]] if "tokenizer" in tower else []
    return [tower["graph"], *tower.get("externalData", []), *tokenizer]
