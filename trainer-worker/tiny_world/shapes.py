"""Outlines of the shapes, drawn with Pillow at any size."""

import math

from PIL import ImageDraw

Point = tuple[float, float]


def _triangle(x: float, y: float, r: float) -> list[Point]:
    return [(x, y - r), (x + r, y + 0.9 * r), (x - r, y + 0.9 * r)]


def _star(x: float, y: float, r: float) -> list[Point]:
    points = []
    for corner in range(10):
        angle = -math.pi / 2 + corner * math.pi / 5
        reach = 1.12 * r if corner % 2 == 0 else 0.45 * r
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def _cross(x: float, y: float, r: float) -> list[Point]:
    t = r / 3
    corners = [
        (-t, -r),
        (t, -r),
        (t, -t),
        (r, -t),
        (r, t),
        (t, t),
        (t, r),
        (-t, r),
        (-t, t),
        (-r, t),
        (-r, -t),
        (-t, -t),
    ]
    return [(x + dx, y + dy) for dx, dy in corners]


def _heart(x: float, y: float, r: float) -> list[Point]:
    points = []
    for index in range(40):
        a = 2 * math.pi * index / 40
        dx = 16 * math.sin(a) ** 3
        dy = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
        points.append((x + 1.02 * r * dx / 16, y - r * (dy + 2.5) / 14.5))
    return points


_OUTLINES = {"triangle": _triangle, "star": _star, "cross": _cross, "heart": _heart}


def draw_shape(
    canvas: ImageDraw.ImageDraw, shape: str, *, x: float, y: float, radius: float, fill: tuple[int, int, int] | int
) -> None:
    """Draw one filled shape with its centre at (x, y), in canvas pixels."""
    if shape == "circle":
        canvas.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
    elif shape == "square":
        side = 0.9 * radius
        canvas.rectangle([x - side, y - side, x + side, y + side], fill=fill)
    else:
        canvas.polygon(_OUTLINES[shape](x, y, radius), fill=fill)
