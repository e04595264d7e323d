"""Runs the exported detector and applies the thresholds and the colour rule of its manifest.

This mirrors what a scorer does with the manifest, so that the detector can be measured where it is trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from tiny_world.judge import objects_fulfil
from tiny_world.prompts import Record
from tiny_world.reader import ReadObject
from tiny_world.renderer import Picture
from tiny_world.vocabulary import COLOR_RGB, COLORS, SHAPES

THRESHOLD: Final = 0.3
COUNTING_THRESHOLD: Final = 0.3

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detections:
    """The four outputs of the graph for a batch."""

    boxes: Floats
    """float32 [B, 16, 4]: xmin, ymin, xmax, ymax in pixels."""
    scores: Floats
    """float32 [B, 16], 0..1; 0 for an empty slot."""
    classes: npt.NDArray[np.int64]
    """int64 [B, 16]."""
    masks: Floats
    """float32 [B, 16, 64, 64], 0..1."""


class DetectorSession:
    """The ONNX graph on one CPU thread."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def detect(self, pictures: list[Picture]) -> Detections:
        """Run the graph on any number of pictures."""
        chunks = [
            self._session.run(
                ["boxes", "scores", "classes", "masks"], {"image": np.stack(pictures[start : start + 64])}
            )
            for start in range(0, len(pictures), 64)
        ]
        return Detections(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def lab(rgb: Floats) -> Floats:
    """Convert sRGB 0..255 [..., 3] to CIE Lab (D65)."""
    scaled = rgb / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1).astype(
        np.float32
    )


def color_name(picture: Picture, mask: Floats) -> str:
    """Return the prototype nearest to the median Lab colour of the masked pixels (mask > 0.5), as the scorer does."""
    pixels = picture[mask > 0.5]
    if not len(pixels):
        return ""
    # The upper median, per axis.
    color = np.sort(lab(pixels.astype(np.float32)), axis=0)[len(pixels) // 2]
    prototypes = lab(np.array([COLOR_RGB[color] for color in COLORS], np.float32))
    return COLORS[int(((prototypes - color) ** 2).sum(-1).argmin())]


def objects_of(picture: Picture, detections: Detections, index: int, threshold: float) -> list[ReadObject]:
    """Return the objects of one picture of a batch above a score."""
    found = []
    for slot in np.flatnonzero(detections.scores[index] > threshold):
        mask = detections.masks[index, slot]
        left, top, right, bottom = (round(float(side)) for side in detections.boxes[index, slot])
        found.append(
            ReadObject(
                shape=SHAPES[detections.classes[index, slot]],
                color=color_name(picture, mask),
                box=(left, top, right, bottom),
                overlap=float(detections.scores[index, slot]),
                mask=mask >= 0.5,
            )
        )
    return found


def judged_right(record: Record, picture: Picture, detections: Detections, index: int) -> bool:
    """Tell whether the detector finds exactly what the record asks for."""
    threshold = COUNTING_THRESHOLD if record["tag"] == "counting" else THRESHOLD
    return objects_fulfil(record, objects_of(picture, detections, index, threshold))
