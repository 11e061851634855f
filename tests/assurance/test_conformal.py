"""Split conformal calibration over episodes: the quantile, the score of an episode, the rounds, the online level, and what coverage is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tacit.assurance import AdaptiveLevel, CalibrationError, Interval, MarginWatch, conformal_quantile, least_episodes, settle
from tacit.evaluation.intervals import wilson


def interval(**fields: object) -> Interval:
    given = {"scale": (1.0, 2.0, 4.0), "factor": 0.5, "reach": 10.0, "applied": 2} | fields
    return Interval(**given)  # type: ignore[arg-type]


def test_the_quantile_counts_the_next_episode_with_the_others() -> None:
    scores = np.arange(1.0, 100.0)  # 99 of them
    assert conformal_quantile(scores, 0.99) == 99
    assert conformal_quantile(scores, 0.9) == 90
    assert conformal_quantile(scores[:98], 0.99) == math.inf
    assert conformal_quantile(scores, 0.0) == -math.inf
    with pytest.raises(CalibrationError, match="not a number"):
        conformal_quantile([1.0, math.nan], 0.5)


@given(st.floats(0.01, 0.999))
def test_the_least_number_of_episodes_gives_a_finite_quantile(confidence: float) -> None:
    n = least_episodes(confidence)
    assert math.isfinite(conformal_quantile(np.zeros(n), confidence))
    assert n == 1 or conformal_quantile(np.zeros(n - 1), confidence) == math.inf


def test_the_tightening_is_held_from_the_last_applied_action_on() -> None:
    assert interval().tightening == (0.5, 1.0, 1.0)
    assert Interval.from_json(json.loads(json.dumps(interval(scores=(0.1, math.inf)).to_json()))) == interval(scores=(0.1, math.inf))
    for fields, message in (
        ({"factor": math.inf}, "factor"),
        ({"scale": (1.0, 0.0, 1.0)}, "positive number"),
        ({"applied": 4}, "do not fit"),
        ({"factor": 5.1}, "beyond the reach"),
    ):
        with pytest.raises(CalibrationError, match=message):
            interval(**fields)
    with pytest.raises(CalibrationError, match="not an interval"):
        Interval.from_json({"factor": 1.0})


def test_a_score_is_the_worst_flattery_of_an_episode_over_its_scale() -> None:
    watch = MarginWatch(interval())
    watch.found([5.0, 5.0, 5.0, -1.0])
    watch.decided([[4.0, 3.0, -99.0]] * 3 + [[90.0, 2.0, 0.0]], [True, True, False, True])
    watch.found([3.0, 6.0, 1.0, 12.0])  # flattered by 1 over 1; by less than nothing; not led; out of reach both
    watch.decided(None, [True, True, False, True])
    watch.found([2.5, -1.0, 0.5, 1.0])  # 0.5 over 2; 4 over 2; still not led and not broken; 1 over 2
    np.testing.assert_allclose(watch.scores, [1.0, 2.0, 0.0, 0.5])
    watch.decided([[1.0, 1.0, 1.0]] * 4, [True, True, False, True])
    watch.found([math.nan, 1.0, -0.1, 1.0])
    np.testing.assert_allclose(watch.scores, [math.inf, 2.0, math.inf, 0.5])


def test_what_stays_broken_after_a_plan_led_there_is_not_counted_again() -> None:
    watch = MarginWatch(interval())
    watch.found([1.0])
    watch.decided([[1.0, 1.0, 1.0]], [True])
    watch.found([-1.0])
    watch.decided([[-1.0, 1.0, 1.0]], [False])
    watch.found([-1.0])
    assert watch.scores.tolist() == [2.0]


def test_a_factor_is_settled_only_by_episodes_that_were_recorded_with_it() -> None:
    """A planner whose errors grow with what is taken off, up to a point: each round asks for a bit more, until one does not."""
    used: list[float] = []

    def record(intervals: Mapping[str, Interval]) -> dict[str, NDArray[np.float64]]:
        used.append(intervals["wall"].factor)
        return {"wall": np.linspace(0, 1, 99) + min(used[-1], 1.5) / 2}

    found = settle(record, {"wall": interval()}, {"wall": 0.99})["wall"]
    assert used == sorted(used)
    assert found.factor == used[-1]
    assert found.rounds == len(used) > 2
    assert found.holds(0.99)
    assert len(found.scores) == 99
    with pytest.raises(CalibrationError, match=r"98 episodes give no interval at confidence 0\.99: record at least 99"):
        settle(lambda _: {"wall": np.zeros(98)}, {"wall": interval()}, {"wall": 0.99})
    with pytest.raises(CalibrationError, match="no tightening helps"):
        settle(lambda _: {"wall": np.full(99, math.inf)}, {"wall": interval()}, {"wall": 0.99})
    with pytest.raises(CalibrationError, match="after 3 rounds"):
        settle(lambda i: {"wall": np.full(99, i["wall"].factor + 0.1)}, {"wall": interval()}, {"wall": 0.99}, rounds=3)


def test_the_level_follows_a_world_that_changes() -> None:
    """Scores twice as large as those that were recorded: without the update a third of the episodes would be outside for ever."""
    rng = np.random.default_rng(0)
    level = AdaptiveLevel(scores=rng.exponential(size=500), confidence=0.9, rate=0.02)
    assert level.factor == conformal_quantile(level.scores, 0.9)
    fixed, outside, first = level.factor, 0, 0.1
    changed = 2 * rng.exponential(size=3000)
    for score in changed:
        outside += score > level.factor
        level = level.after(score)
    assert (changed > fixed).mean() > 0.25
    assert abs(outside / 3000 - 0.1) <= (max(first, 1 - first) + 0.02) / (0.02 * 3000)  # Proposition 4.1
    assert AdaptiveLevel(scores=[1.0], confidence=0.9, level=-0.01).factor == math.inf
    assert AdaptiveLevel(scores=[1.0], confidence=0.9, level=1.2).factor == 0.0


def chosen(rng: np.random.Generator, episodes: int, factor: float, candidates: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and broken limits of a planner that goes as near to a wall as the candidates' predicted margins let it.

    Ten plans an episode; real margins of candidates are uniform, predictions of them are off by Gaussian noise of spread 1, and of those
    that keep the tightened limit the plan is the one that is nearest to the wall in reality: the most flattered are preferred.
    """
    real = rng.uniform(-4, 10, (episodes, 10, candidates))
    predicted = real + rng.normal(size=real.shape)
    cost = np.where(predicted >= factor, real, np.inf)
    pick = cost.argmin(-1)[..., None]
    margin, expected = np.take_along_axis(real, pick, -1)[..., 0], np.take_along_axis(predicted, pick, -1)[..., 0]
    acts = np.isfinite(np.take_along_axis(cost, pick, -1))[..., 0]
    flattery = np.where(acts, expected - margin, 0.0)
    return flattery.max(1).clip(0), ((margin < 0) & acts).any(1)


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [20, 200])
def test_episodes_that_break_a_limit_are_as_rare_as_promised_in_spite_of_selection(candidates: int) -> None:
    rng, confidence, broken, repeats = np.random.default_rng(candidates), 0.95, 0, 60
    naive = conformal_quantile(rng.normal(size=100_000), confidence)  # of candidates that nobody chose
    for _ in range(repeats):

        def record(intervals: Mapping[str, Interval]) -> dict[str, NDArray[np.float64]]:
            return {"wall": chosen(rng, 100, intervals["wall"].factor, candidates)[0]}

        start = interval(scale=(1.0,), applied=1, factor=0.0)
        settled = settle(record, {"wall": start}, {"wall": confidence}, rounds=20)["wall"]
        broken += int(chosen(rng, 100, settled.factor, candidates)[1].sum())
    assert wilson(broken, 100 * repeats)[0] <= 1 - confidence
    assert chosen(rng, 1000, naive, candidates)[1].mean() > 3 * (1 - confidence), "the interval of single candidates is far too narrow"
    assert chosen(rng, 1000, 0.0, candidates)[1].mean() > 0.9
