"""Pictures as PNG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return uint8 [H, W, 3] RGB as a lossless PNG file."""
    buffer = io.BytesIO()
    # Level 1 is several times faster than the default and a tenth larger.
    Image.fromarray(pixels, "RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
