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
_NANS = ("nan", "null", "none", "na", "n/a", "#n/a", "#nan", "<na>")


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
    if decimal == "." and (quick := _all_numbers(cells)) is not None:
        return quick
    text = texts(cells)
    present = numpy_bool(pc.not_equal(text, ""))
    digits = text if decimal == "." else pc.replace_substring(text, ",", ".")
    is_number = pc.match_substring_regex(digits, _NUMBER)
    if decimal == ",":  # 1.234 may be a thousand or one
        is_number = pc.and_(is_number, pc.invert(pc.match_substring(text, ".")))
    known = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf} | dict.fromkeys((*_NANS, *options.nulls), math.nan)
    words = {word.strip().lower(): number for word, number in (known | dict(options.booleans)).items()}
    place = pc.fill_null(pc.index_in(pc.utf8_lower(text), value_set=pa.array(list(words), pa.string())), -1).to_numpy()
    values = np.append(np.array(list(words.values())), np.nan)[place]
    numeric = numpy_bool(is_number)
    values[numeric] = pc.cast(digits.filter(is_number), pa.float64()).to_numpy()
    return Numbers(values=values, present=present, wrong=present & ~numeric & (place < 0))


def _all_numbers(cells: pa.Array) -> Numbers | None:
    """The common case, in one pass: nothing but numbers and empty cells; None when there is anything else."""
    filled = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
    try:
        values = pc.cast(filled, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    return Numbers(values=values, present=numpy_bool(pc.is_valid(filled)), wrong=np.zeros(len(values), np.bool_))


def good(flags: pa.Array, options: TableOptions) -> NDArray[np.bool_]:
    """Which quality flags say good, bool (N,)."""
    known = pa.array([word.strip().lower() for word in options.good], pa.string())
    return numpy_bool(pc.is_in(pc.utf8_lower(texts(flags)), value_set=known))
