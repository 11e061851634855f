"""One value, one text: JSON in a single way of writing it, so that equal values have equal digests.

Keys are sorted, nothing is spaced, everything is ASCII, and floats are the shortest text that reads back as the same bits. What JSON lacks
is written so:

    an array                {"dtype": "float32", "shape": [2], "data": BASE64}   the bytes little-endian, in C order
    an array's digest       {"dtype": "float32", "shape": [2], "sha256": HEX}    of those bytes
    a number not finite     "inf", "-inf" or "nan", which `float` reads
    a dataclass             an object of the fields that are compared
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ArrayDigest:
    """What stands for an array that is not kept.

    Attributes:
        dtype: Its numpy name.
        shape: Of the array.
        sha256: Of its bytes, little-endian and in C order, in hex.
    """

    dtype: str
    shape: tuple[int, ...]
    sha256: str


def canonical(value: Any) -> bytes:
    """The text of a value.

    Raises:
        TypeError: It holds something that has no place in JSON.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest(value: Any) -> str:
    """SHA-256 of the text of a value, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_of_array(array: Array) -> ArrayDigest:
    """What stands for an array."""
    return ArrayDigest(dtype=array.dtype.name, shape=array.shape, sha256=hashlib.sha256(_bytes(array)).hexdigest())


def plain(value: Any) -> Any:
    """A value as JSON values."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else repr(float(value))
        case str():
            return str(value)
        case np.ndarray():
            data = binascii.b2a_base64(_bytes(value), newline=False).decode("ascii")
            return {"dtype": value.dtype.name, "shape": list(value.shape), "data": data}
        case np.generic():
            return plain(value.item())
        case Mapping():
            return {str(name): plain(part) for name, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.compare}
    raise TypeError(f"{type(value).__name__} has no place in a ledger: give numbers, texts, arrays, or frozen dataclasses of them")


def array_of(value: Mapping[str, Any]) -> Array | ArrayDigest:
    """What `plain` made of an array, or of its digest, read back.

    Raises:
        ValueError: It is neither.
    """
    try:
        dtype, shape = np.dtype(value["dtype"]), tuple(int(n) for n in value["shape"])
        if dtype.kind not in "buif":
            raise ValueError(f"dtype {dtype} is not one of numbers")
        if "sha256" in value:
            return ArrayDigest(dtype=dtype.name, shape=shape, sha256=value["sha256"])
        data = binascii.a2b_base64(value["data"], strict_mode=True)
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an array: {error}") from error


def _bytes(array: Array) -> bytes:
    if array.dtype.kind not in "buif":
        raise TypeError(f"an array of {array.dtype} has no place in a ledger: give numbers")
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
