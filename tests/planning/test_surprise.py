"""How surprising an error is among others."""

from __future__ import annotations

import math

import pytest

from tacit.planning.surprise import Surprise


@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (2.0, 0.75), (2.5, 0.5), (9.0, 0.25)])
def test_a_p_value_is_the_share_of_errors_that_are_at_least_as_large(error: float, expected: float) -> None:
    assert Surprise([3.0, 1.0, 2.0]).p_value(error) == expected


def test_nothing_is_said_of_what_is_unknown() -> None:
    assert Surprise(None).p_value(1.0) is None
    assert Surprise([1.0]).p_value(math.nan) is None
    for nothing in ([], [1.0, math.inf]):
        with pytest.raises(ValueError, match="at least one error, and finite ones only"):
            Surprise(nothing)
