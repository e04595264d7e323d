"""numpy arrays as they travel. PURE. Vectors that both languages reproduce are in golden/tensor_codec.json.

Shape letters: S steps, J concepts, h w rows and columns of image tokens.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from star_worker.errors import StarError

WireType = Literal["float32", "float16", "float64", "uint8"]

# Little-endian on every machine.
_NUMPY_TYPES: dict[WireType, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "float64": np.dtype("<f8"),
    "uint8": np.dtype("u1"),
}
_BIGGEST_CODE = 255
_LARGEST_FLOAT16 = 65504.0
# Largest |mean - 1| of a float32 allocation map: rounding, but not another normalisation.
_MEAN_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class WireTensor:
    """Dense array: row-major, little-endian, no padding; len(data) = product of shape x element size."""

    data_type: WireType
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedAttention:
    """[S, J, h, w] as uint8 with S * J scales and offsets (value = code * scale + offset), or float16 without."""

    values: WireTensor
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()


def encode_tensor(array: NDArray[Any], data_type: WireType) -> WireTensor:
    """The array as `data_type`, C order."""
    coded = np.ascontiguousarray(array, dtype=_NUMPY_TYPES[data_type])
    return WireTensor(data_type=data_type, shape=tuple(array.shape), data=coded.tobytes())


def decode_tensor(wire: WireTensor, *, name: str, rank: int) -> NDArray[Any]:
    """A read-only array over the bytes. Raises StarError TENSOR_INVALID when rank, shape or byte length are wrong."""
    if len(wire.shape) != rank or any(axis < 1 for axis in wire.shape):
        raise _invalid(name, f"expected {rank} axes of length >= 1, received shape {list(wire.shape)}")
    element = _NUMPY_TYPES[wire.data_type]
    byte_count = math.prod(wire.shape) * element.itemsize
    if len(wire.data) != byte_count:
        expected = f"shape {list(wire.shape)} of {wire.data_type} needs {byte_count} bytes"
        raise _invalid(name, f"{expected}, received {len(wire.data)}")
    return np.frombuffer(wire.data, dtype=element).reshape(wire.shape)


def encode_attention(values: NDArray[np.float32], data_kind: Literal["uint8", "float16"]) -> CodedAttention:
    """Attention maps for the way up.

    values: float32 [S, J, h, w], finite, >= 0, mean 1 over h, w.
    uint8: offset = smallest value of the plane, scale = range / 255, error <= scale / 2; a constant plane has scale 0.
    Raises StarError TENSOR_INVALID for another rank, and NOT_FINITE for a value that is not finite.
    """
    if values.ndim != 4 or 0 in values.shape:
        raise _invalid("attention", f"expected [S, J, h, w] with axes >= 1, received shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise StarError("NOT_FINITE", "attention: expected finite values, received NaN or infinity")
    if data_kind == "float16":
        if float(values.max()) > _LARGEST_FLOAT16:
            raise _invalid("attention", f"float16 ends at {_LARGEST_FLOAT16}, received {values.max()}; use uint8")
        return CodedAttention(values=encode_tensor(values, "float16"))
    return _encode_planes(values)


def _encode_planes(values: NDArray[np.float32]) -> CodedAttention:
    step_count, concept_count, rows, columns = values.shape
    planes = values.reshape(step_count * concept_count, rows * columns).astype(np.float64)
    offsets = planes.min(axis=1)
    scales = ((planes.max(axis=1) - offsets) / _BIGGEST_CODE).astype(np.float32).astype(np.float64)
    # Scale 0 (constant plane) divides by 1 instead: the differences are 0 there.
    steps = np.where(scales > 0, scales, 1.0)[:, None]
    codes = np.clip(np.floor((planes - offsets[:, None]) / steps + 0.5), 0, _BIGGEST_CODE)
    return CodedAttention(
        values=encode_tensor(codes.reshape(values.shape), "uint8"),
        scales=tuple(scales.tolist()),
        offsets=tuple(offsets.tolist()),
    )


def decode_allocation_maps(wire: WireTensor, scales: Iterable[float]) -> NDArray[np.float32]:
    """Allocation maps [S, h, w], float32, >= 0, mean 1 over h, w (taken in float64, then cast); perhaps read-only.

    uint8: value = code * scale of the step, then divided by its mean. float32: as sent.
    Raises StarError TENSOR_INVALID for another type, shape or number of scales, for values that are negative or not
    finite, and for a map whose mean is not 1 within rounding.
    """
    name = "allocation_maps"
    given = np.asarray(tuple(scales), dtype=np.float64)
    array = decode_tensor(wire, name=name, rank=3)
    if wire.data_type == "float32":
        if given.size:
            raise _invalid(name, f"float32 has no scales, received {given.size}")
        # On a little-endian machine the bytes of the message themselves.
        maps: NDArray[np.float32] = array.astype(np.float32, copy=False)
        _check_mean(maps, np.zeros(maps.shape[0]))
        return maps
    if wire.data_type != "uint8":
        raise _invalid(name, f"expected uint8 or float32, received {wire.data_type}")
    if given.shape != (wire.shape[0],) or not (np.isfinite(given).all() and (given > 0).all()):
        raise _invalid(name, f"expected {wire.shape[0]} finite scales > 0, received {given.tolist()[:8]}")
    values = array.astype(np.float64) * given[:, None, None]
    _check_mean(values, given)
    maps = (values / values.mean(axis=(1, 2), keepdims=True)).astype(np.float32)
    return maps


def _check_mean(maps: NDArray[Any], scales: NDArray[np.float64]) -> None:
    """A code is at most half a scale off, so the mean is too; a whole scale leaves room for another rounding rule."""
    # Two passes instead of four, because this is bulk: a mean is finite only where all values are.
    means = maps.reshape(len(maps), -1).mean(axis=1, dtype=np.float64)
    if not np.isfinite(means).all() or maps.min() < 0:
        raise _invalid("allocation_maps", "expected finite values >= 0, received others")
    wrong = np.flatnonzero((np.abs(means - 1) > scales + _MEAN_TOLERANCE) | (means == 0))
    if wrong.size:
        first = int(wrong[0])
        raise _invalid(
            "allocation_maps", f"expected mean 1 in every step, received {means[first]:.6g} in entry {first}"
        )


def _invalid(name: str, message: str) -> StarError:
    return StarError("TENSOR_INVALID", f"{name}: {message}")
