"""Writes pillow.json: SHA-256 of what Pillow makes of pictures that both sides compute.

Independent of the product: the operations are Pillow's own. Pillow 13.0.0 and 9.4.0 give the same file.
Run: python golden/make_pillow.py [--check]

Pictures (uint8 [height, width, 3], computed in unsigned 32-bit numbers by `value`):
  noise: bits of (x * 374761393 + y * 668265263 + channel * 974634541) * 1274126177, the byte above bit 16.
  smooth: x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height) for red, green, blue.
  blocks: 255 where (x // 7 + y // 5 + channel) is even, else 0.

Operations on a case's picture:
  resize: to `size` [width, height] with `filter`.
  preprocess: shortest edge to `size` with `filter`, long side int(size * long / short), then the centre square, whose
    offset is rounded by `rule`: floor (Hugging Face) or half_even (torchvision).
  crop: to `box`.
  jpeg: saved as JPEG with Pillow's defaults and read again.
`sha256` is that of the RGB bytes of the result.
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PATH = Path(__file__).with_name("pillow.json")
FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}
CONTENTS = ("noise", "smooth", "blocks")
# From, to: shrinking, enlarging, one side as it is, sides of one pixel.
RESIZES = [
    ((200, 150), (90, 61)),
    ((97, 61), (356, 224)),
    ((224, 300), (224, 224)),
    ((300, 224), (224, 224)),
    ((64, 64), (64, 64)),
    ((1, 50), (7, 3)),
    ((50, 1), (3, 7)),
    ((33, 17), (1, 1)),
    ((1, 1), (5, 4)),
    ((320, 240), (31, 29)),
]
# Long sides of 227, 231 and 235: the two rules of rounding differ.
PREPROCESSED = [
    (512, 512),
    (227, 224),
    (224, 231),
    (470, 448),
    (600, 400),
    (97, 61),
    (61, 97),
    (30, 1),
    (1, 1),
    (224, 224),
]
BOXES = [
    (10, 20, 50, 44),
    (0.5, 1.5, 30.5, 22.5),
    (-5.5, -2.5, 20.4, 10.6),
    (90, 50, 120, 80),
    (-20, -20, -5, -5),
    (2.49, 3.51, 4.5, 7.5),
]
JPEG_SIZES = [(64, 64), (97, 61), (256, 256), (1, 1), (17, 33)]


def value(content: str, x: np.ndarray, y: np.ndarray, channel: np.ndarray, width: int, height: int) -> np.ndarray:
    """Content of the pictures; see above."""
    if content == "noise":
        mixed = x * np.uint32(374761393) + y * np.uint32(668265263) + channel * np.uint32(974634541)
        return (mixed * np.uint32(1274126177) >> np.uint32(16)) & np.uint32(255)
    if content == "smooth":
        return np.choose(channel, [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)])
    return np.where((x // 7 + y // 5 + channel) % 2 == 0, 255, 0)


def picture(content: str, size: tuple[int, int]) -> Image.Image:
    """A picture of the given width and height."""
    width, height = size
    y, x, channel = np.indices((height, width, 3), dtype=np.uint32)
    return Image.fromarray(value(content, x, y, channel, width, height).astype(np.uint8))


def preprocess(image: Image.Image, size: int, filter_name: str, rule: str) -> Image.Image:
    """Shortest edge to `size`, then the centre square."""
    short, long = sorted(image.size)
    long_side = int(size * long / short)
    resized = image.resize(
        (size, long_side) if image.width <= image.height else (long_side, size), FILTERS[filter_name]
    )
    left, top = ((side - size) // 2 if rule == "floor" else round((side - size) / 2) for side in resized.size)
    return resized.crop((left, top, left + size, top + size))


def through_jpeg(image: Image.Image) -> Image.Image:
    """Saved and read again."""
    file = io.BytesIO()
    image.save(file, format="JPEG")
    return Image.open(file).convert("RGB")


def operations() -> list[dict]:
    """All cases but their hashes."""
    return [
        *(
            {"from": source, "operation": "resize", "size": target, "filter": name}
            for source, target in RESIZES
            for name in FILTERS
        ),
        *(
            {"from": source, "operation": "preprocess", "size": 224, "filter": "bicubic", "rule": rule}
            for source in PREPROCESSED
            for rule in ("floor", "half_even")
        ),
        *({"from": (97, 61), "operation": "crop", "box": box} for box in BOXES),
        *({"from": source, "operation": "jpeg"} for source in JPEG_SIZES),
    ]


def result(image: Image.Image, case: dict) -> Image.Image:
    """The picture after a case's operation."""
    match case["operation"]:
        case "resize":
            return image.resize(case["size"], FILTERS[case["filter"]])
        case "preprocess":
            return preprocess(image, case["size"], case["filter"], case["rule"])
        case "crop":
            return image.crop(case["box"])
        case "jpeg":
            return through_jpeg(image)
        case other:
            raise ValueError(f"unknown operation {other}")


def main() -> int:
    """Writes the file, or with --check compares it."""
    lines = []
    for case in operations():
        for content in CONTENTS:
            digest = hashlib.sha256(result(picture(content, case["from"]), case).tobytes()).hexdigest()
            lines.append(json.dumps({"content": content, **case, "sha256": digest}))
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    if "--check" not in sys.argv[1:]:
        PATH.write_text(text)
    elif PATH.read_text() != text:
        print(f"error: {PATH.name} is not what {Path(__file__).name} writes; run it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
