"""What every planner promises."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from linear_worlds import Altered, Below, LinearWorld, problem
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from tacit.contracts import Planner, Problem
from tacit.planning import (
    ActionEffort,
    ActionLimit,
    BoxLimits,
    LatentDistance,
    LinearLimit,
    NormLimit,
    Task,
    WeightedSum,
    action_limits,
    search,
)

MakePlanner = Callable[..., Planner]
HORIZON = 8


def double_integrator() -> LinearWorld:
    """Position and speed in two dimensions, pushed by an acceleration."""
    dynamics, effect = torch.eye(4), torch.zeros(4, 2)
    dynamics[0, 2] = dynamics[1, 3] = 0.3
    effect[:2], effect[2:] = 0.045 * torch.eye(2), 0.3 * torch.eye(2)
    return LinearWorld(dynamics=dynamics, effect=effect)


def quadratic(batch: int) -> WeightedSum:
    return WeightedSum(terms=((1.0, LatentDistance(goal=torch.zeros(batch, 4))), (0.1, ActionEffort(scale=torch.ones(2)))))


def starts(batch: int) -> Tensor:
    return torch.randn(batch, 1, 4, generator=torch.Generator().manual_seed(7))


def least_squares(world: LinearWorld, start: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix M and vector y with cost(a) = ||M a + y||² for the flattened actions (H·A)."""
    size = HORIZON * 2
    impulses = torch.eye(size).reshape(1, size, HORIZON, 2)
    free = world.rollout(start[None], torch.zeros(1, 1, HORIZON, 2)).flatten()
    response = world.rollout(torch.zeros(1, 1, 4), impulses)[0].reshape(size, -1).T
    return torch.cat([response, 0.1**0.5 * torch.eye(size)]), torch.cat([free, torch.zeros(size)])


def lowest_cost(world: LinearWorld, start: Tensor, bound: float) -> float:
    """Cost of the best actions within +-bound, by projected gradient steps until nothing moves."""
    matrix, offset = (x.double() for x in least_squares(world, start))
    rate = 1 / torch.linalg.matrix_norm(matrix, 2) ** 2
    actions = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for _ in range(5000):
        actions = (actions - rate * (matrix.T @ (matrix @ actions + offset))).clamp(-bound, bound)
    return float((matrix @ actions + offset).square().sum())


def test_reaches_the_linear_quadratic_optimum(make_planner: MakePlanner) -> None:
    world, history = double_integrator(), starts(6)
    plan = make_planner(world, effort=25, candidates=512).plan(problem(history, quadratic(6), bound=10.0, horizon=HORIZON))
    for cost, start in zip(plan.cost, history, strict=True):
        matrix, offset = least_squares(world, start)
        best = (matrix @ torch.linalg.lstsq(matrix, -offset).solution + offset).square().sum()
        assert best * 0.9999 <= cost <= best * 1.03


def test_reaches_the_optimum_on_the_box(make_planner: MakePlanner) -> None:
    world, history, bound = double_integrator(), starts(6), 0.5
    plan = make_planner(world, effort=25, candidates=512).plan(problem(history, quadratic(6), bound=bound, horizon=HORIZON))
    assert (plan.actions.abs() == bound).float().mean() > 0.1, "no bound is active: the test shows nothing"
    for cost, start in zip(plan.cost, history, strict=True):
        best = lowest_cost(world, start, bound)
        assert best * 0.9999 <= cost <= best * 1.03


def test_returns_what_it_scored(make_planner: MakePlanner) -> None:
    world, history, ceiling = double_integrator(), starts(3), Below(bound=5.0)
    asked = problem(history, quadratic(3), bound=0.3, horizon=HORIZON, limits=(ceiling,))
    plan = make_planner(world).plan(asked)
    trajectory = world.rollout(history, plan.actions[:, None])
    torch.testing.assert_close(plan.trajectory, trajectory[:, 0])
    torch.testing.assert_close(plan.cost, quadratic(3)(trajectory, plan.actions[:, None])[:, 0])
    torch.testing.assert_close(plan.margins, ceiling(trajectory, plan.actions[:, None]))
    assert plan.actions.shape == (3, HORIZON, 2)
    assert plan.feasible.tolist() == [True] * 3


def test_returns_the_best_it_ever_tried(make_planner: MakePlanner) -> None:
    """Of all iterations; a cheaper one that breaks a hard limit does not count."""
    for ceiling in (Below(bound=100.0), Below(bound=1.2), Below(bound=-100.0)):
        world, history = double_integrator(), starts(4)
        plan = make_planner(world, effort=12).plan(problem(history, quadratic(4), horizon=HORIZON, limits=(ceiling,)))
        tried = torch.cat(world.rolled, 1)
        trajectory = world.rollout(history, tried)
        margin, cost = ceiling(trajectory, tried), quadratic(4)(trajectory, tried)
        assert torch.equal(plan.feasible, (margin >= 0).any(1))
        torch.testing.assert_close(plan.cost[plan.feasible], torch.where(margin >= 0, cost, torch.inf).amin(1)[plan.feasible])
        torch.testing.assert_close(plan.margins[~plan.feasible, 0], margin.amax(1)[~plan.feasible])
        torch.testing.assert_close(plan.margins, ceiling(plan.trajectory[:, None], plan.actions[:, None]))


@dataclass
class OnlyAtFirst:
    """A limit that holds when it is first asked, and never again."""

    hard: bool = True
    unit: str = "m"
    confidence: float | None = None
    priority: float = 1.0
    name: str = "patience"
    asked: int = 0

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        self.asked += 1
        return torch.full(trajectory.shape[:2], 1.0 if self.asked == 1 else -1.0)


def test_what_was_feasible_is_not_given_up_for_what_is_cheaper(make_planner: MakePlanner) -> None:
    world = double_integrator()
    history = starts(3)
    plan = make_planner(world, effort=4).plan(problem(history, quadratic(3), horizon=HORIZON, limits=(OnlyAtFirst(),)))
    first, later = world.rolled[0], torch.cat(world.rolled[1:], 1)
    cost = quadratic(3)(world.rollout(history, first), first)
    assert torch.equal(plan.actions, first[torch.arange(3), cost.argmin(1)])
    torch.testing.assert_close(plan.cost, cost.amin(1))
    assert (quadratic(3)(world.rollout(history, later), later).amin(1) < plan.cost).all(), "nothing is cheaper: the test shows nothing"
    assert plan.feasible.all()
    assert (plan.margins == 1).all()


def test_every_scored_action_is_inside_the_limits(make_planner: MakePlanner) -> None:
    world = LinearWorld()
    limits = BoxLimits(low=torch.tensor([-1.0, 0.0]), high=torch.tensor([0.5, 2.0]), norms=(NormLimit(elements=slice(0, 2), radius=1.2),))
    far = LatentDistance(goal=torch.full((2, 2), 100.0))
    asked = Problem(history=torch.zeros(2, 1, 2), previous=torch.zeros(2, 2), cost=far, action_limits=limits, horizon=5)
    plan = make_planner(world).plan(asked)
    for actions in (*world.rolled, plan.actions):
        assert (actions >= limits.low).all()
        assert (actions <= limits.high).all()
        assert (torch.linalg.vector_norm(actions.double(), dim=-1) <= 1.2).all()


def test_every_scored_action_can_follow_the_one_before(make_planner: MakePlanner) -> None:
    """Rate, jerk and a combination, counted from the last two applied actions; the goal lies where all of them bind."""
    task = Task(
        limits={"velocity": ActionLimit(rate=0.4, jerk=0.2)}, linear=(LinearLimit(name="both", weights={"velocity": 1.0}, at_most=0.5),)
    )
    world, previous, earlier = LinearWorld(), torch.tensor([[0.2, -0.3]]), torch.tensor([[0.1, -0.2]])
    asked = Problem(
        history=torch.zeros(1, 1, 2),
        previous=previous,
        earlier=earlier,
        cost=LatentDistance(goal=torch.full((1, 2), 100.0)),
        action_limits=action_limits(world.schema, task),
        horizon=8,
    )
    plan = make_planner(world).plan(asked)
    for actions in (*world.rolled, plan.actions[:, None]):
        before = torch.stack((earlier, previous), 1)[:, None].expand(-1, actions.shape[1], -1, -1)
        path = torch.cat((before, actions), 2).double()
        assert (path.diff(dim=2)[:, :, 1:].abs() <= 0.4).all()
        assert (path.diff(n=2, dim=2).abs() <= 0.2).all()
        assert (actions.double().sum(-1) <= 0.5).all()
    assert plan.actions.sum(-1).max() > 0.3, "the limit is used"


def test_units_do_not_matter(make_planner: MakePlanner) -> None:
    """Millimetres for metres: bounds in normalised space, or a variance for a standard deviation, would show."""
    cost = LatentDistance(goal=torch.tensor([[0.3, -0.2]]))
    metres = make_planner(LinearWorld()).plan(problem(torch.zeros(1, 1, 2), cost, bound=1.0))
    world = LinearWorld(effect=1e-4 * torch.eye(2))
    millimetres = make_planner(world).plan(problem(torch.zeros(1, 1, 2), cost, bound=1000.0))
    torch.testing.assert_close(millimetres.actions, 1000 * metres.actions, rtol=1e-3, atol=1.0)


def test_asymmetric_bounds_are_searched_in_full(make_planner: MakePlanner) -> None:
    limits = BoxLimits(low=torch.tensor([280.0]), high=torch.tensor([370.0]))
    world = LinearWorld(dynamics=torch.zeros(1, 1), effect=torch.ones(1, 1))
    for wanted in (290.0, 360.0):
        cost = LatentDistance(goal=torch.tensor([[wanted]]))
        asked = Problem(history=torch.zeros(1, 1, 1), previous=torch.full((1, 1), 300.0), cost=cost, action_limits=limits, horizon=2)
        plan = make_planner(world, effort=10).plan(asked)
        torch.testing.assert_close(plan.actions, torch.full((1, 2, 1), wanted), rtol=0, atol=1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_prediction_that_is_not_finite_never_wins(make_search: MakePlanner, bad: float) -> None:
    """The goal lies where the model breaks down."""

    def breaks(trajectory: Tensor, actions: Tensor) -> Tensor:
        return torch.where((actions[..., 0] > 0).any(-1)[..., None, None], bad, trajectory)

    def at_goal_if_broken(trajectory: Tensor, actions: Tensor) -> Tensor:
        distance = (trajectory - 1.0).square().sum((-1, -2))
        return torch.where(trajectory.isfinite().all(-1).all(-1), distance, 0.0)

    plan = make_search(Altered(change=breaks)).plan(problem(torch.zeros(2, 1, 2), at_goal_if_broken, horizon=2))
    assert plan.feasible.all()
    assert plan.trajectory.isfinite().all()
    assert (plan.actions[..., 0] <= 0).all()
    assert (plan.cost > 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_when_nothing_is_finite_it_says_so(make_planner: MakePlanner, bad: float) -> None:
    world = Altered(change=lambda trajectory, actions: torch.full_like(trajectory, bad))
    plan = make_planner(world).plan(problem(torch.zeros(2, 1, 2), LatentDistance(goal=torch.zeros(2, 2))))
    assert not plan.feasible.any()
    assert plan.cost.tolist() == [torch.inf] * 2
    assert (plan.actions.abs() <= 1).all()


def test_a_margin_that_is_not_a_number_is_no_proof(make_planner: MakePlanner) -> None:
    for hard in (True, False):
        limit = Below(bound=torch.nan, hard=hard)
        plan = make_planner(LinearWorld()).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), limits=(limit,)))
        assert not plan.feasible.any()
        assert plan.cost == torch.inf


def test_few_finite_candidates_are_enough(make_planner: MakePlanner) -> None:
    """All but the mean break down: a fit that let the others in would lose it."""
    world = Altered(change=lambda trajectory, actions: torch.where((actions != 0).any(-1).any(-1)[..., None, None], torch.nan, trajectory))
    plan = make_planner(world).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2))))
    assert plan.feasible.all()
    assert (plan.actions == 0).all()


def test_hard_limits_hold_where_they_can(make_planner: MakePlanner) -> None:
    cost = LatentDistance(goal=torch.tensor([[1.0, 0.0]]))
    free = make_planner(LinearWorld(), effort=8).plan(problem(torch.zeros(1, 1, 2), cost))
    held = make_planner(LinearWorld(), effort=8).plan(problem(torch.zeros(1, 1, 2), cost, limits=(Below(bound=0.3),)))
    assert free.trajectory[..., 0].max() > 0.6
    assert held.feasible.all()
    assert 0.2 < held.trajectory[..., 0].max() <= 0.3
    assert (held.margins >= 0).all()


def test_the_best_infeasible_plan_is_not_feasible(make_planner: MakePlanner) -> None:
    """No action keeps the first machine below the ceiling; the plan that breaks it least is returned, and says so."""
    history = torch.tensor([[[0.5, 0.0]], [[-3.0, 0.0]]])
    cost = LatentDistance(goal=torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    plan = make_planner(LinearWorld(), effort=8).plan(problem(history, cost, limits=(Below(bound=0.0),)))
    assert plan.feasible.tolist() == [False, True]
    assert -0.45 < plan.margins[0, 0] < 0, "the first step reaches 0.4 at best"
    assert plan.cost.isfinite().all()


def test_soft_limits_only_cost(make_planner: MakePlanner) -> None:
    cost = LatentDistance(goal=torch.tensor([[1.0, 0.0]]))
    limits = (Below(bound=-0.5, hard=False), Below(bound=2.0))
    plan = make_planner(LinearWorld(), effort=8).plan(problem(torch.zeros(1, 1, 2), cost, limits=limits))
    assert plan.feasible.all()
    assert plan.margins[0, 0] < 0 < plan.margins[0, 1]
    trajectory, actions = plan.trajectory[:, None], plan.actions[:, None]
    torch.testing.assert_close(plan.cost[0], cost(trajectory, actions)[0, 0] - plan.margins[0, 0])


def test_never_worse_than_the_warm_start(make_search: MakePlanner) -> None:
    world, history = double_integrator(), starts(4)
    asked = problem(history, quadratic(4), horizon=HORIZON)
    good = make_search(world, effort=25).plan(asked)
    again = make_search(world, effort=1, seed=9).plan(asked, warm_start=good.actions)
    assert (again.cost <= good.cost * 1.00001).all()
    cold = make_search(world, effort=1, seed=9).plan(asked)
    assert (cold.cost > good.cost * 1.05).all(), "one iteration alone is as good: the test shows nothing"


def test_a_warm_start_outside_the_limits_or_not_finite_is_mended(make_planner: MakePlanner) -> None:
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.tensor([[0.4, 0.4]])))
    for value in (50.0, torch.nan, torch.inf):
        plan = make_planner(LinearWorld(), effort=10).plan(asked, warm_start=torch.full((1, 8, 2), value))
        assert plan.feasible.all()
        assert plan.cost < 0.6
        assert (plan.actions.abs() <= 1).all()


def test_more_effort_is_never_worse(make_search: MakePlanner) -> None:
    asked = problem(starts(5), quadratic(5), horizon=HORIZON)
    costs = torch.stack([make_search(double_integrator(), effort=n).plan(asked).cost for n in range(1, 8)])
    assert (costs.diff(dim=0) <= 0).all()
    assert (costs[-1] < costs[0]).all()


def test_the_same_seed_gives_the_same_plan(make_search: MakePlanner) -> None:
    asked = problem(starts(2), quadratic(2), horizon=HORIZON)
    plans = [make_search(double_integrator(), seed=seed).plan(asked).actions for seed in (3, 3, 4)]
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])


def test_machines_do_not_disturb_each_other(make_planner: MakePlanner) -> None:
    """Whatever the second machine does, the first one's plan is the same."""
    plans = []
    for second in (0.0, 50.0, torch.nan):
        history = torch.tensor([[[0.1, -0.2]], [[second, 0.0]]])
        plans.append(make_planner(LinearWorld()).plan(problem(history, LatentDistance(goal=torch.zeros(2, 2)), limits=(Below(bound=1.0),))))
    assert [p.feasible.tolist() for p in plans] == [[True, True], [True, False], [True, False]]
    for other in plans[1:]:
        assert torch.equal(plans[0].actions[0], other.actions[0])
        assert torch.equal(plans[0].cost[0], other.cost[0])


class Clock:
    """A clock that only models move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def slow(self, seconds: float) -> Altered:
        def change(trajectory: Tensor, actions: Tensor) -> Tensor:
            self.now += seconds
            return trajectory

        return Altered(change=change)


@pytest.mark.parametrize(("deadline", "iterations"), [(-5.0, 1), (0.0, 1), (0.019, 1), (0.021, 2), (0.059, 5), (0.2, 8)])
def test_ends_before_the_deadline(make_search: MakePlanner, monkeypatch: pytest.MonkeyPatch, deadline: float, iterations: int) -> None:
    """Rollouts take 10 ms each: none is begun that would end after the deadline, except the first."""
    world = Clock(monkeypatch).slow(0.01)
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)))
    plan = make_search(world, effort=8).plan(asked, deadline=100.0 + deadline)
    assert plan.spent.iterations == iterations
    assert plan.spent.cut_by_deadline == (iterations < 8)
    assert plan.spent.seconds == pytest.approx(0.01 * len(world.rolled))
    assert plan.spent.seconds < max(deadline, 0.011)
    assert plan.spent.candidates == sum(actions.shape[1] for actions in world.rolled)
    assert plan.feasible.all()


def test_a_warm_start_of_the_wrong_shape_is_refused(make_planner: MakePlanner) -> None:
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)))
    with pytest.raises(ValueError, match=r"warm start has shape \(1, 7, 2\) instead of .* \(1, 8, 2\)"):
        make_planner(LinearWorld()).plan(asked, warm_start=torch.zeros(1, 7, 2))


def test_an_empty_horizon_is_refused(make_planner: MakePlanner) -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        make_planner(LinearWorld()).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)), horizon=0))


def test_no_gradient_is_kept(make_planner: MakePlanner) -> None:
    world = LinearWorld(effect=torch.eye(2).requires_grad_())
    plan = make_planner(world).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2))))
    assert not plan.cost.requires_grad


@pytest.mark.parametrize("count", [1, 5, 127, 200])
def test_proposals_are_tried_right_after_the_first_guess(make_search: MakePlanner, count: int) -> None:
    """As many as there is room for, in the first iteration, each machine its own; a proposal beyond the limits is moved inside."""
    world, last = LinearWorld(), torch.full((2, 8, 2), -0.25)
    given = torch.linspace(0.1, 1.2, 2 * count).view(2, count, 1, 1).expand(2, count, 8, 2)
    asked = replace(problem(torch.zeros(2, 1, 2), LatentDistance(goal=torch.ones(2, 2))), proposals=given)
    make_search(world).plan(asked, warm_start=last)
    first = world.rolled[0]
    assert first.shape[1] == 128
    assert torch.equal(first[:, 0], last)
    assert torch.equal(first[:, 1 : 1 + count], given[:, :127].clamp(max=1.0))


def test_never_worse_than_a_proposal(make_planner: MakePlanner) -> None:
    world, history = double_integrator(), starts(4)
    asked = problem(history, quadratic(4), horizon=HORIZON)
    good = make_planner(world, effort=25).plan(asked)
    plan = make_planner(world, effort=1, seed=9).plan(replace(asked, proposals=good.actions[:, None]))
    assert (plan.cost <= good.cost * 1.00001).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_proposal_that_is_not_finite_is_never_tried(make_planner: MakePlanner, bad: float) -> None:
    """Mended, the first machine's proposal would be perfect; the second machine's is whole."""
    goal = LatentDistance(goal=torch.tensor([[0.7, 0.7], [0.7, 0.7]]))
    given = torch.full((2, 1, 8, 2), 0.7)
    given[0, 0, 3, 1] = bad
    world = LinearWorld()
    plan = make_planner(world).plan(replace(problem(torch.zeros(2, 1, 2), goal), proposals=given))
    tried = (world.rolled[0] == 0.7).any(-1).any(-1).any(-1)
    assert tried.tolist() == [False, True]
    assert plan.feasible.all()


def test_proposals_of_another_shape_are_refused(make_planner: MakePlanner) -> None:
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)))
    for shape in ((1, 3, 7, 2), (2, 3, 8, 2), (1, 3, 8, 1), (1, 8, 2)):
        with pytest.raises(ValueError, match=r"proposals have shape .* instead of \(B, P, H, A\) = \(1, P, 8, 2\)"):
            make_planner(LinearWorld()).plan(replace(asked, proposals=torch.zeros(shape)))


def test_one_step_and_an_element_without_a_choice(make_planner: MakePlanner) -> None:
    """Low is high for one element; the horizon is one action."""
    limits = BoxLimits(low=torch.tensor([-1.0, 0.3]), high=torch.tensor([1.0, 0.3]))
    asked = replace(problem(torch.zeros(2, 1, 2), LatentDistance(goal=torch.ones(2, 2)), horizon=1), action_limits=limits)
    plan = make_planner(LinearWorld(), effort=4, candidates=20).plan(asked)
    assert plan.actions.shape == (2, 1, 2)
    assert (plan.actions[..., 1] == limits.low[1]).all()
    assert (plan.actions[..., 0] > 0.3).all()


def test_no_search_waits_for_a_number_of_the_device(make_search: MakePlanner) -> None:
    """On an accelerator, to look at a number is to wait for all that was begun. Tensors without numbers tell who looks."""
    asked = problem(starts(2), cost=quadratic(2), horizon=HORIZON + 3)
    with FakeTensorMode() as mode:

        def empty(value: object) -> object:
            return mode.from_tensor(value) if isinstance(value, Tensor) else value

        limits, world = copy.copy(asked.action_limits), double_integrator()
        for name in ("low", "high"):
            object.__setattr__(limits, name, empty(getattr(limits, name)))
        cost = quadratic(2)
        plan = make_search(world).plan(
            replace(asked, history=empty(asked.history), previous=empty(asked.previous), cost=cost, action_limits=limits)
        )
        assert plan.actions.shape == (2, HORIZON + 3, 2)
        with pytest.raises(DataDependentOutputException):
            bool(plan.feasible.all())
    for kept in (search._decaying, search.resting):
        kept.cache_clear()
