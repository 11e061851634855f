"""Equal values have one text, and arrays come back bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tacit.assurance.canonical import ArrayDigest, array_of, canonical, digest, digest_of_array, plain


@dataclass(frozen=True, kw_only=True)
class Value:
    number: float
    parts: tuple[int, ...] = ()
    seen: str = field(default="", compare=False)


def test_the_order_of_keys_and_what_is_not_compared_do_not_matter() -> None:
    assert canonical({"b": 1, "a": [1.5, None, True]}) == b'{"a":[1.5,null,true],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    assert digest(Value(number=1.0, seen="here")) == digest(Value(number=1.0, seen="there")) != digest(Value(number=1.5))


def test_no_value_breaks_a_line() -> None:
    assert b"\n" not in canonical({"reason": "one\nother\u2028third"})


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), np.float64("inf"), 0.1, -0.0, 1e-320])
def test_every_number_comes_back(number: float) -> None:
    np.testing.assert_equal(float(json.loads(canonical(number))), float(number))


@given(
    st.sampled_from(["float32", "float64", "uint8", "int64", "bool", ">f4"]).flatmap(
        lambda dtype: arrays(np.dtype(dtype), array_shapes(min_dims=0, max_dims=3, min_side=0))
    )
)
def test_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    back = array_of(json.loads(canonical(array)))
    assert isinstance(back, np.ndarray)
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.shape == array.shape
    assert back.tobytes() == array.astype(back.dtype).tobytes()


def test_a_digest_is_of_type_shape_and_bytes() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = digest_of_array(array)
    assert digest_of_array(np.asfortranarray(array)) == found == digest_of_array(array.astype(">f4"))
    assert array_of(plain(found)) == found == ArrayDigest(dtype="float32", shape=(2, 3), sha256=found.sha256)
    changed = array.copy()
    changed[1, 2] = np.nextafter(changed[1, 2], np.float32(9))
    assert digest_of_array(changed) != found != digest_of_array(array.reshape(3, 2))


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), np.array(["text"])])
def test_what_has_no_place_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no place in a ledger"):
        canonical(value)


@pytest.mark.parametrize(
    "value",
    [
        {"dtype": "object", "shape": [1], "data": "AAAA"},
        {"dtype": "float32", "shape": [2], "data": "AAAA"},
        {"dtype": "float32", "shape": [1]},
        {"dtype": "float32", "shape": [1], "data": "!"},
    ],
)
def test_what_is_no_array_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an array"):
        array_of(value)
