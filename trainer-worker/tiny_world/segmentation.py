"""Finds coloured regions in a picture without any learnt part."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tiny_world.renderer import Picture
from tiny_world.vocabulary import COLOR_RGB, COLORS

Mask = npt.NDArray[np.bool_]
"""Which pixels belong to a region, bool [64, 64]."""

SATURATION: Final = 70
"""A pixel is coloured when its largest and smallest channel differ by more."""
MIN_PIXELS: Final = 45
MAX_SIDE: Final = 24
"""A larger region is split again at a higher saturation: two shapes may touch."""
MAJORITY: Final = 0.6

_PALETTE: Final = np.array([COLOR_RGB[color] for color in COLORS], np.float32)


def _components(mask: Mask, min_pixels: float) -> list[Mask]:
    labels, count = ndimage.label(mask)
    regions = [labels == index + 1 for index in range(count)]
    return [region for region in regions if region.sum() >= min_pixels]


def _split_touching(region: Mask, saturation: npt.NDArray[np.float32]) -> list[Mask]:
    rows, columns = np.nonzero(region)
    if max(np.ptp(rows), np.ptp(columns)) + 1 <= MAX_SIDE:
        return [region]
    for threshold in (100, 125, 150):
        parts = _components(region & (saturation > threshold), 0.8 * MIN_PIXELS)
        if len(parts) > 1:
            return parts
    return [region]


def _split_colors(region: Mask, nearest: npt.NDArray[np.intp]) -> list[tuple[Mask, str]]:
    counts = np.bincount(nearest[region], minlength=len(COLORS))
    main = int(counts.argmax())
    if counts[main] >= MAJORITY * region.sum():
        return [(region, COLORS[main])]
    enough = max(MIN_PIXELS, 0.25 * region.sum())
    return [(region & (nearest == index), COLORS[index]) for index in np.flatnonzero(counts >= enough)]


def coloured_regions(picture: Picture) -> list[tuple[Mask, str]]:
    """Return the mask and colour name of every coloured region that is large enough to be something."""
    pixels = picture.astype(np.float32)
    saturation = pixels.max(-1) - pixels.min(-1)
    nearest = ((pixels[:, :, None] - _PALETTE) ** 2).sum(-1).argmin(-1)
    found: list[tuple[Mask, str]] = []
    for region in _components(saturation > SATURATION, MIN_PIXELS):
        for part in _split_touching(region, saturation):
            found += _split_colors(part, nearest)
    return found
