"""Projected actions are inside every limit, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tacit.planning import ActionLimit, BoxLimits, NormLimit, Task, TaskError, action_limits
from tacit.signals import Role, Schema, Signal

FLOAT32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def schema(**fields: object) -> Schema:
    return Schema(signals=(Signal(name="push", role=Role.ACTION, shape=(2,), unit="N", **fields),))  # type: ignore[arg-type]


@given(
    actions=st.lists(FLOAT32, min_size=6, max_size=6),
    previous=st.lists(FLOAT32, min_size=3, max_size=3),
    low=st.lists(st.floats(-1e6, 0, width=32), min_size=3, max_size=3),
    high=st.lists(st.floats(0, 1e6, width=32), min_size=3, max_size=3),
    radius=st.floats(1e-30, 1e7),
)
@example(actions=[0.0, 3e-30, 4e-30] * 2, previous=[0.0] * 3, low=[-1.0] * 3, high=[1.0] * 3, radius=1e-30)
@example(actions=[np.nan] * 6, previous=[np.nan, np.inf, -np.inf], low=[-1.0] * 3, high=[1.0] * 3, radius=1.0)
def test_whatever_comes_in_what_goes_out_is_inside(
    actions: list[float], previous: list[float], low: list[float], high: list[float], radius: float
) -> None:
    limits = BoxLimits(low=torch.tensor(low), high=torch.tensor(high), norms=(NormLimit(elements=slice(1, 3), radius=radius),))
    candidates = torch.tensor(actions).reshape(1, 1, 2, 3)
    inside = limits.project(candidates, torch.tensor([previous]))
    assert inside.dtype == torch.float32
    assert (inside >= limits.low).all()
    assert (inside <= limits.high).all()
    assert (np.linalg.norm(inside[..., 1:].double().numpy(), axis=-1) <= radius).all()
    assert torch.equal(limits.project(inside, torch.tensor([previous])), inside), "what is inside is left alone"


@given(angle=st.floats(0, 6.3), excess=st.floats(1.0001, 1e6), radius=st.floats(1e-3, 1e3))
def test_the_ball_keeps_the_direction_and_is_used_up(angle: float, excess: float, radius: float) -> None:
    limits = BoxLimits(low=torch.full((2,), -1e38), high=torch.full((2,), 1e38), norms=(NormLimit(elements=slice(0, 2), radius=radius),))
    direction = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32)
    inside = limits.project((direction * excess * radius)[None, None, None], torch.zeros(1, 2))[0, 0, 0]
    torch.testing.assert_close(inside, direction * radius, rtol=1e-5, atol=1e-6 * radius)


def test_what_is_not_finite_becomes_the_previous_action() -> None:
    limits = BoxLimits(low=-torch.ones(2), high=torch.ones(2))
    candidates = torch.tensor([torch.nan, 0.5, torch.inf, -torch.inf]).reshape(1, 1, 2, 2)
    inside = limits.project(candidates, torch.tensor([[0.25, 7.0]]))
    assert inside.flatten().tolist() == [0.25, 0.5, 0.25, 1.0]


def test_an_action_on_the_ball_is_left_alone() -> None:
    limits = BoxLimits(low=-torch.ones(2), high=torch.ones(2), norms=(NormLimit(elements=slice(0, 2), radius=1.0),))
    edge = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    assert torch.equal(limits.project(edge, torch.zeros(1, 2)), edge)


def test_candidates_are_not_changed_in_place() -> None:
    candidates = torch.full((1, 1, 1, 2), 5.0)
    BoxLimits(low=-torch.ones(2), high=torch.ones(2)).project(candidates, torch.zeros(1, 2))
    assert (candidates == 5).all()


def test_ranges_are_intersected_and_concatenated_in_storage_order() -> None:
    machine = Schema(
        signals=(
            Signal(name="valve", role=Role.ACTION, low=0.0, high=1.0),
            Signal(name="level", role=Role.OBSERVATION),
            Signal(name="push", role=Role.ACTION, shape=(2,), low=-5.0, high=5.0, max_norm=6.0),
        )
    )
    task = Task(limits={"push": ActionLimit(low=[-9.0, -1.0], high=2.0, max_norm=3.0), "valve": ActionLimit(low=0.5)})
    limits = action_limits(machine, task)
    assert limits.low.tolist() == [0.5, -5.0, -1.0]
    assert limits.high.tolist() == [1.0, 2.0, 2.0]
    assert limits.norms == (NormLimit(elements=slice(1, 3), radius=3.0),)
    own = action_limits(machine)
    assert own.high.tolist() == [1.0, 5.0, 5.0]
    assert own.norms[0].radius == 6.0


@given(low=st.floats(-1e3, 1e3), width=st.floats(0, 1e3))
def test_bounds_are_rounded_inwards(low: float, width: float) -> None:
    """An action that float32 holds inside is inside for the one who wrote the limit in decimals."""
    high = low + width
    limits = action_limits(schema(), Task(limits={"push": ActionLimit(low=low, high=high)}))
    inner_low, inner_high = float(limits.low[0]), float(limits.high[0])
    assert inner_low <= inner_high
    if np.nextafter(np.float32(low), np.float32(np.inf)) < high:
        assert low <= inner_low
        assert inner_high <= high
    assert inner_low == pytest.approx(low, rel=1e-6, abs=1e-30)
    assert inner_high == pytest.approx(high, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize(
    ("fields", "missing"), [({}, "low and high"), ({"low": 0.0}, "high"), ({"high": 0.0}, "low"), ({"max_norm": 1.0}, "low and high")]
)
def test_an_unknown_range_is_refused_by_name(fields: dict[str, float], missing: str) -> None:
    with pytest.raises(TaskError, match=rf"'push' has no known range: give {missing} in \[limits.action.push\]"):
        action_limits(schema(**fields))


def test_a_norm_whose_centre_is_outside_the_range_is_refused() -> None:
    with pytest.raises(TaskError, match="max_norm needs a range that contains 0"):
        action_limits(schema(low=1.0, high=2.0, max_norm=3.0))
    with pytest.raises(ValueError, match="contain 0"):
        BoxLimits(low=torch.ones(2), high=2 * torch.ones(2), norms=(NormLimit(elements=slice(0, 2), radius=3.0),))


def test_whole_number_actions_are_refused() -> None:
    with pytest.raises(TaskError, match="floating-point action, but 'push' is int32"):
        action_limits(schema(low=0.0, high=1.0, dtype="int32"))


def test_a_schema_without_actions_is_refused() -> None:
    with pytest.raises(TaskError, match="nothing to plan"):
        action_limits(Schema(signals=(Signal(name="level", role=Role.OBSERVATION),)))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [([0.0], [-1.0], "above high"), ([0.0], [torch.inf], "finite"), ([torch.nan], [1.0], "finite"), ([0.0], [1.0, 1.0], "shape")],
)
def test_impossible_boxes_are_refused(low: list[float], high: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxLimits(low=torch.tensor(low), high=torch.tensor(high))


def test_a_norm_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        BoxLimits(low=-torch.ones(2), high=torch.ones(2), norms=(NormLimit(elements=slice(0, 2), radius=0.0),))
