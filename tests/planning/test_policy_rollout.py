"""Policy rollout in a linear world: ways are left beyond doubt only, and limits count before costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_worlds import Altered, LinearWorld, problem
from torch import Tensor

from tacit.contracts import Cost, Limit, Plan, Planner, Problem
from tacit.planning import ImaginedDetours, LatentDistance, PolicyRollout, PolicyRolloutConfig
from tacit.planning.plan_settings import PlanSettings
from tacit.planning.planners import planner_for

WAYS, VARIATIONS, H = 3, 4, 5
CONFIG = PolicyRolloutConfig(ways=WAYS)


def last_action(trajectory: Tensor, actions: Tensor) -> Tensor:
    """A cost that can be written down: element 0 of the last action, times 100."""
    return 100 * actions[..., -1, 0]


def asked(costs: list[list[float]], *, limits: tuple[Limit, ...] = (), cost: Cost = last_action) -> Problem:
    """Proposals whose variations cost what is given, way by way; element 1 of every action tells which one it is."""
    given = torch.zeros(1, len(costs) * len(costs[0]), H, 2)
    given[0, :, -1, 0] = torch.tensor(costs).flatten() / 100
    given[0, :, :, 1] = torch.arange(given.shape[1])[:, None] / 100
    return replace(problem(torch.zeros(1, 1, 2), cost, horizon=H, limits=limits), proposals=given)


def chosen(plan: Plan) -> int:
    return round(float(plan.actions[0, 0, 1]) * 100)


def planned(costs: list[list[float]], *, limits: tuple[Limit, ...] = (), config: PolicyRolloutConfig = CONFIG) -> Plan:
    return PolicyRollout(LinearWorld(), config).plan(asked(costs, limits=limits))


def test_the_own_way_is_kept_where_a_detour_is_better_by_luck_only() -> None:
    costs = [[10.0, 11, 9, 10], [2.0, 11, 14, 9], [20.0, 20, 20, 20]]
    assert min(costs[1]) < min(costs[0])
    assert chosen(planned(costs)) == 0


def test_it_departs_to_the_way_itself_where_that_is_beyond_doubt() -> None:
    costs = [[10.0, 11, 9, 10], [7.0, 8, 6, 6], [5.0, 4, 6, 5]]
    plan = planned(costs)
    assert chosen(plan) == 2 * VARIATIONS
    assert float(plan.cost) == pytest.approx(5.0, abs=1e-4)
    assert (plan.spent.iterations, plan.spent.candidates) == (1, WAYS * VARIATIONS)


def test_how_sure_it_has_to_be_is_counted_in_standard_errors() -> None:
    costs = [[10.0, 10, 10, 10], [9.0, 11, 8, 10], [30.0, 30, 30, 30]]  # differences -1, 1, -2, 0: mean -0.5, standard error 0.645
    assert chosen(planned(costs, config=replace(CONFIG, sureness=0.7))) == VARIATIONS
    assert chosen(planned(costs, config=replace(CONFIG, sureness=0.8))) == 0


def test_variations_are_compared_with_those_of_the_own_way_one_by_one() -> None:
    """What varies in both ways alike is no doubt."""
    costs = [[10.0, 50, 30, 70], [9.0, 49, 29, 69], [90.0, 90, 90, 90]]
    assert chosen(planned(costs)) == VARIATIONS


def test_limits_come_before_costs() -> None:
    class OnlyFrom:
        name, hard, unit, confidence, priority = "from", True, "", None, 1.0

        def __init__(self, first: int, last: int) -> None:
            self.first, self.last = first, last

        def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
            number = (actions[..., 0, 1] * 100).round()
            return torch.where((number >= self.first) & (number <= self.last), 1.0, -(number + 1) / 100)

    costs = [[10.0, 11, 9, 10], [20.0, 21, 19, 20], [5.0, 4, 6, 5]]
    own_and_second = planned(costs, limits=(OnlyFrom(0, 7),))
    assert (chosen(own_and_second), bool(own_and_second.feasible)) == (0, True)
    second = planned(costs, limits=(OnlyFrom(3, 7),))  # the own way itself breaks it: the best of those that keep it
    assert (chosen(second), bool(second.feasible)) == (VARIATIONS, True)
    variation = planned(costs, limits=(OnlyFrom(9, 10),))  # no way itself keeps it
    assert (chosen(variation), bool(variation.feasible)) == (9, True)
    nobody = planned(costs, limits=(OnlyFrom(20, 30),))
    assert (chosen(nobody), bool(nobody.feasible)) == (0, False)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_prediction_that_is_not_finite_is_never_followed(bad: float) -> None:
    def plan(numbers: tuple[int, ...], costs: list[list[float]]) -> Plan:
        def breaks(trajectory: Tensor, actions: Tensor) -> Tensor:
            number = (actions[..., 0, 1] * 100).round()
            return torch.where(torch.isin(number, torch.tensor(numbers, dtype=number.dtype))[..., None, None], bad, trajectory)

        return PolicyRollout(Altered(change=breaks), CONFIG).plan(asked(costs))

    costs = [[10.0, 11, 9, 10], [7.0, 8, 6, 6], [5.0, 4, 6, 5]]
    assert chosen(plan((9,), costs)) == VARIATIONS  # a variation of the best way
    assert chosen(plan((2,), costs)) == 2 * VARIATIONS  # a variation of the own way: what is known of the others counts
    assert chosen(plan((0, 4, 8), costs)) == 9  # every way itself
    assert chosen(plan((1, 5, 9), costs)) == 0  # nothing is known for sure, and the own way itself is finite
    nothing = plan(tuple(range(12)), costs)
    assert not nothing.feasible
    assert nothing.cost.isinf()


def test_proposals_are_moved_inside_the_limits_before_they_are_scored() -> None:
    world = LinearWorld()
    cost = LatentDistance(goal=torch.zeros(1, 2))
    given = torch.full((1, 6, H, 2), 7.0)
    given[0, 2] = torch.nan  # not tried: the last plan is, in its place
    plan = PolicyRollout(world, CONFIG).plan(replace(problem(torch.zeros(1, 1, 2), cost, horizon=H), proposals=given), torch.zeros(1, H, 2))
    assert world.rolled[0].abs().max() <= 1
    assert torch.equal(world.rolled[0][0, 2], torch.zeros(H, 2))
    assert plan.feasible.all()


def test_machines_do_not_disturb_each_other() -> None:
    first, second = asked([[10.0, 11, 9, 10], [7.0, 8, 6, 6], [50.0, 50, 50, 50]]), asked([[1.0, 2, 1, 2], [7.0, 8, 6, 6], [5.0, 4, 6, 5]])
    assert first.proposals is not None
    assert second.proposals is not None
    both = replace(problem(torch.zeros(2, 1, 2), last_action, horizon=H), proposals=torch.cat((first.proposals, second.proposals)))
    plan = PolicyRollout(LinearWorld(), CONFIG).plan(both)
    assert (plan.actions[:, 0, 1] * 100).round().tolist() == [VARIATIONS, 0]


@pytest.mark.parametrize("count", [0, 3, 7, None])
def test_proposals_that_cannot_be_shared_out_are_refused(count: int | None) -> None:
    given = None if count is None else torch.zeros(1, count, H, 2)
    with pytest.raises(ValueError, match=f"there are {count or 0} proposals; 3 ways need as many for each, and two at least"):
        PolicyRollout(LinearWorld(), CONFIG).plan(replace(asked([[0.0] * 4] * 3), proposals=given))


@pytest.mark.parametrize(("name", "value"), [("ways", 0), ("sureness", -1.0), ("sureness", torch.nan), ("soft_weight", -0.1)])
def test_settings_out_of_their_domain_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        PolicyRolloutConfig(**{name: value})


GOAL = torch.tensor([[1.0, 0.0], [0.0, -1.0]])


def detours(count: int = 40, **settings: float) -> Tensor:
    def towards(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        return 5 * (goal - history[:, -1]), torch.full_like(goal, 0.2)

    made = ImaginedDetours(model=LinearWorld(history=2), policy=towards, goal=GOAL, **settings)  # type: ignore[arg-type]
    return made(torch.zeros(2, 2, 2), 9, count, torch.Generator().manual_seed(0))


def test_the_first_way_is_the_policys_own_and_the_others_stray_for_a_while() -> None:
    actions = detours(variation=0.0).unflatten(1, (4, 10))
    assert torch.equal(actions, actions[:, :, :1].expand_as(actions)), "without variations all of a way are the same"
    state = torch.zeros(2, 2)
    for step in range(9):
        torch.testing.assert_close(actions[:, 0, 0, step], 5 * (GOAL - state))
        state = state + 0.1 * actions[:, 0, 0, step]
    for way in range(1, 4):
        state = torch.zeros(2, 2)
        for step in range(9):
            strays = (actions[:, way, 0, step] - 5 * (GOAL - state)) / 0.2
            assert (strays.abs() > 1e-3).all() if step < 4 else (strays.abs() < 1e-4).all()
            state = state + 0.1 * actions[:, way, 0, step]


def test_of_each_way_the_first_is_the_way_itself_and_the_others_vary_it() -> None:
    ways, varied = detours(variation=0.0).unflatten(1, (4, 10)), detours().unflatten(1, (4, 10))
    torch.testing.assert_close(varied[:, :, 0], ways[:, :, 0])
    off = (varied - ways)[:, :, 1:, 0] / 0.2
    assert off.std() == pytest.approx(1.0, abs=0.15)
    assert (off[:, 0] != off[:, 1]).all()


def test_detours_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ValueError, match="42 proposals cannot be shared out among 4 ways"):
        detours(42)


def test_a_task_names_it() -> None:
    made: Planner = planner_for(LinearWorld(), PlanSettings(planner="policy-rollout", candidates=8, proposals=8))
    assert isinstance(made, PolicyRollout)
