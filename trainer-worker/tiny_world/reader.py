"""Reads the shapes in a picture by program: coloured regions against a bank of rendered templates.

The reader measures the base model and tests the learnt detector. It is never a reward.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from tiny_world.renderer import RADIUS, Picture, Placement, draw_placements
from tiny_world.segmentation import Mask, coloured_regions
from tiny_world.vocabulary import COLORS, SHAPES

MIN_OVERLAP: Final = 0.72
"""A region is a shape when its overlap (intersection over union) with a template is larger."""
MAX_ASPECT: Final = 1.5
TEMPLATE_SIDE: Final = 20
TEMPLATES_PER_SHAPE: Final = 24


@dataclass(frozen=True, slots=True)
class ReadObject:
    """One region of a picture; `shape` is None when it looks like no shape."""

    shape: str | None
    color: str
    box: tuple[int, int, int, int]
    """xmin, ymin, xmax, ymax in pixels; the maxima are exclusive."""
    overlap: float
    mask: Mask


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _normalised(mask: Mask) -> npt.NDArray[np.float32]:
    """Scale a mask's box to a 20x20 square, flattened, 0..1."""
    left, top, right, bottom = _bounds(mask)
    image = Image.fromarray((mask[top:bottom, left:right] * 255).astype(np.uint8))
    scaled = image.resize((TEMPLATE_SIDE, TEMPLATE_SIDE), Image.Resampling.BOX)
    return np.asarray(scaled, np.float32).ravel() / np.float32(255)


@cache
def _templates() -> npt.NDArray[np.float32]:
    """Return float32 [shapes, templates, 400] of rendered shapes at random places."""
    rng = random.Random(4242)
    bank = []
    for shape in SHAPES:
        drawn: list[npt.NDArray[np.float32]] = []
        while len(drawn) < TEMPLATES_PER_SHAPE:
            x, y = rng.uniform(28, 36), rng.uniform(28, 36)
            color = COLORS[len(drawn) % len(COLORS)]
            picture = draw_placements([Placement(shape, color, x, y, rng.uniform(*RADIUS))], rng)
            drawn.append(_normalised(coloured_regions(picture)[0][0]))
        bank.append(drawn)
    return np.array(bank, np.float32)


def _read_region(mask: Mask, color: str) -> ReadObject:
    region = _normalised(mask)
    bank = _templates()
    overlaps = (np.minimum(bank, region).sum(-1) / np.maximum(bank, region).sum(-1)).max(-1)
    best = int(overlaps.argmax())
    left, top, right, bottom = _bounds(mask)
    width, height = right - left, bottom - top
    plausible = overlaps[best] > MIN_OVERLAP and max(width, height) < MAX_ASPECT * min(width, height)
    return ReadObject(
        shape=SHAPES[best] if plausible else None,
        color=color,
        box=(left, top, right, bottom),
        overlap=float(overlaps[best]),
        mask=mask,
    )


def read_objects(picture: Picture) -> list[ReadObject]:
    """Return everything coloured in the picture, unrecognisable regions included."""
    return [_read_region(mask, color) for mask, color in coloured_regions(picture)]
