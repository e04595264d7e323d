"""Reads the letters in a picture by program: each letter cell against rendered letters."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tiny_world.renderer import LETTER_CELL, LETTER_LEFT, MAX_LETTERS, SUPERSAMPLING, Picture, draw_letter
from tiny_world.vocabulary import PICTURE_SIZE
from tiny_world.words import letters

MIN_CORRELATION: Final = 0.65
MIN_INK: Final = 0.35
"""A cell whose darkest pixel is lighter than this holds no letter (0 is the ground, 1 is black)."""
UNREADABLE: Final = "?"

Bank = npt.NDArray[np.float32]


def _standardised(cells: Bank) -> Bank:
    """Shift the last axis to mean 0 and scale it to length 1."""
    centred = cells - cells.mean(-1, keepdims=True)
    scaled: Bank = centred / (np.linalg.norm(centred, axis=-1, keepdims=True) + 1e-6)
    return scaled


@cache
def _letter_bank() -> Bank:
    """Return float32 [letters, shifts, 64 * 15], standardised."""
    bank = []
    for letter in letters():
        shifted = []
        for dx in (-0.8, 0.0, 0.8):
            for dy in (-2.0, -1.0, 0.0, 1.0, 2.0):
                canvas = Image.new("L", (LETTER_CELL * SUPERSAMPLING, PICTURE_SIZE * SUPERSAMPLING), 0)
                draw_letter(ImageDraw.Draw(canvas), letter, x=LETTER_CELL / 2 + dx, y=PICTURE_SIZE / 2 + dy, fill=255)
                reduced = canvas.resize((LETTER_CELL, PICTURE_SIZE), Image.Resampling.BOX)
                shifted.append(np.asarray(reduced, np.float32).ravel() / 255)
        bank.append(shifted)
    return _standardised(np.array(bank, np.float32))


def read_word(picture: Picture) -> str:
    """Return the letters from left to right; "?" stands for a cell with ink that is no letter."""
    darkness = 1 - picture.astype(np.float32).mean(-1) / 255
    read = ""
    for index in range(MAX_LETTERS):
        left = LETTER_LEFT + LETTER_CELL * index
        cell = darkness[:, left : left + LETTER_CELL]
        if cell.max() < MIN_INK:
            continue
        correlations = (_letter_bank() @ _standardised(cell.ravel())).max(-1)
        best = int(correlations.argmax())
        read += letters()[best] if correlations[best] > MIN_CORRELATION else UNREADABLE
    return read
