"""Wilson's interval against published values and its defining equation."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.evaluation.intervals import mean_interval, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_values_published_by_newcombe(successes: int, n: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), confidence=st.floats(0.01, 0.999))
def test_bounds_solve_the_score_equation(n: int, share: float, confidence: float) -> None:
    """Each bound p is where the observed rate lies exactly z standard errors, taken at p, away."""
    successes = round(share * n)
    low, high = wilson(successes, n, confidence)
    rate, z = successes / n, NormalDist().inv_cdf(0.5 + confidence / 2)
    assert 0 <= low <= rate <= high <= 1
    for bound in (low, high):
        assert abs(rate - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / n), abs=1e-7)


@given(n=st.integers(1, 1000), share=st.floats(0, 1))
def test_successes_and_failures_mirror(n: int, share: float) -> None:
    successes = round(share * n)
    low, high = wilson(successes, n)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "n", "confidence"), [(0, 0, 0.95), (-1, 4, 0.95), (5, 4, 0.95), (1, 4, 0.0), (1, 4, 1.0)])
def test_impossible_counts_are_refused(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="wilson"):
        wilson(successes, n, confidence)


def test_a_mean_has_students_interval() -> None:
    found = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2.5
    assert found.high - found.mean == pytest.approx(3.1824 * 1.29099 / 2, rel=1e-4)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert mean_interval([3.0]).high == math.inf
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
