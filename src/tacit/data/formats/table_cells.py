"""Cells of a table as numbers and as good or bad."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.data.formats.table_options import TableOptions

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ENDS = np.isin(np.arange(256), list(b"0123456789.,"))  # which bytes a number may end with
_POINTS = np.frombuffer(bytes.maketrans(b",.", b".x"), np.uint8)
_INFINITIES = {sign + word: float(sign + word) for sign in ("", "+", "-") for word in ("inf", "infinity")}
_NANS = ("nan", "+nan", "-nan", "null", "none", "na", "n/a", "#n/a", "#nan", "<na>")


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """A column of cells.

    Attributes:
        values: float64 (N,); NaN where there is no number.
        present: False where the cell is empty, bool (N,).
        wrong: True where the cell is neither a number nor one of the known words, bool (N,).
    """

    values: NDArray[np.float64]
    present: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def plain(cells: pa.Array) -> pa.Array:
    """The cells as Arrow's own types: text as `string`, and no dictionaries."""
    if pa.types.is_dictionary(cells.type):
        cells = pc.cast(cells, cells.type.value_type)
    if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
        cells = pc.cast(cells, pa.string())
    return cells


def texts(cells: pa.Array) -> pa.Array:
    """The cells as text without blanks around it; "" where there is none."""
    cells = plain(cells)
    if not pa.types.is_string(cells.type):
        cells = pc.cast(cells, pa.string())
    return pc.utf8_trim_whitespace(pc.fill_null(cells, ""))


def numpy_bool(mask: pa.Array) -> NDArray[np.bool_]:
    """An Arrow mask without nulls as numpy has it."""
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)


def numbers(cells: pa.Array, options: TableOptions, decimal: str) -> Numbers:
    """Read cells as numbers.

    Args:
        cells: Text, or numbers of any type, (N,).
        options: For `nulls` and `booleans`.
        decimal: Decimal sign of text.
    """
    cells = plain(cells)
    if not pa.types.is_string(cells.type):
        present = numpy_bool(pc.is_valid(cells))
        if pa.types.is_boolean(cells.type):
            cells = pc.cast(cells, pa.uint8())
        values = pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Numbers(values=values, present=present, wrong=np.zeros(len(values), np.bool_))
    if cells.null_count:
        cells = pc.fill_null(cells, "")
    offsets, data = _bytes(cells)
    present = np.diff(offsets) > 0
    likely = present.copy()  # to be nothing but a number, and then there is no need to look closer
    likely[present] = _ENDS[data[offsets[1:][present] - 1]]
    digits = cells if decimal == "." else _with_points(cells)
    values = np.full(len(cells), np.nan)
    try:
        values[likely] = pc.cast(digits if likely.all() else digits.filter(pa.array(likely)), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        likely[:] = False
    wrong = np.zeros(len(cells), np.bool_)
    if (rest := present & ~likely).any():
        spelled = _spelled(cells.filter(pa.array(rest)), options, decimal)
        values[rest], present[rest], wrong[rest] = spelled.values, spelled.present, spelled.wrong
    return Numbers(values=values, present=present, wrong=wrong)


def _with_points(cells: pa.Array) -> pa.Array:
    """Text with a point for each comma, and for each point a letter that is in no number: 1.234 may be a thousand or one."""
    offsets, data = _bytes(cells)
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(offsets), pa.py_buffer(_POINTS[data]))


def _bytes(cells: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each text begins and the last one ends, (N + 1,), and the bytes of all."""
    _, places, data = cells.buffers()
    offsets = np.frombuffer(places or b"", np.int32)[cells.offset : cells.offset + len(cells) + 1]
    return offsets, np.frombuffer(data or b"", np.uint8)


def _spelled(cells: pa.Array, options: TableOptions, decimal: str) -> Numbers:
    """Cells of any kind as numbers: with blanks around them, words, and what is neither."""
    text = texts(cells)
    present = numpy_bool(pc.not_equal(text, ""))
    digits = text if decimal == "." else pc.replace_substring(text, ",", ".")
    is_number = pc.match_substring_regex(digits, _NUMBER)
    if decimal == ",":  # 1.234 may be a thousand or one
        is_number = pc.and_(is_number, pc.invert(pc.match_substring(text, ".")))
    known = _INFINITIES | dict.fromkeys((*_NANS, *options.nulls), math.nan)
    words = {word.strip().lower(): number for word, number in (known | dict(options.booleans)).items()}
    place = pc.fill_null(pc.index_in(pc.utf8_lower(text), value_set=pa.array(list(words), pa.string())), -1).to_numpy()
    values = np.append(np.array(list(words.values())), np.nan)[place]
    numeric = numpy_bool(is_number)
    values[numeric] = pc.cast(digits.filter(is_number), pa.float64()).to_numpy()
    return Numbers(values=values, present=present, wrong=present & ~numeric & (place < 0))


def good(flags: pa.Array, options: TableOptions) -> NDArray[np.bool_]:
    """Which quality flags say good, bool (N,)."""
    coded = plain(flags).dictionary_encode(null_encoding="encode")  # there are few different ones
    known = pa.array([word.strip().lower() for word in options.good], pa.string())
    is_good = pc.is_in(pc.utf8_lower(texts(coded.dictionary)), value_set=known)
    return numpy_bool(is_good.take(coded.indices))
