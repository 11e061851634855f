"""Newton steps: the small problem inside them, and what they need to know."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_plants import READOUTS, Tanks, hold
from linear_worlds import Below, LinearWorld, problem

from tacit.contracts import Stepwise
from tacit.planning import LatentDistance, NewtonConfig, NewtonPlanner, SignalLimit, state_limits
from tacit.planning.newton import least


def smallest(curvature: np.ndarray, gradient: np.ndarray, rows: np.ndarray, bounds: np.ndarray) -> float:
    """By trying every set of conditions that could be active."""
    best, size = np.inf, len(gradient)
    for chosen in product((False, True), repeat=len(bounds)):
        active = np.array(chosen)
        if active.sum() > size:
            continue
        count = int(active.sum())
        system = np.block([[curvature, rows[active].T], [rows[active], np.zeros((count, count))]])
        x = np.linalg.lstsq(system, np.concatenate((-gradient, bounds[active])), rcond=None)[0][:size]
        if (rows @ x >= bounds - 1e-6 * (1 + np.abs(bounds))).all():
            best = min(best, float(x @ curvature @ x / 2 + gradient @ x))
    return best


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_least_point_is_the_one_that_is_found_by_trying_all_active_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, size = rng.normal(size=(3, 3)), 3
    curvature, gradient = root @ root.T + 0.1 * np.eye(size), 3 * rng.normal(size=size)
    rows, bounds = rng.normal(size=(6, size)), rng.normal(size=6) - 0.5
    found, known = least(curvature, gradient, rows, bounds), smallest(curvature, gradient, rows, bounds)
    if found is None:
        assert known == np.inf
    else:
        assert (rows @ found >= bounds - 1e-5).all()
        assert found @ curvature @ found / 2 + gradient @ found == pytest.approx(known, rel=1e-7, abs=1e-5)


def test_conditions_that_exclude_each_other_have_no_least_point() -> None:
    assert least(np.eye(1), np.zeros(1), np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])) is None


def test_numbers_that_are_too_far_apart_have_no_least_point() -> None:
    steep = np.array([1e12, 1.0])
    assert least(np.outer(steep, steep), np.zeros(2), np.eye(2), np.zeros(2)) is None


def test_one_step_solves_a_linear_problem_in_two_rollouts() -> None:
    """Where there are as many blocks as steps."""
    world = LinearWorld()
    cost = LatentDistance(goal=torch.tensor([[0.3, -0.2]]))
    plan = NewtonPlanner(world, NewtonConfig(iterations=1)).plan(problem(torch.zeros(1, 1, 2), cost, bound=10.0))
    torch.testing.assert_close(plan.trajectory[0], torch.tensor([0.3, -0.2]).expand(8, 2), atol=2e-3, rtol=0)
    assert len(world.rolled) == 2


def test_a_limit_is_kept_at_each_step_and_left_alone_where_it_does_not_bind() -> None:
    task = hold(4.0, -4.0, signals={"level_1": SignalLimit(high=2.0)})
    limits = state_limits(task, READOUTS, {})
    assert isinstance(limits[0], Stepwise)
    cost = LatentDistance(goal=torch.tensor([[4.0, -4.0]]))
    asked = problem(torch.zeros(1, 1, 2), cost, bound=10.0, horizon=10, limits=limits)
    plan = NewtonPlanner(Tanks(), NewtonConfig(iterations=2, blocks=10)).plan(asked)
    assert plan.feasible.all()
    torch.testing.assert_close(plan.trajectory[0], torch.tensor([2.0, -4.0]).expand(10, 2), atol=0.02, rtol=0)


@pytest.mark.parametrize(("priority", "level"), [(100.0, 2.0), (2.0, 3.9), (0.0001, 4.0)])
def test_a_soft_limit_gives_way_by_what_it_costs(priority: float, level: float) -> None:
    """Ten steps of squared errors against one shortfall: a slope of 2 × 10 × (4 - level) against the priority."""
    task = hold(4.0, 0.0, signals={"level_1": SignalLimit(high=2.0, hard=False, priority=priority)})
    cost = LatentDistance(goal=torch.tensor([[4.0, 0.0]]))
    asked = problem(torch.zeros(1, 1, 2), cost, bound=10.0, horizon=10, limits=state_limits(task, READOUTS, {}))
    plan = NewtonPlanner(Tanks(), NewtonConfig(iterations=2, blocks=10)).plan(asked)
    torch.testing.assert_close(plan.trajectory[0, :, 0], torch.full((10,), level), atol=0.01, rtol=0)


def test_a_hold_that_breaks_a_limit_is_left_for_an_end_of_the_range() -> None:
    """Where every step ahead breaks it alike, no small move tells the way."""
    cost = LatentDistance(goal=torch.tensor([[1.0, 0.0]]))
    asked = problem(torch.tensor([[[0.15, 0.0]]]), cost, limits=(Below(bound=0.1),))
    plan = NewtonPlanner(LinearWorld(), NewtonConfig()).plan(asked)
    assert plan.feasible.all()


def test_another_cost_is_refused() -> None:
    asked = problem(torch.zeros(1, 1, 2), lambda trajectory, actions: trajectory.sum((-1, -2)))
    with pytest.raises(ValueError, match="needs a cost that is a sum of squares, not function: use another planner"):
        NewtonPlanner(LinearWorld(), NewtonConfig()).plan(asked)


@pytest.mark.parametrize("setting", [{"blocks": 0}, {"probe": 0.0}, {"damping": -1.0}])
def test_settings_out_of_their_domain_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        NewtonConfig(**setting)  # type: ignore[arg-type]
