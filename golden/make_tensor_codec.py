"""Writes tensor_codec.json: vectors that both languages' tensor codecs must reproduce.

Independent of the product: plain Python floats (IEEE 754 double precision) and `struct` for rounding to narrower types.
Run: python golden/make_tensor_codec.py [--check]; --check compares with the file that is there and writes nothing.

attention_uint8: planes of (step, concept); offset = smallest value, scale = float32((largest - smallest) / 255),
  code = floor((value - offset) / scale + 0.5) in 0..255, 0 for scale 0; decoded = code * scale + offset.
allocation_uint8: planes of a step; scale = float32(largest / 255), code likewise with offset 0;
  decoded = code / mean(code), which makes the mean of the plane exactly 1 (up to rounding to float32).
attention_float16: little-endian bytes of the values rounded to half precision, and the decoded values.

Numbers called values, scales and offsets are exact float32. Codes and bytes are compared exactly, decoded with the
relative tolerance in the file (a language may round between the steps).
"""

import json
import math
import struct
import sys
from pathlib import Path

PATH = Path(__file__).with_name("tensor_codec.json")
BIGGEST_CODE = 255
RELATIVE_TOLERANCE = 4e-7


def float32(value: float) -> float:
    """Nearest single precision number."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def planes(values: list[float], size: int) -> list[list[float]]:
    """Values cut into planes of `size`."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def codes_of(plane: list[float], scale: float, offset: float) -> list[int]:
    """Nearest byte of every value, halves up."""
    if scale == 0:
        return [0] * len(plane)
    return [min(BIGGEST_CODE, max(0, math.floor((value - offset) / scale + 0.5))) for value in plane]


def mean_one(raw: list[float]) -> list[float]:
    """The plane divided by its mean, in single precision."""
    mean = math.fsum(raw) / len(raw)
    return [float32(value / mean) for value in raw]


def bumps(count: int, phase: float, sharpness: float) -> list[float]:
    """Positive numbers with peaks, like attention."""
    return [math.exp(sharpness * math.sin(phase + 1.7 * i + 0.31 * i * i)) for i in range(count)]


def attention_case(name: str, shape: list[int], values: list[float]) -> dict:
    """uint8 attention: input, codes with factors, and what a receiver gets."""
    size = shape[2] * shape[3]
    codes, scales, offsets, decoded = [], [], [], []
    for plane in planes(values, size):
        offset = min(plane)
        scale = float32((max(plane) - offset) / BIGGEST_CODE)
        plane_codes = codes_of(plane, scale, offset)
        codes += plane_codes
        scales.append(scale)
        offsets.append(offset)
        decoded += [code * scale + offset for code in plane_codes]
    return dict(
        name=name,
        shape=shape,
        values=values,
        codes=codes,
        scales=scales,
        offsets=offsets,
        decoded=decoded,
    )


def allocation_case(name: str, shape: list[int], values: list[float]) -> dict:
    """uint8 allocation maps: input, codes with factors, and what the worker trains with."""
    size = shape[1] * shape[2]
    codes, scales, decoded = [], [], []
    for plane in planes(values, size):
        scale = float32(max(plane) / BIGGEST_CODE)
        plane_codes = codes_of(plane, scale, 0.0)
        mean = math.fsum(plane_codes) / size
        codes += plane_codes
        scales.append(scale)
        decoded += [code / mean for code in plane_codes]
    return dict(
        name=name,
        shape=shape,
        values=values,
        codes=codes,
        scales=scales,
        decoded=decoded,
    )


def float16_case(name: str, shape: list[int], values: list[float]) -> dict:
    """float16 attention: input, bytes as hexadecimal, and the decoded numbers."""
    coded = b"".join(struct.pack("<e", value) for value in values)
    decoded = [number for (number,) in struct.iter_unpack("<e", coded)]
    return dict(name=name, shape=shape, values=values, bytes_hex=coded.hex(), decoded=decoded)


def build() -> dict:
    """All cases."""
    smooth = mean_one(bumps(12, 0.2, 0.5)) + mean_one(bumps(12, 1.1, 1.5)) + [1.0] * 12 + mean_one(bumps(12, 2.0, 3.0))
    peak = mean_one([1e-6] * 15 + [1.0])
    spread = mean_one(bumps(12, 0.7, 1.0)) + mean_one(bumps(12, 1.9, 2.0))
    zeros = mean_one([0.0, 0.0, 1.0, 3.0])
    halves = [
        1.0,
        0.5,
        2.0 / 3.0,
        1.0009765625,
        1.00048828125,
        6.1e-5,
        5.9e-8,
        2.9e-8,
        65504.0,
        0.0,
        3.14159,
        255.125,
    ]
    return {
        "generated_by": "golden/make_tensor_codec.py",
        "relative_tolerance": RELATIVE_TOLERANCE,
        "attention_uint8": [
            attention_case("two steps, two concepts, one plane constant", [2, 2, 3, 4], smooth),
            attention_case("one sharp peak", [1, 1, 4, 4], peak),
        ],
        "allocation_uint8": [
            allocation_case("two steps", [2, 3, 4], spread),
            allocation_case("uniform", [1, 2, 3], [1.0] * 6),
            allocation_case("with positions of no weight", [1, 2, 2], zeros),
        ],
        "attention_float16": [
            float16_case(
                "ties, subnormal and largest",
                [1, 1, 3, 4],
                [float32(v) for v in halves],
            )
        ],
    }


def main() -> int:
    """Write the file, or with --check compare it."""
    text = json.dumps(build(), indent=1) + "\n"
    if "--check" not in sys.argv:
        PATH.write_text(text, encoding="ascii")
    elif not PATH.exists() or PATH.read_text(encoding="ascii") != text:
        print(f"stale: {PATH.name}; run python {Path(__file__).name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
