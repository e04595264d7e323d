"""Pictures with known objects for the detector: fresh renders, spoiled renders, and things that are no object."""

import random
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw, ImageFilter

from tiny_world.autoencoder import decode, encode
from tiny_world.reader import ReadObject, read_objects
from tiny_world.renderer import (
    CELL_CENTRES,
    JITTER,
    RADIUS,
    SUPERSAMPLING,
    Picture,
    Placement,
    blank_canvas,
    draw_placements,
    draw_word,
    reduce_canvas,
)
from tiny_world.segmentation import Mask
from tiny_world.shapes import draw_shape
from tiny_world.vocabulary import COLORS, PICTURE_SIZE, SHAPES
from tiny_world.words import split_words

READABLE: Final = 0.80
"""A generated picture is labelled only when every shape that the reader names overlaps its template this well."""


@dataclass(frozen=True, slots=True)
class Label:
    """One object: its class index, box (xmin, ymin, xmax, ymax) and pixels."""

    shape: int
    box: tuple[float, float, float, float]
    mask: Mask


@dataclass(frozen=True, slots=True)
class Example:
    """A picture and all its objects."""

    picture: Picture
    labels: list[Label]


def placement_mask(p: Placement) -> Mask:
    """Return the pixels that a placement covers by half or more."""
    side = PICTURE_SIZE * SUPERSAMPLING
    canvas = Image.new("L", (side, side), 0)
    s = SUPERSAMPLING
    draw_shape(ImageDraw.Draw(canvas), p.shape, x=p.x * s, y=p.y * s, radius=p.radius * s, fill=255)
    return reduce_canvas(canvas) >= 128


def _label(shape: str, mask: Mask) -> Label:
    rows, columns = np.nonzero(mask)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    return Label(SHAPES.index(shape), box, mask)


def random_placements(rng: random.Random) -> list[Placement]:
    """Place nought to five shapes of any kind and colour in the grid's cells."""
    count = rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5))
    radius = rng.uniform(RADIUS[0] - 0.4, RADIUS[1] + 0.4)
    wander = JITTER if rng.random() < 0.7 else 2.0
    kinds = rng.sample(SHAPES, 1) if rng.random() < 0.3 else SHAPES
    return [
        Placement(
            rng.choice(kinds),
            rng.choice(COLORS),
            x + rng.uniform(-wander, wander),
            y + rng.uniform(-wander, wander),
            radius,
        )
        for x, y in rng.sample([(x, y) for x in CELL_CENTRES for y in CELL_CENTRES], count)
    ]


def _blob(rng: random.Random) -> Picture:
    """Draw one thing that is no shape: an overlay of two shapes, or a random polygon."""
    canvas = blank_canvas(242)
    draw = ImageDraw.Draw(canvas)
    x, y = (rng.choice(CELL_CENTRES) * SUPERSAMPLING for _ in range(2))
    radius = rng.uniform(5, 10) * SUPERSAMPLING
    palette = [tuple(rng.randint(0, 255) for _ in range(3)), (150, 40, 180), (220, 30, 35), (35, 75, 230)]
    fill = rng.choice(palette)
    points = []
    for corner in range(rng.randint(5, 9)):
        angle = 2 * np.pi * (corner + rng.uniform(-0.4, 0.4)) / 7
        reach = radius * rng.uniform(0.3, 1.2)
        points.append((x + reach * np.cos(angle), y + reach * np.sin(angle)))
    draw.polygon(points, fill=fill)
    return reduce_canvas(canvas)


def fresh_example(rng: random.Random) -> Example:
    """Draw one clean picture, now and then with a word or a blob instead of or beside the shapes."""
    if rng.random() < 0.08:
        return Example(draw_word(rng.choice(split_words()[0]), rng), [])
    placements = random_placements(rng)
    picture = draw_placements(placements, rng)
    if not placements and rng.random() < 0.7:
        picture = _blob(rng)
    return Example(picture, [_label(p.shape, placement_mask(p)) for p in placements])


def _fade(example: Example, rng: random.Random) -> Example:
    """Turn one object into a ghost, which is no longer an object."""
    if not example.labels:
        return example
    ghost = rng.randrange(len(example.labels))
    mask = Image.fromarray((example.labels[ghost].mask * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(3))
    alpha = np.asarray(mask, np.float32)[..., None] / 255 * rng.uniform(0.72, 0.95)
    faded = example.picture * (1 - alpha) + 242.0 * alpha
    return Example(faded.round().astype(np.uint8), example.labels[:ghost] + example.labels[ghost + 1 :])


def _cut(example: Example, rng: random.Random) -> Example:
    """Wipe out half of one object, which is no longer an object."""
    if not example.labels:
        return example
    index = rng.randrange(len(example.labels))
    left, top, right, bottom = (int(side) for side in example.labels[index].box)
    picture = example.picture.copy()
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    halves = [
        (top, bottom, left, middle_x),
        (top, bottom, middle_x, right),
        (top, middle_y, left, right),
        (middle_y, bottom, left, right),
    ]
    y0, y1, x0, x1 = rng.choice(halves)
    picture[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = 242
    return Example(picture, example.labels[:index] + example.labels[index + 1 :])


def _grain(example: Example, rng: random.Random) -> Example:
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 14), example.picture.shape)
    return Example(np.clip(example.picture + noise, 0, 255).astype(np.uint8), example.labels)


def _blur(example: Example, rng: random.Random) -> Example:
    image = Image.fromarray(example.picture).filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.1)))
    return Example(np.asarray(image), example.labels)


def spoiled_example(rng: random.Random) -> Example:
    """Draw one picture with ghosts, halves, blur or grain."""
    example = fresh_example(rng)
    for change, chance in ((_fade, 0.3), (_cut, 0.3), (_blur, 0.4), (_grain, 0.4)):
        if rng.random() < chance:
            example = change(example, rng)
    return example


def reconstructed_examples(
    autoencoder: AutoencoderKL, count: int, rng: random.Random, generator: torch.Generator
) -> list[Example]:
    """Pass pictures through the autoencoder with a little noise on the latents, as a generator might."""
    examples = [spoiled_example(rng) if rng.random() < 0.4 else fresh_example(rng) for _ in range(count)]
    latents = encode(autoencoder, [example.picture for example in examples])
    strength = 0.35 * torch.rand(count, 1, 1, 1, generator=generator)
    pictures = decode(autoencoder, latents + strength * torch.randn(latents.shape, generator=generator))
    return [Example(picture, example.labels) for picture, example in zip(pictures, examples, strict=True)]


def _clear(found: ReadObject) -> bool:
    return found.shape is None or found.overlap > READABLE


def label_by_reader(picture: Picture) -> Example | None:
    """Label a generated picture by the program that reads shapes; None where it is in doubt."""
    objects = read_objects(picture)
    if not all(_clear(found) for found in objects):
        return None
    return Example(picture, [_label(found.shape, found.mask) for found in objects if found.shape is not None])


def foreground(example: Example) -> npt.NDArray[np.float32]:
    """Return which pixels belong to any object, float32 [64, 64], 0 or 1."""
    total = np.zeros((PICTURE_SIZE, PICTURE_SIZE), np.float32)
    for label in example.labels:
        total[label.mask] = 1
    return total
