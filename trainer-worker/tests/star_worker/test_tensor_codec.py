import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from star_worker.errors import StarError
from star_worker.tensor_codec import WireTensor, decode_allocation_maps, decode_tensor, encode_attention, encode_tensor

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "tensor_codec.json").read_text())
TOLERANCE = GOLDEN["relative_tolerance"]

attention = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.floats(0, 64, width=32)
)


def golden(kind):
    return pytest.mark.parametrize("case", GOLDEN[kind], ids=lambda case: case["name"])


@golden("attention_uint8")
def test_uint8_attention_matches_the_golden_codes(case):
    values = np.array(case["values"], dtype=np.float32).reshape(case["shape"])
    coded = encode_attention(values, "uint8")
    assert list(coded.values.data) == case["codes"]
    assert list(coded.scales) == case["scales"]
    assert list(coded.offsets) == case["offsets"]


@golden("attention_float16")
def test_float16_attention_matches_the_golden_bytes(case):
    coded = encode_attention(np.array(case["values"], dtype=np.float32).reshape(case["shape"]), "float16")
    assert coded.values.data.hex() == case["bytes_hex"]
    assert (coded.scales, coded.offsets) == ((), ())


@golden("allocation_uint8")
def test_uint8_allocation_maps_decode_to_the_golden_values_with_mean_one(case):
    wire = WireTensor(data_type="uint8", shape=tuple(case["shape"]), data=bytes(case["codes"]))
    maps = decode_allocation_maps(wire, case["scales"])
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps.ravel(), case["decoded"], rtol=TOLERANCE)
    np.testing.assert_allclose(maps.mean(axis=(1, 2), dtype=np.float64), 1, atol=1e-7)


@given(attention)
@settings(max_examples=60, deadline=None)
def test_uint8_error_is_at_most_half_a_scale(values):
    coded = encode_attention(values, "uint8")
    planes = (values.shape[0], values.shape[1], 1, 1)
    scales = np.array(coded.scales).reshape(planes)
    codes = decode_tensor(coded.values, name="attention", rank=4).astype(np.float64)
    error = np.abs(codes * scales + np.array(coded.offsets).reshape(planes) - values)
    # A range below the smallest float32 scale is lost; rounding the scale itself moves the end by 255 * 2^-25 scales.
    assert (error <= 0.50001 * scales + 1e-42).all()


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(0.125, 8, width=32)))
@settings(max_examples=60, deadline=None)
def test_quantised_maps_come_back_close_and_with_mean_one(raw):
    maps = raw / raw.mean(axis=(1, 2), keepdims=True)
    scales = (maps.max(axis=(1, 2)) / 255).astype(np.float32)
    codes = np.floor(maps / scales[:, None, None] + 0.5)
    decoded = decode_allocation_maps(encode_tensor(codes, "uint8"), scales.tolist())
    np.testing.assert_allclose(decoded.mean(axis=(1, 2), dtype=np.float64), 1, atol=1e-6)
    assert (np.abs(decoded - maps) <= scales[:, None, None] * (1 + maps)).all()


def test_float32_maps_pass_unchanged():
    maps = np.array([[[0.5, 1.5], [0.25, 1.75]]], dtype=np.float32)
    assert decode_allocation_maps(encode_tensor(maps, "float32"), ()).tolist() == maps.tolist()


def wire(data_type="uint8", shape=(1, 2, 2), data=b"\x80\x80\x80\x80"):
    return WireTensor(data_type=data_type, shape=shape, data=data)


@pytest.mark.parametrize(
    ("tensor", "scales", "message"),
    [
        (wire(data=b"\x80\x80\x80"), [1 / 128], "needs 4 bytes, received 3"),
        (wire(shape=(2, 2)), [1 / 128], "expected 3 axes"),
        (wire(shape=(1, 4, 0), data=b""), [1 / 128], "length >= 1"),
        (wire(), [], "expected 1 finite scales"),
        (wire(), [float("nan")], "finite scales > 0"),
        (wire(), [0.0], "finite scales > 0"),
        (wire(), [1 / 32], "expected mean 1"),
        (wire(data=b"\0\0\0\0"), [1.0], "expected mean 1"),
        (wire("float16", data=b"\0" * 8), [], "expected uint8 or float32"),
        (encode_tensor(np.full((1, 2, 2), 2.0), "float32"), [], "expected mean 1"),
        (encode_tensor(np.array([[[3.0, -1.0]]]), "float32"), [], "finite values >= 0"),
        (encode_tensor(np.array([[[np.nan, 1.0]]]), "float32"), [], "finite values >= 0"),
        (encode_tensor(np.ones((1, 2, 2)), "float32"), [1.0], "float32 has no scales"),
    ],
)
def test_bad_maps_are_refused(tensor, scales, message):
    with pytest.raises(StarError, match=message) as caught:
        decode_allocation_maps(tensor, scales)
    assert caught.value.reason == "TENSOR_INVALID"


def test_attention_that_is_not_finite_is_refused():
    with pytest.raises(StarError) as caught:
        encode_attention(np.full((1, 1, 2, 2), np.nan, dtype=np.float32), "uint8")
    assert caught.value.reason == "NOT_FINITE"


def test_attention_too_large_for_float16_is_refused():
    with pytest.raises(StarError, match="use uint8"):
        encode_attention(np.full((1, 1, 2, 2), 7e4, dtype=np.float32), "float16")
