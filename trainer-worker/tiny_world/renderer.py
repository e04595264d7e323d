"""Draws the picture that a prompt asks for.

Shapes sit on a 3x3 grid of cells with a little jitter; letters sit in fixed cells from the left. The ground is
near-white. Everything is drawn four times as large and averaged down, so edges are smooth.
"""

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tiny_world.prompts import Record
from tiny_world.shapes import draw_shape
from tiny_world.vocabulary import COLOR_RGB, COLORS, PICTURE_SIZE

Picture = npt.NDArray[np.uint8]
"""RGB picture, uint8 [64, 64, 3]."""

SUPERSAMPLING: Final = 4
CELL_CENTRES: Final = (12, 32, 52)
RADIUS: Final = (8.3, 8.8)
"""Smallest and largest radius of a shape; neighbours never touch."""
JITTER: Final = 0.8
MAX_LETTERS: Final = 4
LETTER_CELL: Final = 15
"""Width of a letter's cell in pixels."""
LETTER_LEFT: Final = 2
"""Where the first letter's cell begins."""
LETTER_SIZE: Final = 22
INK: Final = (20, 20, 20)


@dataclass(frozen=True, slots=True)
class Placement:
    """One shape to draw: its centre and radius in picture pixels."""

    shape: str
    color: str
    x: float
    y: float
    radius: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Edges xmin, ymin, xmax, ymax of the circle around the shape."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn picture and what is in it."""

    picture: Picture
    placements: list[Placement] = field(default_factory=list)


@cache
def letter_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that ships inside Pillow, at the supersampled size."""
    return ImageFont.load_default(size=LETTER_SIZE * SUPERSAMPLING)


def blank_canvas(ground: int) -> Image.Image:
    """Return an empty supersampled picture of one grey."""
    side = PICTURE_SIZE * SUPERSAMPLING
    return Image.new("RGB", (side, side), (ground, ground, ground))


def reduce_canvas(canvas: Image.Image) -> npt.NDArray[np.uint8]:
    """Average a supersampled canvas down to picture size."""
    return np.asarray(canvas.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX))


def draw_letter(
    canvas: ImageDraw.ImageDraw, letter: str, *, x: float, y: float, fill: tuple[int, int, int] | int
) -> None:
    """Draw one capital centred at (x, y), in picture pixels; baseline and height are the same for all letters."""
    s = SUPERSAMPLING
    canvas.text((x * s, y * s), letter, font=letter_font(), fill=fill, anchor="mm", stroke_width=2, stroke_fill=fill)


def letter_x(index: int) -> float:
    """Return the centre of the letter cell with this index."""
    return LETTER_LEFT + LETTER_CELL * (index + 0.5)


def draw_word(word: str, rng: random.Random) -> Picture:
    """Draw a word of at most four capitals."""
    canvas = blank_canvas(rng.randint(238, 246))
    draw = ImageDraw.Draw(canvas)
    dx, y = rng.uniform(-0.3, 0.3), PICTURE_SIZE / 2 + rng.uniform(-1.0, 1.0)
    for index, letter in enumerate(word):
        draw_letter(draw, letter, x=letter_x(index) + dx, y=y, fill=INK)
    return reduce_canvas(canvas)


def draw_placements(placements: list[Placement], rng: random.Random) -> Picture:
    """Draw shapes on a near-white ground, each in a slightly different tint of its colour."""
    s = SUPERSAMPLING
    canvas = blank_canvas(rng.randint(238, 246))
    draw = ImageDraw.Draw(canvas)
    for p in placements:
        red, green, blue = (min(255, max(0, round(value + rng.uniform(-8, 8)))) for value in COLOR_RGB[p.color])
        draw_shape(draw, p.shape, x=p.x * s, y=p.y * s, radius=p.radius * s, fill=(red, green, blue))
    return reduce_canvas(canvas)


def _asked_shapes(record: Record, rng: random.Random) -> list[tuple[str, str]]:
    """List (shape, colour) for every object; a colour that the prompt leaves open is drawn at random."""
    return [
        (clause["class"], clause.get("color") or rng.choice(COLORS))
        for clause in record["include"]
        for _ in range(clause["count"])
    ]


def _relation_holds(relation: str, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Tell whether cell `first` lies plainly in the relation to cell `second` (the other axis differs less)."""
    dx, dy = first[0] - second[0], first[1] - second[1]
    along, across = (dx, dy) if relation.endswith("of") else (dy, dx)
    wanted_sign = -1 if relation in ("left of", "above") else 1
    return along * wanted_sign > abs(across)


def _choose_cells(record: Record, count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Draw distinct cells; for a position prompt until the relation holds."""
    relation = next((clause["position"][0] for clause in record["include"] if "position" in clause), None)
    grid = [(x, y) for x in CELL_CENTRES for y in CELL_CENTRES]
    while True:
        cells = rng.sample(grid, count)
        if relation is None or _relation_holds(str(relation), cells[1], cells[0]):
            return cells


def draw_record(record: Record, rng: random.Random) -> Scene:
    """Draw one random picture that fulfils the prompt."""
    if "text" in record:
        return Scene(draw_word(record["text"], rng))
    asked = _asked_shapes(record, rng)
    radius = rng.uniform(*RADIUS)
    placements = [
        Placement(shape, color, x + rng.uniform(-JITTER, JITTER), y + rng.uniform(-JITTER, JITTER), radius)
        for (shape, color), (x, y) in zip(asked, _choose_cells(record, len(asked), rng), strict=True)
    ]
    return Scene(draw_placements(placements, rng), placements)
