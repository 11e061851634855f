"""Rates, jerks and combinations hold exactly; what cannot hold gives way in the stated order, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tacit.nn import native
from tacit.planning import ActionLimit, Combination, LinearLimit, PathLimits, Task, TaskError, action_limits
from tacit.signals import Role, Schema, Signal

FLOAT32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def machine(size: int = 2, low: float = -1.0, high: float = 1.0, period: float = 0.1) -> Schema:
    return Schema(signals=(Signal(name="u", role=Role.ACTION, shape=(size,), low=low, high=high),), period=period)


def limits(schema: Schema, linear: Sequence[LinearLimit] = (), **fields: object) -> PathLimits:
    made = action_limits(schema, Task(limits={"u": ActionLimit(**fields)}, linear=tuple(linear)))  # type: ignore[arg-type]
    assert isinstance(made, PathLimits)
    return made


def total(at_most: float, *weights: float) -> LinearLimit:
    return LinearLimit(name="total", weights={"u": weights}, at_most=at_most)


def followed(limits: PathLimits, wishes: Sequence[Sequence[float]] | Tensor, *applied: Sequence[float]) -> NDArray[np.float64]:
    """The path (H, A) of one machine, in float64."""
    last = torch.tensor([applied[-1]])
    before = torch.tensor([applied[0]])
    return limits.project(torch.as_tensor(wishes, dtype=torch.float32)[None, None], last, before)[0, 0].double().numpy()


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a hypothesis test drew."""

    schema: Schema
    task: Task
    wishes: Tensor  # (K, H, A)


@st.composite
def tasks(draw: st.DrawFn) -> Given:
    period = draw(st.sampled_from([0.01, 0.1, 1 / 3, 60.0]))
    scale = 10.0 ** draw(st.integers(-6, 6))
    low, high = -scale * draw(st.floats(0.1, 1)), scale * draw(st.floats(0.1, 1))
    width = high - low
    fields: dict[str, float] = {}
    if draw(st.booleans()):
        fields["rate"] = width * 10 ** draw(st.floats(-3, 0.5)) / period
    if draw(st.booleans()):
        fields["jerk"] = width * 10 ** draw(st.floats(-3.5, 0.5)) / period**2
    if draw(st.booleans()):
        fields["max_norm"] = scale * draw(st.floats(0.2, 2))
    weights = draw(st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda w: max(map(abs, w)) > 0.1))
    linear = [LinearLimit(name="c", weights={"u": weights}, at_most=scale * draw(st.floats(0.01, 0.5)))] if draw(st.booleans()) else []
    if not ({"rate", "jerk"} & set(fields) or linear):
        fields["rate"] = width / period
    wish = st.one_of(st.sampled_from([low, high, 0.0]), st.floats(2 * low, 2 * high), FLOAT32)
    wishes = np.array(draw(st.lists(wish, min_size=3 * 9 * 2, max_size=3 * 9 * 2)), dtype=np.float32)
    return Given(
        schema=machine(3, low, high, period),
        task=Task(limits={"u": ActionLimit(**fields)}, linear=tuple(linear)),
        wishes=torch.tensor(wishes).view(2, 9, 3),
    )


def assert_kept(given: Given, path: NDArray[np.float32]) -> None:
    """Every limit of the task, in float64, as written; `path` (K, 2 + H, A) begins with what was applied."""
    u, period, signal, limit = path.astype(np.float64), given.schema.period, given.schema.actions[0], given.task.limits["u"]
    step, change = np.diff(u, axis=1), u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]
    u, step = u[:, 2:], step[:, 1:]
    assert ((u >= signal.low) & (u <= signal.high)).all()
    if limit.rate is not None:
        assert (abs(step) <= np.float64(limit.rate) * period).all()
        assert (abs(step) / period <= limit.rate).all()
    if limit.jerk is not None:
        assert (abs(change) <= np.float64(limit.jerk) * period**2).all()
        assert (abs(change) / period / period <= limit.jerk).all()
    if limit.max_norm is not None:
        assert (np.linalg.norm(u, axis=-1) <= limit.max_norm).all()
    for combination in given.task.linear:
        assert ((u * np.array(combination.weights["u"])).sum(-1) <= combination.at_most).all()


@given(drawn=tasks())
@settings(max_examples=150, deadline=None)
def test_whatever_is_wished_every_limit_holds_exactly(drawn: Given) -> None:
    limits = action_limits(drawn.schema, drawn.task)
    assert isinstance(limits, PathLimits)
    last = before = limits.project(limits.rest[None, None, None], limits.rest[None])[:, 0, 0]
    for wishes in (drawn.wishes, drawn.wishes.flip(0)):
        path = limits.project(wishes[None], last, before)
        assert path.dtype == torch.float32
        start = torch.stack((before, last), 1).expand(2, -1, -1)
        assert_kept(drawn, torch.cat((start, path[0]), 1).numpy())
        assert torch.equal(limits.project(path, last, before), path), "what is allowed is left alone"
        assert limits.broken(path[:, 0, 0], last, before) == [None]
        assert torch.equal(limits.nearest(path[:, 0, 0], last, before), path[:, 0, 0])
        sent = limits.nearest(wishes[:1, 0], last, before)
        assert_kept(drawn, torch.stack((before, last, sent), 1).numpy())
        before, last = path[:, 1, 5], path[:, 1, 6]  # a restart in the middle of a plan


@pytest.mark.skipif(not native.is_ready(torch.float32), reason="there is no C compiler")
@torch.no_grad()
@given(
    wishes=st.lists(st.one_of(FLOAT32, st.floats(-2, 2)), min_size=2 * 3 * 7 * 2, max_size=2 * 3 * 7 * 2),
    applied=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    rates=st.lists(st.sampled_from([None, 0.3, 2.0, 50.0]), min_size=2, max_size=2).filter(any),
)
def test_rates_alone_are_kept_in_c_to_the_last_bit_as_in_torch(
    wishes: list[float], applied: list[float], rates: list[float | None]
) -> None:
    parts = [Signal(name=f"u{n}", role=Role.ACTION, low=-1.0, high=0.7) for n in range(2)]
    asked = Task(limits={part.name: ActionLimit(rate=rate) for part, rate in zip(parts, rates, strict=True)})
    made = action_limits(Schema(signals=tuple(parts), period=0.1), asked)
    assert isinstance(made, PathLimits)
    candidates, last = torch.tensor(wishes, dtype=torch.float32).view(2, 3, 7, 2), torch.tensor(applied).view(2, 2)
    found = made.project(candidates, last)
    with native.without():
        assert torch.equal(found, made.project(candidates, last))
    assert torch.equal(made.project(candidates[1:], last[1:]), found[1:]), "each machine goes on from what it did"


def test_a_rate_is_a_step_per_period_from_the_last_applied_action() -> None:
    path = followed(limits(machine(), rate=[2.0, 1.0]), [[1.0, 1.0]] * 5, [0.5, -1.0])
    np.testing.assert_allclose(path[:, 0], [0.7, 0.9, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(path[:, 1], [-0.9, -0.8, -0.7, -0.6, -0.5], atol=1e-6)


def test_a_jerk_limit_starts_and_ends_softly_and_reaches_the_edge() -> None:
    """It speeds up, keeps the rate, and brakes in time to rest on the bound that it was told to pass."""
    path = followed(limits(machine(1), rate=2.0, jerk=5.0), [[9.0]] * 25, [-1.0])[:, 0]
    step = np.diff(path, prepend=[-1.0, -1.0])[1:]
    np.testing.assert_allclose(step[:5], [0.05, 0.1, 0.15, 0.2, 0.2], atol=1e-6)
    assert abs(np.diff(step)).max() <= 0.05
    assert step.max() <= 0.2
    assert path[-1] == pytest.approx(1, abs=1e-6)
    assert path.max() <= 1


def test_a_jerk_counts_from_the_last_two_applied_actions() -> None:
    moving = followed(limits(machine(1), jerk=5.0), [[-1.0]] * 9, [0.0], [0.1])[:, 0]
    np.testing.assert_allclose(moving[:4], [0.15, 0.15, 0.1, 0.0], atol=1e-6)
    resting = followed(limits(machine(1), jerk=5.0), [[-1.0]], [0.1])[:, 0]
    assert resting[0] == pytest.approx(0.05, abs=1e-6)


def test_without_a_rate_there_is_no_past() -> None:
    free = limits(machine(), [total(0.5, 1, 1)])
    wishes = torch.rand(2, 3, 4, 2)
    expected = free.project(wishes, torch.zeros(2, 2))
    assert torch.equal(free.project(wishes, torch.ones(2, 2), -torch.ones(2, 2)), expected)
    assert not free.counts_from_applied


def test_what_is_not_finite_becomes_the_previous_action() -> None:
    path = followed(limits(machine(), rate=50.0), [[np.nan, 0.5], [np.inf, -np.inf]], [0.25, -0.125])
    assert path.tolist() == [[0.25, 0.5], [0.25, -0.125]]


def test_a_combination_is_met_by_the_nearest_action() -> None:
    both = limits(machine(), [total(0.5, 1, 1)])
    sent = both.nearest(torch.tensor([[0.9, 0.7]]), torch.zeros(1, 2))[0]
    np.testing.assert_allclose(sent, [0.35, 0.15], atol=1e-5)
    cheap = followed(both, [[0.9, 0.7]], [0.0, 0.0])[0]
    np.testing.assert_allclose(cheap, [0.35, 0.15], atol=1e-3, err_msg="candidates come close to it")


def test_elements_at_a_combination_still_slide_along_it() -> None:
    path = followed(limits(machine(), [total(0.5, 1, 1)], rate=1.0), [[1.0, -1.0]] * 30, [0.25, 0.25])
    np.testing.assert_allclose(path[-1], [1, -1], atol=1e-6)
    path = followed(limits(machine(), [total(0.5, 1, 1)], rate=1.0), [[0.8, 0.8]] * 30, [-0.5, 0.5])
    assert path[-1].sum() == pytest.approx(0.5, abs=1e-4)


def test_with_a_jerk_limit_a_combination_is_never_overrun() -> None:
    """Both valves open at full rate; to close them takes time, which was kept."""
    path = followed(limits(machine(), [total(0.5, 1, 1)], rate=2.0, jerk=2.0), [[1.0, 1.0]] * 60, [-1.0, -1.0])
    assert path.sum(1).max() <= 0.5
    assert path[-1].sum() == pytest.approx(0.5, abs=0.02)


def test_outside_the_range_the_rate_holds_and_the_way_back_is_as_fast_as_it_allows() -> None:
    slow = limits(machine(1), rate=1.0)
    path = followed(slow, [[2.0]] * 6, [1.35])[:, 0]
    np.testing.assert_allclose(path, [1.25, 1.15, 1.05, 1, 1, 1], atol=1e-6)
    before, last = torch.tensor([[1.35]]), torch.tensor([[path[0]]], dtype=torch.float32)
    assert slow.broken(last, before) == ["the applied actions leave no way to keep u inside its range"]
    assert slow.broken(torch.tensor([[1.0]]), torch.tensor([[1.05]])) == [None]


def test_outside_the_range_the_far_side_is_kept() -> None:
    """Back over the whole range at full speed, and no further."""
    path = followed(limits(machine(1), jerk=3.0), [[-9.0]] * 80, [2.0])[:, 0]
    assert path.min() >= -1
    assert path[-1] == pytest.approx(-1, abs=1e-6)


def test_a_jerk_limit_goes_before_a_rate_and_a_rate_before_the_range() -> None:
    gentle = limits(machine(1), rate=1.0, jerk=10.0)
    path = followed(gentle, [[0.0]] * 8, [0.3], [0.8])[:, 0]  # five times as fast as allowed, and near the edge
    step = np.diff(path, prepend=[0.3, 0.8])
    assert abs(np.diff(step)).max() <= 0.1 + 1e-7
    np.testing.assert_allclose(step[1:6], [0.4, 0.3, 0.2, 0.1, 0.0], atol=1e-6)
    first = torch.tensor([[path[0]]], dtype=torch.float32)
    assert gentle.broken(first, torch.tensor([[0.8]]), torch.tensor([[0.3]])) == [
        "the applied actions leave no way to keep u inside its range"
    ]
    fast = limits(machine(1, -100.0, 100.0), rate=1.0, jerk=10.0)
    last, before = torch.tensor([[0.8]]), torch.tensor([[0.3]])
    sent = fast.project(torch.zeros(1, 1, 1, 1), last, before)[:, 0, 0]
    assert fast.broken(sent, last, before) == ["the applied actions changed u faster than its rate allows"]


@pytest.mark.parametrize("fields", [{"rate": 1.0}, {"rate": 1.0, "jerk": 5.0}])
def test_beyond_combinations_what_is_broken_shrinks_until_nothing_is(fields: dict[str, float]) -> None:
    """Three planes and a ball that meet in a corner: to leave one of them alone is not enough."""
    planes = [
        LinearLimit(name="a", weights={"u": (1.0, 0.2)}, at_most=0.1),
        LinearLimit(name="b", weights={"u": (-0.2, 1.0)}, at_most=0.1),
        LinearLimit(name="c", weights={"u": (1.0, 1.0)}, at_most=0.0),
    ]
    tight = limits(machine(), planes, max_norm=0.7, **fields)
    rng = np.random.default_rng(0)
    last = before = torch.tensor(rng.uniform(-1, 1, (40, 2)).astype(np.float32))
    path = tight.project(torch.tensor(rng.uniform(-1, 1, (40, 1, 60, 2))), last, before)[:, 0]
    u = path.double().numpy()
    over = np.maximum.reduce([u @ p.weights["u"] - p.at_most for p in planes] + [np.linalg.norm(u, axis=-1) - 0.7])
    assert (over[:, 0] > 0.05).sum() > 10, "most begin inside: the test shows little"
    assert (over[:, -1] <= 0).all()
    assert tight.broken(path[:, -1], path[:, -2], path[:, -3]) == [None] * 40
    if "jerk" not in fields:
        assert (np.diff(over.clip(0), axis=1) <= 1e-6).all()


def test_a_machine_far_out_comes_back_at_its_rate() -> None:
    """Where float32 is coarser than the grid of the range, its neighbours are taken, and rate and jerk hold all the same."""
    gentle = limits(machine(1), rate=10.0, jerk=20.0)
    path = followed(gentle, [[0.0]] * 300, [100.3])[:, 0]
    u = np.concatenate([[np.float32(100.3)] * 2, path])
    assert abs(np.diff(u)).max() <= 1.0
    assert abs(np.diff(u, 2)).max() <= 20 * 0.1**2
    assert abs(path[-1]) <= 1


def test_applied_actions_between_grid_points_count_as_they_are() -> None:
    """A tiny number is no multiple of a quantum."""
    gentle = limits(machine(1, -1000.0, 1000.0), rate=1.0, jerk=1.0)
    before, last = np.float32(1e-7), np.float32(-3.3e-6)
    for wish in (5.0, -5.0):
        path = followed(gentle, [[wish]] * 3, [before], [last])[:, 0]
        u = np.concatenate([np.float64([before, last]), path])
        assert abs(np.diff(u)).max() <= 0.1
        assert abs(np.diff(u, 2)).max() <= 0.1**2


def test_limits_that_float32_cannot_tell_are_refused() -> None:
    with pytest.raises(TaskError, match=r"limits\.action\.u\.rate: is finer than float32 tells actions of this range apart every 0.1 s"):
        limits(machine(1, 0.0, 1e6), rate=1e-3)
    with pytest.raises(TaskError, match=r"limits\.action\.u\.jerk: is finer .* per second squared"):
        limits(machine(1, 0.0, 1e6), jerk=1.0)
    made = limits(machine(1), rate=1.0)
    with pytest.raises(ValueError, match="the largest step of u is finer"):
        replace(made, step=torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match="rest must be inside"):
        replace(made, rest=torch.full((1,), 2.0))
    with pytest.raises(ValueError, match="1 weights, not all 0"):
        replace(made, combinations=(Combination(name="c", weights=(0.0,), at_most=1.0),))
    with pytest.raises(ValueError, match="one entry for every one of the 2 names"):
        replace(made, names=("a", "b"))


def test_combinations_that_nothing_keeps_are_refused_by_name() -> None:
    with pytest.raises(TaskError, match=r"limits\.linear\.1\.at_most: 'total' cannot be kept: in the ranges .* it is -2 at least"):
        limits(machine(), [total(-2.5, 1, 1)])
    low = LinearLimit(name="low", weights={"u": (-1.0, -1.0)}, at_most=-0.6)
    with pytest.raises(TaskError, match=r"limits\.linear\.2\.at_most: 'low' cannot be kept: no action keeps it, with room"):
        limits(machine(), [total(0.5, 1, 1), low])
    with pytest.raises(TaskError, match="'low' cannot be kept"):
        limits(machine(), [low], max_norm=0.42)
    assert limits(machine(), [low], max_norm=0.44).is_coupled


def test_ranges_of_one_value_and_other_offsets() -> None:
    kept = limits(machine(2, 280.0, 280.0), rate=1.0)
    assert followed(kept, [[0.0, 400.0]], [280.0, 280.0]).tolist() == [[280.0, 280.0]]
    sloped = action_limits(
        Schema(
            signals=(
                Signal(name="valve", role=Role.ACTION, low=0.3, high=0.3),
                Signal(name="heat", role=Role.ACTION, low=280.0, high=370.0),
            )
        ),
        Task(linear=(LinearLimit(name="sum", weights={"valve": 100.0, "heat": 1.0}, at_most=350.0),)),
    )
    action = sloped.project(torch.full((1, 1, 1, 2), 1e6), torch.zeros(1, 2))[0, 0, 0].double()
    assert action[0] == np.float32(0.3) or action[0] == np.nextafter(np.float32(0.3), np.float32(0))
    assert 100 * action[0] + action[1] <= 350
    assert action[1] == pytest.approx(320, abs=0.01)
