"""Cells as numbers, each alike whatever stands beside it."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.data.formats.table_cells import good, numbers
from tacit.data.formats.table_options import TableOptions

NAN, INF = math.nan, math.inf
OPTIONS = TableOptions(booleans={"ON": 1.0, "valve2": 2.0})
POINT = {"1": 1.0, "-2.5": -2.5, "+3": 3.0, ".5": 0.5, "4.": 4.0, "1e3": 1e3, " 7 ": 7.0, "1E-2": 0.01, "1e999": INF}
COMMA = {text.replace(".", ","): value for text, value in POINT.items()}
WORDS = {"on": 1.0, "valve2": 2.0, "Bad": NAN, "nan": NAN, "-NaN": NAN, "inf": INF, "-Infinity": -INF, "N/A": NAN}
NOTHING = ("", "  ")
WRONG = {".": ("1,5", ".", "1.2.3", "0x1f", "OFF", "1e", "5\0", "ä", "1_0"), ",": ("1.5", "1.234,5", ",", "1,2,3", "OFF", "x1", "5\0")}


@pytest.mark.parametrize(("decimal", "plain"), [(".", POINT), (",", COMMA)])
@given(data=st.data())
def test_a_cell_means_the_same_whatever_stands_beside_it(decimal: str, plain: dict[str, float], data: st.DataObject) -> None:
    known = {**plain, **WORDS, **dict.fromkeys((*NOTHING, *WRONG[decimal]), NAN)}
    texts = data.draw(st.lists(st.sampled_from(list(known)), max_size=8))
    first = data.draw(st.integers(0, len(texts)))
    read = numbers(pa.array(texts, pa.string()).slice(first), OPTIONS, decimal)
    np.testing.assert_array_equal(read.values, [known[text] for text in texts[first:]])
    np.testing.assert_array_equal(read.present, [text not in NOTHING for text in texts[first:]])
    np.testing.assert_array_equal(read.wrong, [text in WRONG[decimal] for text in texts[first:]])


def test_an_empty_entry_of_arrow_is_an_empty_cell() -> None:
    read = numbers(pa.array(["1", None, "Bad"]), OPTIONS, ".")
    np.testing.assert_array_equal(read.values, [1.0, NAN, NAN])
    assert read.present.tolist() == [True, False, True]
    assert not read.wrong.any()


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())])
def test_flags_are_good_in_any_case_and_with_blanks_around_them(kind: pa.DataType) -> None:
    flags = pa.array(["Good", " GOOD ", "Bad", "", None, "192", "Good"], pa.string()).cast(kind)
    assert good(flags, OPTIONS).tolist() == [True, True, False, False, False, True, True]
    assert good(pa.array([192, 0, None, 192]), OPTIONS).tolist() == [True, False, False, True]
    assert good(pa.array([], pa.string()), OPTIONS).tolist() == []
