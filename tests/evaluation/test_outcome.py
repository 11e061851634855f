"""Rates and comparisons against published values and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.evaluation.intervals import wilson
from tacit.evaluation.outcome import Comparison, Outcome, compare, rates


def outcome_of(distance: list[list[float]], hard: list[bool] | None = None, digest: str = "a" * 64) -> Outcome:
    return Outcome(
        digest=digest,
        hard=np.array(hard or [False] * len(distance)),
        distance=np.array(distance),
        tolerance=1.0,
        unit="m",
        seconds_per_action=0.0,
    )


def test_success_counts_at_the_end_only() -> None:
    outcome = outcome_of([[5, 3, 1.0], [5, 0.5, 1.1], [5, 3, 3], [5, 0.5, np.nan]])
    assert outcome.distance_end[:3].tolist() == [1.0, 1.1, 3.0]
    assert outcome.success.tolist() == [True, False, False, False]
    assert outcome.reached_ever.tolist() == [True, True, False, True]


def test_a_goal_that_must_be_held_is_held_to_the_end() -> None:
    distance = [[5, 0.5, 0.5, 0.5], [5, 5, 0.5, 0.5], [5, 0.5, 5, 0.5], [0.5, 0.5, 0.5, 5]]
    for hold, expected in ((0, [1, 1, 1, 1]), (1, [1, 1, 1, 0]), (2, [1, 1, 0, 0]), (3, [1, 0, 0, 0])):
        assert replace(outcome_of(distance), hold=hold).success.tolist() == [bool(e) for e in expected], hold


def test_rates_divide_hard_from_easy() -> None:
    outcome = outcome_of([[5, 0.5], [5, 3], [5, 0.5], [5, 0.5], [5, 3]], hard=[True, True, True, False, False])
    found = rates(outcome)
    assert found.hard is not None
    assert found.easy is not None
    assert [(r.successes, r.episodes) for r in (found.overall, found.hard, found.easy)] == [(3, 5), (2, 3), (1, 2)]
    assert found.hard.interval == wilson(2, 3)
    assert found.easy.rate == 0.5
    assert rates(outcome_of([[5, 0.5]])).hard is None


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "low", "high"),
    [(36, 12, 2, 0, 0.0569, 0.3404), (20, 12, 2, 16, 0.0562, 0.3292)],
)
def test_intervals_published_by_newcombe(both: int, first: int, second: int, neither: int, low: float, high: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 2635-2650, table II, method 10."""
    comparison = Comparison(both=both, first_only=first, second_only=second, neither=neither)
    assert comparison.difference == pytest.approx(0.2)
    assert comparison.interval == pytest.approx((low, high), abs=5e-5)


counts = st.integers(0, 200)


@given(both=counts, first=counts, second=counts, neither=st.integers(1, 200))
def test_a_comparison_the_other_way_round_is_its_mirror(both: int, first: int, second: int, neither: int) -> None:
    one = Comparison(both=both, first_only=first, second_only=second, neither=neither)
    other = Comparison(both=both, first_only=second, second_only=first, neither=neither)
    low, high = one.interval
    assert -1 <= low <= one.difference <= high <= 1
    assert (-high, -low) == pytest.approx(other.interval)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_exact_p_values() -> None:
    """Two-sided binomial tails of a fair coin, by hand: 2 · (1 + 8) / 2**8 for 1 of 8."""
    assert Comparison(both=3, first_only=7, second_only=1, neither=4).p_value == pytest.approx(18 / 256)
    assert Comparison(both=3, first_only=5, second_only=0, neither=4).p_value == pytest.approx(2 / 32)
    assert Comparison(both=3, first_only=4, second_only=4, neither=4).p_value == 1.0
    assert Comparison(both=3, first_only=0, second_only=0, neither=4).p_value == 1.0
    assert 0 < Comparison(both=0, first_only=2000, second_only=1000, neither=0).p_value < 1e-70


def test_the_same_scenes_are_compared_one_by_one() -> None:
    first = outcome_of([[0.0], [0.0], [0.0], [9.0], [9.0]])
    second = outcome_of([[0.0], [9.0], [9.0], [0.0], [9.0]])
    assert compare(first, second) == Comparison(both=1, first_only=2, second_only=1, neither=1)


def test_other_scenes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different manifests"):
        compare(outcome_of([[0.0]]), outcome_of([[0.0]], digest="b" * 64))
