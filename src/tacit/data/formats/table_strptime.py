"""Timestamps of a form that is given as for `strptime`, many at once."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.data.streams import SourceError

_PARTS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "b": r"[A-Za-z]{3}",
    "H": r"\d{1,2}",
    "I": r"\d{1,2}",
    "p": r"[AaPp][Mm]",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "f": r"\d{1,9}",
    "z": r"Z|[+-]\d{2}:?\d{2}",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RANGES = {"H": (0, 23), "I": (1, 12), "M": (0, 59), "S": (0, 59)}

Whole = NDArray[np.int64]


class Unreadable(ValueError):
    """Some text is no time of the form."""


def pattern(form: str) -> str:
    """Regular expression with one named group for each part of a time.

    Args:
        form: As for `strptime`, such as "%d.%m.%Y %H:%M:%S".

    Raises:
        SourceError: The form has an unknown or repeated part, or no date.
    """
    parts = re.split(r"%(.)", form)
    found = [p for p in parts[1::2] if p != "%"]
    known = " ".join(f"%{p}" for p in _PARTS)
    if unknown := [p for p in found if p not in _PARTS]:
        raise SourceError(f"option time_format: %{unknown[0]} is none of: {known} %%")
    if len(set(found)) < len(found) or parts[-1].endswith("%"):
        raise SourceError(f"option time_format: {form!r} repeats a part, or ends in the middle of one")
    if not ({"Y", "y"} & set(found) and {"m", "b"} & set(found) and "d" in found):
        raise SourceError(f"option time_format: {form!r} has no full date; it needs year, month and day, such as %Y-%m-%d")
    if ("I" in found) != ("p" in found):
        raise SourceError(f"option time_format: {form!r} has one of %I and %p without the other")
    texts = [re.escape(text) for text in parts[0::2]]
    groups = ["%" if p == "%" else f"(?P<{p}>{_PARTS[p]})" for p in parts[1::2]]
    return "^" + texts[0] + "".join(g + t for g, t in zip(groups, texts[1:], strict=True)) + "$"


def formatted(cells: pa.Array, form: str) -> tuple[Whole, NDArray[np.bool_]]:
    """Read times.

    Args:
        cells: Text, (N,).
        form: As for `strptime`.

    Returns:
        Nanoseconds since 1970, in UTC where the form has %z, else on the local clock, (N,); and whether they are local, (N,).

    Raises:
        Unreadable: Some text is not of the form, or is no date.
        SourceError: The form is wrong.
    """
    found = pc.extract_regex(cells, pattern(form))
    if found.null_count:
        raise Unreadable
    text = {field.name: found.field(place) for place, field in enumerate(found.type)}
    part = {name: _whole(cells) for name, cells in text.items() if name in "YymdHIMS"}
    for name, (least, most) in _RANGES.items():
        if name in part and not ((part[name] >= least) & (part[name] <= most)).all():
            raise Unreadable
    year = part["Y"] if "Y" in part else part["y"] + np.where(part["y"] < 69, 2000, 1900)
    seconds = 86_400 * _days(year, part["m"] if "m" in part else _month(text["b"]), part["d"])
    hour = part.get("H", np.zeros_like(year))
    if "p" in text:
        hour = part["I"] % 12 + 12 * _are(text["p"], "pm")
    seconds += 3_600 * hour + 60 * part.get("M", 0) + part.get("S", 0)
    if "z" in text:
        seconds -= _offset(text["z"])
    fraction = _whole(pc.utf8_rpad(text["f"], 9, "0")) if "f" in text else 0
    if not (np.abs(seconds) < 9_000_000_000).all():
        raise Unreadable
    return seconds * 1_000_000_000 + fraction, np.full(len(cells), "z" not in text)


def _whole(cells: pa.Array) -> Whole:
    values: Whole = pc.cast(cells, pa.int64()).to_numpy()
    return values


def _are(cells: pa.Array, word: str) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(pc.utf8_lower(cells), word).to_numpy(zero_copy_only=False), np.bool_)


def _month(names: pa.Array) -> Whole:
    place = pc.index_in(pc.utf8_lower(names), value_set=pa.array(_MONTHS))
    if place.null_count:
        raise Unreadable
    return 1 + np.asarray(place.to_numpy(), np.int64)


def _days(year: Whole, month: Whole, day: Whole) -> Whole:
    if not ((month >= 1) & (month <= 12)).all():
        raise Unreadable
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first, end = months.astype("datetime64[D]").astype(np.int64), (months + 1).astype("datetime64[D]").astype(np.int64)
    if not ((day >= 1) & (first + day <= end)).all():
        raise Unreadable
    return first + day - 1


def _offset(zones: pa.Array) -> Whole:
    """Seconds east of UTC."""
    zones = pc.replace_substring(pc.if_else(pc.equal(zones, "Z"), "+0000", zones), ":", "")
    hours, minutes = (_whole(pc.utf8_slice_codeunits(zones, *span)) for span in ((1, 3), (3, 5)))
    signs = np.where(pc.starts_with(zones, "-").to_numpy(zero_copy_only=False), -1, 1)
    east: Whole = signs * (3_600 * hours + 60 * minutes)
    return east
