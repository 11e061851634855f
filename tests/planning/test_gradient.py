"""What is special to planning by gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_worlds import Altered, Below, LinearWorld, problem
from torch import Tensor

from tacit.planning import BoxLimits, FirstArrival, GradientConfig, GradientPlanner, LatentDistance, NormLimit, TerminalLatentDistance

START = torch.zeros(1, 1, 2)
GOAL = LatentDistance(goal=torch.tensor([[0.5, -0.5]]))


def test_first_steps_are_of_the_learning_rate_down_the_slope() -> None:
    """The goal is to the right and below: the first step of Adam has the same size for every element."""
    world = LinearWorld()
    config = GradientConfig(candidates=1, iterations=2, learning_rate=0.1)
    GradientPlanner(world, config).plan(problem(START, TerminalLatentDistance(goal=torch.tensor([[2.0, -0.1]])), bound=10.0, horizon=3))
    torch.testing.assert_close(world.rolled[1][0, 0], torch.tensor([1.0, -1.0]).expand(3, 2))


def test_later_steps_decay() -> None:
    world = LinearWorld()
    config = GradientConfig(candidates=1, iterations=5, learning_rate=0.01, decay=0.5)
    far = TerminalLatentDistance(goal=torch.tensor([[1e4, 1e4]]))
    GradientPlanner(world, config).plan(problem(START, far, bound=100.0, horizon=2))
    taken = torch.cat([rolled[0, :, 0, 0] for rolled in world.rolled]).diff()
    torch.testing.assert_close(taken, torch.tensor([1.0, 0.5, 0.25, 0.125]), rtol=1e-3, atol=0)


def test_the_model_collects_no_gradients() -> None:
    effect = (0.1 * torch.eye(2)).requires_grad_()
    goal = torch.tensor([[0.5, -0.5]], requires_grad=True)
    history = START.clone().requires_grad_()
    plan = GradientPlanner(LinearWorld(effect=effect), GradientConfig()).plan(problem(history, LatentDistance(goal=goal)))
    assert effect.grad is None
    assert goal.grad is None
    assert history.grad is None
    assert not any(value.requires_grad for value in (plan.actions, plan.trajectory, plan.cost, plan.margins))


def test_gradients_are_enabled_inside_only() -> None:
    """A controller plans without gradients; the search needs them all the same, and leaves the switch as it was."""
    asked = problem(START, GOAL)
    seen: list[bool] = []

    def change(trajectory: Tensor, actions: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return trajectory

    config = GradientConfig(candidates=1, iterations=3, learning_rate=0.3)
    with torch.no_grad():
        plan = GradientPlanner(Altered(change=change), config).plan(asked)
        assert not torch.is_grad_enabled()
    assert seen == [True, True, False], "the last rollout leads to no further step"
    assert plan.cost < GOAL(LinearWorld().rollout(START, torch.zeros(1, 1, 8, 2)), torch.zeros(1, 1, 8, 2))
    GradientPlanner(LinearWorld(), config).plan(asked)
    assert torch.is_grad_enabled()


def test_each_guess_goes_down_its_own_valley() -> None:
    """Two goals: a mean of all guesses would end between them."""

    def nearest(trajectory: Tensor, actions: Tensor) -> Tensor:
        return (trajectory[..., -1, 0].abs() - 0.4).square()

    world = LinearWorld()
    GradientPlanner(world, GradientConfig(candidates=64, iterations=20)).plan(problem(START, nearest))
    ends = world.rolled[-1][0, :, :, 0].sum(1) * 0.1
    assert (ends > 0.35).any()
    assert (ends < -0.35).any()
    assert ((ends.abs() - 0.4).abs() < 0.05).float().mean() > 0.9


def test_a_proposal_is_improved_upon() -> None:
    near = torch.full((1, 1, 8, 2), 0.1)
    world = LinearWorld()
    config = GradientConfig(candidates=2, iterations=2, learning_rate=0.05)
    GradientPlanner(world, config).plan(replace(problem(START, TerminalLatentDistance(goal=GOAL.goal)), proposals=near))
    torch.testing.assert_close(world.rolled[0][0, 1], near[0, 0])
    torch.testing.assert_close(world.rolled[1][0, 1], torch.tensor([0.15, 0.05]).expand(8, 2))


def test_what_breaks_a_hard_limit_goes_back_inside_first() -> None:
    """From a start beyond the ceiling the cost pulls up and the limit down."""
    world = LinearWorld()
    start = torch.tensor([[[0.5, 0.0]]])
    up = LatentDistance(goal=torch.tensor([[5.0, 0.0]]))
    config = GradientConfig(candidates=1, iterations=2)
    GradientPlanner(world, config).plan(problem(start, up, limits=(Below(bound=0.0),)))
    assert (world.rolled[1][0, 0, 0, 0] - world.rolled[0][0, 0, 0, 0]) < -0.1
    GradientPlanner(world, config).plan(problem(start, up, limits=(Below(bound=9.0),)))
    assert (world.rolled[3][0, 0, 0, 0] - world.rolled[2][0, 0, 0, 0]) > 0.1


def test_a_slope_that_is_not_finite_is_none() -> None:
    """The square root has no slope at 0, where the first guess is."""

    def root(trajectory: Tensor, actions: Tensor) -> Tensor:
        return actions[..., 0].square().sum(-1).sqrt() + (actions[..., 1] - 0.5).square().sum(-1)

    world = LinearWorld()
    plan = GradientPlanner(world, GradientConfig(candidates=1, iterations=20)).plan(problem(START, root))
    assert all(rolled.isfinite().all() for rolled in world.rolled)
    assert plan.feasible.all()
    assert plan.cost < 0.1
    assert (plan.actions[..., 0] == 0).all()


def test_a_cost_without_a_slope_is_searched_by_its_guesses() -> None:
    def steps(trajectory: Tensor, actions: Tensor) -> Tensor:
        return (actions.detach() * 4).round().square().sum((-1, -2))

    world = LinearWorld()
    plan = GradientPlanner(world, GradientConfig(candidates=200, iterations=3)).plan(problem(START, steps, horizon=1), torch.ones(1, 1, 2))
    assert torch.equal(world.rolled[0], world.rolled[2])
    assert plan.cost <= 4


def test_descends_inside_norm_limits_and_on_first_arrival() -> None:
    """Both are written in place, which a gradient must not notice."""
    limits = BoxLimits(low=-torch.ones(2), high=torch.ones(2), norms=(NormLimit(elements=slice(0, 2), radius=0.5),))

    def distance(latent: Tensor, goal: Tensor) -> Tensor:
        return ((latent - goal).square().sum(-1) + 1e-6).sqrt() * 10

    for near in (0.0, 100.0):
        cost = FirstArrival(distance=distance, goal=torch.tensor([[0.2, -0.2]]), near=near)
        asked = replace(problem(START, cost), action_limits=limits)
        world = LinearWorld()
        plan = GradientPlanner(world, GradientConfig(candidates=4, iterations=30, initial_std=0.05)).plan(asked)
        first = cost(world.rollout(START, world.rolled[0]), world.rolled[0]).amin()
        assert plan.cost < 0.6 * first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("candidates", 0),
        ("iterations", 0),
        ("initial_std", 0.0),
        ("noise_correlation", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("decay", 0.0),
        ("decay", 1.1),
        ("soft_weight", -1.0),
    ],
)
def test_settings_out_of_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        GradientConfig(**{field: value})  # type: ignore[arg-type]
