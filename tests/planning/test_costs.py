"""Costs against sums written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from tacit.contracts import Cost
from tacit.planning import ActionEffort, EverySecond, FirstArrival, LatentDistance, TemporalDistance, TerminalLatentDistance, WeightedSum

B, K, H, D, A = 2, 3, 4, 5, 2


@pytest.fixture
def trajectory() -> Tensor:
    return torch.randn(B, K, H, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def actions() -> Tensor:
    return torch.randn(B, K, H, A, generator=torch.Generator().manual_seed(1))


GOAL = torch.randn(B, D, generator=torch.Generator().manual_seed(2))


def manhattan(latent: Tensor, goal: Tensor) -> Tensor:
    assert latent.shape[-1] == goal.shape[-1]
    return (latent - goal).abs().sum(-1)


def by_hand(cost: str, z: Tensor, a: Tensor, goal: Tensor) -> float:
    """Of one candidate: z (H, D), a (H, A), goal (D,)."""
    squares = [float(((step - goal) ** 2).sum()) for step in z]
    steps = [float((step - goal).abs().sum()) for step in z]
    effort = sum(float(((step / torch.tensor([2.0, 4.0])) ** 2).sum()) for step in a)
    return {
        "latent": sum(squares),
        "terminal": squares[-1],
        "temporal": sum(steps),
        "temporal and terminal": sum(steps) + 3 * steps[-1],
        "temporal, every third": 3 * (steps[0] + steps[3]),
        "arrival": min(steps),
        "effort": effort,
        "sum": 2 * sum(squares) + 0.5 * effort,
    }[cost]


EFFORT = ActionEffort(scale=torch.tensor([2.0, 4.0]))
COSTS: dict[str, Cost] = {
    "latent": LatentDistance(goal=GOAL),
    "terminal": TerminalLatentDistance(goal=GOAL),
    "temporal": TemporalDistance(distance=manhattan, goal=GOAL),
    "temporal and terminal": TemporalDistance(distance=manhattan, goal=GOAL, terminal_weight=3.0),
    "temporal, every third": TemporalDistance(distance=manhattan, goal=GOAL, stride=3),
    "arrival": FirstArrival(distance=manhattan, goal=GOAL),
    "effort": EFFORT,
    "sum": WeightedSum(terms=((2.0, LatentDistance(goal=GOAL)), (0.5, EFFORT))),
}


@pytest.mark.parametrize("name", COSTS)
def test_equals_the_sum_by_hand(name: str, trajectory: Tensor, actions: Tensor) -> None:
    cost = COSTS[name](trajectory, actions)
    expected = torch.tensor([[by_hand(name, trajectory[b, k], actions[b, k], GOAL[b]) for k in range(K)] for b in range(B)])
    assert isinstance(COSTS[name], Cost)
    torch.testing.assert_close(cost, expected)


@pytest.mark.parametrize("name", COSTS)
def test_what_is_not_finite_shows(name: str, trajectory: Tensor, actions: Tensor) -> None:
    """A cost must not hide a broken prediction of the last step."""
    broken = trajectory.clone(), actions.clone()
    broken[0][0, 1, -1, 0] = torch.nan
    broken[1][0, 1, -1, 0] = torch.nan
    cost = COSTS[name](*broken)
    assert cost[0, 1].isnan()
    assert cost.isfinite().sum() == B * K - 1


def test_first_arrival_values_staying_once_it_is_near(trajectory: Tensor, actions: Tensor) -> None:
    steps = manhattan(trajectory, GOAL[:, None, None])
    far = FirstArrival(distance=manhattan, goal=GOAL, near=0.0)(trajectory, actions)
    near = FirstArrival(distance=manhattan, goal=GOAL, near=1e9)(trajectory, actions)
    torch.testing.assert_close(far, steps.amin(-1))
    torch.testing.assert_close(near, steps[..., ::2].mean(-1))
    torch.testing.assert_close(FirstArrival(distance=manhattan, goal=GOAL, near=1e9, settle=1)(trajectory, actions), steps[..., 0])


def test_first_arrival_looks_at_the_last_moment_whatever_the_stride(trajectory: Tensor, actions: Tensor) -> None:
    last = FirstArrival(distance=manhattan, goal=GOAL, stride=trajectory.shape[2])(trajectory, actions)
    torch.testing.assert_close(last, manhattan(trajectory[:, :, -1], GOAL[:, None]))


def test_an_empty_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one term"):
        WeightedSum(terms=())


def test_on_an_accelerator_the_first_arrival_waits_for_nothing_and_costs_the_same() -> None:
    torch.manual_seed(0)
    trajectory, actions, goal = torch.randn(3, 4, 9, 2), torch.zeros(3, 4, 9, 1), torch.randn(3, 2)

    def straight(here: Tensor, there: Tensor) -> Tensor:
        return (here - there).norm(dim=-1)

    cost = FirstArrival(distance=straight, goal=goal, stride=2, near=0.4, settle=5)
    near = (trajectory[:, :, 0] - goal[:, None]).norm(dim=-1).amin(-1) < 0.4
    assert near.any()
    assert not near.all()
    torch.testing.assert_close(cost.everywhere(trajectory), cost(trajectory, actions))
    with FakeTensorMode():  # tensors without numbers: whoever looks at one fails
        elsewhere = FirstArrival(distance=straight, goal=torch.empty(3, 2), stride=2, near=0.4, settle=5)
        assert elsewhere.everywhere(torch.empty(3, 4, 9, 2)).shape == (3, 4)
        with pytest.raises(DynamicOutputShapeException):
            elsewhere(torch.empty(3, 4, 9, 2), torch.empty(3, 4, 9, 1))


@pytest.mark.parametrize("horizon", [1, 2, 5, 6])
def test_every_second_moment_is_asked_for_and_those_between_lie_half_way(horizon: int) -> None:
    asked: list[int] = []

    def level(latents: Tensor, goal: Tensor) -> Tensor:
        asked.append(latents.shape[2])
        return (latents - goal).abs().sum(-1)

    trajectory, goal = torch.rand(2, 3, horizon, 4), torch.zeros(2, 1, 1, 4)
    found, exact = EverySecond(distance=level)(trajectory, goal), level(trajectory, goal)
    assert found.shape == (2, 3, horizon)
    assert asked[0] == (horizon + 1) // 2
    torch.testing.assert_close(found[..., (horizon - 1) % 2 :: 2], exact[..., (horizon - 1) % 2 :: 2])
    for t in range(horizon - 2, 0, -2):
        torch.testing.assert_close(found[..., t], (exact[..., t - 1] + exact[..., t + 1]) / 2)
    steady = torch.linspace(9.0, 1.0, horizon)[None, None, :, None].expand(2, 3, -1, 4)
    if horizon % 2:
        torch.testing.assert_close(EverySecond(distance=level)(steady, goal), level(steady, goal))
