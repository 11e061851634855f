"""What is special to MPPI."""

from __future__ import annotations

import pytest
import torch
from linear_worlds import Below, LinearWorld, problem
from torch import Tensor

from tacit.planning import MPPI, LatentDistance, MPPIConfig
from tacit.planning.mppi import softmin
from tacit.planning.rollout import Candidates

INF, NAN = torch.inf, torch.nan


def candidates(cost: list[float], violation: list[float] | None = None) -> Candidates:
    count = len(cost)
    return Candidates(
        actions=torch.zeros(1, count, 2, 1),
        trajectory=torch.zeros(1, count, 2, 1),
        cost=torch.tensor([cost]),
        violation=torch.tensor([violation or [0.0 if c < INF else INF for c in cost]]),
        margins=torch.zeros(1, count, 1),
    )


def weights(cost: list[float], temperature: float = 0.5, violation: list[float] | None = None) -> Tensor:
    return softmin(candidates(cost, violation), temperature)[0]


def test_weights_are_the_softmin_of_standardised_costs() -> None:
    cost = torch.tensor([3.0, 5.0, 4.0, 9.0])
    expected = torch.softmax(-cost / (0.5 * cost.std(correction=0)), 0)
    torch.testing.assert_close(weights(cost.tolist()), expected)


def test_the_temperature_divides() -> None:
    """Multiplied, a low temperature would make all candidates alike and a high one would leave the best alone."""
    cold, warm = weights([1.0, 2.0, 3.0], 1e-3), weights([1.0, 2.0, 3.0], 1e3)
    torch.testing.assert_close(cold, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(warm, torch.full((3,), 1 / 3), rtol=0, atol=1e-2)


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 500.0), (-0.0, 7.0)])
def test_what_costs_are_measured_in_does_not_matter(scale: float, offset: float) -> None:
    cost = [0.0, 1.0, 2.0]
    expected = weights(cost) if scale else torch.full((3,), 1 / 3)
    torch.testing.assert_close(weights([scale * c + offset for c in cost]), expected)


def test_what_has_no_finite_cost_has_no_weight() -> None:
    torch.testing.assert_close(weights([1.0, INF, 2.0, INF]), weights([1.0, 2.0])[[0, 0, 1, 0]] * torch.tensor([1.0, 0, 1, 0]))
    assert weights([INF, INF]).tolist() == [0.0, 0.0]


def test_what_breaks_a_hard_limit_has_no_weight_while_another_keeps_it() -> None:
    assert weights([1.0, 5.0, 6.0], violation=[0.1, 0.0, 0.0])[0] == 0
    torch.testing.assert_close(weights([1.0, 5.0, 6.0], violation=[0.3, 0.1, 0.2]), weights([0.3, 0.1, 0.2]))


def planned(config: MPPIConfig, bound: float = 1.0, **asked: object) -> tuple[list[Tensor], Tensor]:
    """Candidates (K, H, A) of every rollout, and the plan's actions (H, A)."""
    world = LinearWorld()
    cost = LatentDistance(goal=torch.tensor([[0.3, -0.2]]))
    plan = MPPI(world, config).plan(problem(torch.zeros(1, 1, 2), cost, bound=bound, horizon=4, **asked))  # type: ignore[arg-type]
    return [actions[0] for actions in world.rolled], plan.actions[0]


def test_the_next_mean_is_the_weighted_one() -> None:
    (first, second, _), _ = planned(MPPIConfig(candidates=50, iterations=2, temperature=0.3))
    world, cost = LinearWorld(), LatentDistance(goal=torch.tensor([[0.3, -0.2]]))
    costs = cost(world.rollout(torch.zeros(1, 1, 2), first[None]), first[None])[0]
    share = torch.softmax(-costs / (0.3 * costs.std(correction=0)), 0)
    torch.testing.assert_close(second[0], (share[:, None, None] * first).sum(0))


def test_the_last_mean_is_tried_alone_and_can_win() -> None:
    rolled, actions = planned(MPPIConfig(candidates=50, iterations=1))
    assert [len(tried) for tried in rolled] == [50, 1]
    assert torch.equal(actions, rolled[1][0]), "the mean of many is better than each of them, here"


def test_a_last_mean_that_is_worse_does_not_win() -> None:
    """Two good ways, left and right, and a wall between them: their mean is the wall."""
    world = LinearWorld()

    def edges(trajectory: Tensor, actions: Tensor) -> Tensor:
        return -trajectory[..., -1, 0].abs()

    plan = MPPI(world, MPPIConfig(candidates=400, iterations=1, temperature=1.0)).plan(problem(torch.zeros(1, 1, 2), edges))
    assert edges(world.rollout(torch.zeros(1, 1, 2), world.rolled[1]), world.rolled[1]) > 0.5 * plan.cost
    assert plan.cost < -0.3


def test_the_noise_shrinks_from_one_iteration_to_the_next() -> None:
    config = MPPIConfig(candidates=2000, iterations=3, initial_std=0.1, shrink=0.5)
    rolled, _ = planned(config, bound=10.0)
    spread = [float(tried[1:].std(0).mean()) for tried in rolled[:3]]
    assert spread == pytest.approx([1.0, 0.5, 0.25], rel=0.05)


def test_candidates_that_break_a_limit_do_not_pull_the_mean() -> None:
    rolled, _ = planned(MPPIConfig(candidates=400, iterations=1, temperature=1.0), limits=(Below(bound=0.02),))
    free, _ = planned(MPPIConfig(candidates=400, iterations=1, temperature=1.0))
    position = 0.1 * rolled[1][0, :, 0].cumsum(0)
    assert position.max() <= 0.02
    assert (0.1 * free[1][0, :, 0].cumsum(0)).max() > 0.02


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("candidates", 0),
        ("iterations", 0),
        ("initial_std", 0.0),
        ("shrink", 0.0),
        ("shrink", 1.1),
        ("temperature", 0.0),
        ("temperature", NAN),
        ("noise_correlation", 1.0),
        ("soft_weight", -1.0),
    ],
)
def test_settings_out_of_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        MPPIConfig(**{field: value})  # type: ignore[arg-type]
