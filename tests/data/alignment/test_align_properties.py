"""Alignment for any log: against a slow and obvious version, however it is cut into pieces, and blind to what comes later."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from aligned_takes import Take, align
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.data.episode import Episode
from tacit.data.mapping import Align, Missing, SignalMapping
from tacit.signals import Role

GRID = 1 / 8  # times are multiples of it, so that the slow version has no rounding and ties are frequent
CAUSAL = [Align.HOLD, Align.MEAN, Align.LAST_VALID]


@st.composite
def logs(draw: st.DrawFn, *, bad: bool = True, disorder: bool = False) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times and values of a stream with pauses, and where asked for NaN, and time stamps that repeat, go back or are missing."""
    steps = draw(st.lists(st.sampled_from([1, 2, 3, 4, 8, 8, 8, 12, 40]), min_size=1, max_size=40))
    if disorder:
        steps = [step * draw(st.sampled_from([1, 1, 1, 1, 0, -1])) for step in steps]
    time = (draw(st.integers(0, 16)) + np.cumsum(steps)) * GRID
    values = np.array(draw(st.lists(st.integers(-9, 9), min_size=len(steps), max_size=len(steps))), np.float64)
    if bad:
        values[draw(st.lists(st.integers(0, len(steps) - 1), max_size=3))] = np.nan
    if disorder and draw(st.booleans()):
        time[draw(st.integers(0, len(steps) - 1))] = np.nan
    return time, values


@st.composite
def rules(draw: st.DrawFn, source: str, role: Role, aligns: list[Align]) -> SignalMapping:
    mask = draw(st.booleans()) and role is Role.OBSERVATION
    return SignalMapping(
        source=(source,),
        role=role,
        dtype="float64",
        align=draw(st.sampled_from(aligns)),
        missing=Missing.MASK if mask else Missing.CUT,
        max_age=draw(st.sampled_from([None, 1.0, 2.5, math.inf])),
        delay=draw(st.sampled_from([0.0, 0.25, -1.5])),
    )


def assert_same(found: list[Episode], expected: list[Episode]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.time.tobytes() == theirs.time.tobytes()
        for name, values in theirs.signals.items():
            assert mine.signals[name].tobytes() == values.tobytes(), name


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_pieces_make_no_difference(data: st.DataObject) -> None:
    take = Take(logs={name: data.draw(logs(disorder=True)) for name in "xyu"})
    offset = data.draw(st.sampled_from([0.0, 0.1, 1.7e9 + 0.1]))
    take = Take(logs={name: (time + offset, values * 0.1) for name, (time, values) in take.logs.items()})
    signals = {name: data.draw(rules(name, Role.OBSERVATION, list(Align))) for name in "xy"}
    signals["u"] = data.draw(rules("u", Role.ACTION, list(Align)))
    limits: dict[str, Any] = {"period": data.draw(st.sampled_from([0.3, 1.0])), "max_steps": data.draw(st.sampled_from([3, 1000]))}
    whole, notes = align(take, signals, **limits)
    cuts = [offset + cut * GRID for cut in data.draw(st.lists(st.integers(0, 200), max_size=10))]
    parts, part_notes = align(take, signals, cuts=cuts, **limits)
    assert_same(parts, whole)
    assert part_notes == notes


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_how_much_is_worked_out_together_makes_no_difference(data: st.DataObject) -> None:
    offset = data.draw(st.sampled_from([0.0, 0.1, 1.7e9 + 0.1]))
    logs_ = {name: data.draw(logs(disorder=True)) for name in "xyu"}
    take = Take(logs={name: (time + offset, values) for name, (time, values) in logs_.items()})
    signals = {name: data.draw(rules(name, Role.OBSERVATION, list(Align))) for name in "xy"}
    signals["u"] = data.draw(rules("u", Role.ACTION, list(Align)))
    period = data.draw(st.sampled_from([0.1, 0.25, 1.0]))
    cuts = [offset + cut * GRID for cut in data.draw(st.lists(st.integers(0, 200), max_size=4))]
    usual, notes = align(take, signals, period=period, cuts=cuts)
    with pytest.MonkeyPatch.context() as patch:
        for name, few in (("CANDIDATES", 2), ("FEWEST", 1), ("MOST", 3)):
            patch.setattr(f"tacit.data.alignment.align.{name}", few)
        one_by_one, same_notes = align(take, signals, period=period, cuts=cuts)
    assert_same(one_by_one, usual)
    assert same_notes == notes


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_comes_later_changes_nothing_before(data: st.DataObject) -> None:
    take = Take(logs={name: data.draw(logs()) for name in "xu"})
    signals = {"x": data.draw(rules("x", Role.OBSERVATION, CAUSAL)), "u": data.draw(rules("u", Role.ACTION, CAUSAL))}
    before, _ = align(take, signals, max_steps=5)
    now = data.draw(st.integers(0, 200)) * GRID
    changed = {}
    for name, (time, values) in take.logs.items():
        later = time - float(signals[name].delay) > now
        changed[name] = (time, np.where(later, values + 100, values))
    after, _ = align(Take(logs=changed), signals, max_steps=5)
    differs = False
    for mine, theirs in zip(after, before, strict=True):
        past = int(np.searchsorted(theirs.time, now, side="right"))
        assert mine.signals["x"][:past].tobytes() == theirs.signals["x"][:past].tobytes()
        assert mine.signals["u"][: max(past - 1, 0)].tobytes() == theirs.signals["u"][: max(past - 1, 0)].tobytes()
        differs |= bool((mine.signals["u"] != theirs.signals["u"]).any())
    if len(before) and before[-1].time[-2] > max(now, changed["u"][0].max() - float(signals["u"].delay)):
        assert differs or np.isnan(take.logs["u"][1][changed["u"][0] - float(signals["u"].delay) > now]).all()


@settings(max_examples=40, deadline=None)
@given(x=logs(), u=logs(), age=st.sampled_from([1.0, 2.5, math.inf]), max_steps=st.sampled_from([4, 1000]))
def test_holding_against_the_slow_version(x: Any, u: Any, age: float, max_steps: int) -> None:
    rule = {"dtype": "float64", "max_age": age}
    signals = {
        "x": SignalMapping(source=("x",), role=Role.OBSERVATION, **rule),
        "u": SignalMapping(source=("u",), role=Role.ACTION, **rule),
    }
    found, _ = align(Take(logs={"x": x, "u": u}), signals, max_steps=max_steps)
    expected = slow(x, u, age, max_steps)
    assert [e.time.tolist() for e in found] == [list(time) for time, _, _ in expected]
    for episode, (_, observations, actions) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(episode.signals["x"], observations)
        np.testing.assert_allclose(episode.signals["u"], actions, rtol=1e-12)


def slow(x: Any, u: Any, age: float, max_steps: int) -> list[tuple[list[float], list[float], list[float]]]:
    """Episodes (times, observations, actions) with period 1, one moment after the other, actions as sums over a fine grid."""

    def holding(log: Any, at: float) -> float:
        time, values = log
        earlier = [i for i in range(len(time)) if time[i] <= at]
        return float(values[earlier[-1]]) if earlier and at - time[earlier[-1]] <= age else math.nan

    def commanded(since: float) -> float:
        if math.isnan(holding(u, since)):
            return math.nan
        time, values = u
        fine = [since + (i + 0.5) * GRID for i in range(8)]
        return sum(float(values[max(i for i in range(len(time)) if time[i] <= t)]) for t in fine) / 8

    end = max(x[0][-1], u[0][-1])
    candidates = sorted({*x[0], *u[0]})
    episodes: list[tuple[list[float], list[float], list[float]]] = []
    after = -math.inf
    while True:
        starts = [t for t in [*([after] if after > -math.inf else []), *candidates] if t >= after]
        good = [t for t in starts if not math.isnan(holding(x, t) + holding(u, t))]
        good = [t for t in good if t == after or any(t == s and not math.isnan(v) for log in (x, u) for s, v in zip(*log, strict=True))]
        if not good:
            return [e for e in episodes if e[2]]
        moments, observations, actions = [good[0]], [holding(x, good[0])], list[float]()
        while True:
            now = moments[-1] + 1
            if now > end:
                episodes.append((moments, observations, actions))
                return [e for e in episodes if e[2]]
            action, observation = commanded(moments[-1]), holding(x, now)
            if math.isnan(action + observation):
                episodes.append((moments, observations, actions))
                after = now
                break
            moments, observations, actions = [*moments, now], [*observations, observation], [*actions, action]
            if len(actions) == max_steps:
                episodes.append((moments, observations, actions))
                moments, observations, actions = [now], [observation], []


@settings(max_examples=25, deadline=None)
@given(x=logs(bad=False), align_by=st.sampled_from(list(Align)), age=st.sampled_from([1.0, 2.5]))
def test_no_episode_spans_a_gap(x: Any, align_by: Align, age: float) -> None:
    time = np.arange(-8.0, 260.0) * GRID
    clock = SignalMapping(source=("clock",), role=Role.OBSERVATION, dtype="float64", max_age=math.inf)
    rule = SignalMapping(source=("x",), role=Role.OBSERVATION, dtype="float64", align=align_by, max_age=age)
    episodes, _ = align(Take(logs={"x": x, "clock": (time, time)}), {"x": rule, "clock": clock})
    for episode in episodes:
        np.testing.assert_allclose(np.diff(episode.time), 1.0)
        for moment in episode.time:
            before, after = moment - x[0][x[0] <= moment], x[0][x[0] >= moment] - moment
            assert before.min() <= age
            assert align_by is not Align.LINEAR or after.min() <= age


@settings(max_examples=25, deadline=None)
@given(u=logs(bad=False))
def test_a_linear_command_against_a_fine_sum(u: Any) -> None:
    rule = SignalMapping(source=("u",), role=Role.ACTION, dtype="float64", align="linear", max_age=math.inf)
    clock = SignalMapping(source=("clock",), role=Role.OBSERVATION, dtype="float64", max_age=math.inf)
    episodes, _ = align(Take(logs={"u": u, "clock": (np.arange(260.0) * GRID, np.zeros(260))}), {"u": rule, "clock": clock})
    for episode in episodes:
        fine = episode.time[:-1, None] + (np.arange(8) + 0.5) * GRID
        np.testing.assert_allclose(episode.signals["u"], np.interp(fine, *u).mean(axis=1), atol=1e-12)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 129])
def test_a_mean_depends_on_its_own_samples_alone(count: int) -> None:
    rng = np.random.default_rng(count)
    time = np.arange(1, 20 * count + 1) / count
    x = rng.normal(size=(len(time), 3)) * 10.0 ** rng.integers(-8, 8, size=(len(time), 1))
    rule = SignalMapping(source=("x",), role=Role.OBSERVATION, dtype="float64", align="mean")
    clock = SignalMapping(source=("u",), role=Role.ACTION)
    take = Take(logs={"x": (time, x), "u": (np.arange(1.0, 21.0), np.zeros(20))})
    whole, _ = align(take, {"x": rule, "u": clock})
    parts, _ = align(take, {"x": rule, "u": clock}, cuts=rng.uniform(0, 20, 40))
    assert_same(parts, whole)
    np.testing.assert_allclose(whole[0].signals["x"][3], x[3 * count : 4 * count].mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize("rule", list(Align))
def test_a_moment_waits_for_the_stream_that_is_furthest_behind(rule: Align) -> None:
    time = np.arange(100) / 10
    rng = np.random.default_rng(0)
    take = Take(logs={"x": (time, rng.normal(size=100)), "u": (time, rng.normal(size=100))})
    observed = SignalMapping(source=("x",), role=Role.OBSERVATION, dtype="float64", align=rule, delay=1.55)
    commanded = SignalMapping(source=("u",), role=Role.ACTION, dtype="float64", align=rule, delay=-0.37)
    for signals in ({"x": observed, "u": commanded}, {"x": replace(observed, delay=-0.37), "u": replace(commanded, delay=1.55)}):
        whole, notes = align(take, signals, period=0.1)
        parts, part_notes = align(take, signals, period=0.1, cuts=list(np.arange(0.05, 10, 0.7)))
        assert_same(parts, whole)
        assert part_notes == notes
        assert sum(e.steps for e in whole) > 70
