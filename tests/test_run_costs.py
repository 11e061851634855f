"""Costs by what a run has learned: against closed forms, with steps that are distances along the axes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tacit import Run
from tacit.models.ensemble import MeanDistance
from tacit.models.heads import HeadConfig, TemporalDistance
from tacit.run_costs import COSTS, LATENT_STEPS, THERE, reaching_cost, steps_to, touching_cost

GOAL = torch.tensor([[3.0, -1.0]])


class Manhattan:
    """Steps of a length of one along the axes."""

    def __call__(self, latent: Tensor, goal: Tensor) -> Tensor:
        return self.between(self.embed(latent), self.embed(goal))

    def embed(self, latent: Tensor) -> Tensor:
        return latent

    def between(self, one: Tensor, other: Tensor) -> Tensor:
        return (one - other).abs().sum(-1)


DISTANCE: Any = Manhattan()


@pytest.mark.parametrize("name", COSTS)
def test_a_session_and_a_caller_mean_the_same_by_a_cost(name: str) -> None:
    trajectory = torch.randn(1, 6, 40, 2, generator=torch.Generator().manual_seed(0))
    actions = torch.zeros(1, 6, 40, 1)
    run: Any = SimpleNamespace(distance=DISTANCE)
    found = COSTS[name](DISTANCE, GOAL)(trajectory, actions)
    torch.testing.assert_close(getattr(Run, name)(run, GOAL)(trajectory, actions), found)
    assert found[0].unique().numel() == 6


def test_what_is_pushed_is_there_by_both_distances_together() -> None:
    far = torch.tensor([[0.0, -1.0]]).expand(1, 1, 5, 2)  # three steps, a squared distance of nine
    cost = touching_cost(DISTANCE, GOAL)(far, torch.zeros(1, 1, 5, 1))
    assert cost.item() > 3 + LATENT_STEPS * 9 - 1e-3
    near = torch.tensor([[2.9, -1.0]]).expand(1, 1, 5, 2)
    assert 0.1 + LATENT_STEPS * 0.01 < THERE
    assert touching_cost(DISTANCE, GOAL)(near, torch.zeros(1, 1, 5, 1)).item() < cost.item()


def test_several_models_are_asked_for_steps_at_every_second_moment_and_for_latents_at_all() -> None:
    torch.manual_seed(0)
    heads = [TemporalDistance(2, HeadConfig(width=8)) for _ in range(2)]
    both, goal = MeanDistance(heads), torch.tensor([[3.0, -1.0, 3.0, -1.0]])
    trajectory = torch.randn(1, 7, 9, 4)
    steps, latents = both(trajectory, goal[:, None, None]), (trajectory - goal[:, None, None]).square().sum(-1)
    between = steps.clone()
    between[..., 1::2] = (steps[..., :-1:2] + steps[..., 2::2]) / 2
    expected = (between + LATENT_STEPS * latents).amin(-1)
    torch.testing.assert_close(touching_cost(both, goal)(trajectory, torch.zeros(1, 7, 9, 1)), expected)
    one = touching_cost(heads[0], GOAL)(trajectory[..., :2], torch.zeros(1, 7, 9, 1))
    alone = heads[0](trajectory[..., :2], GOAL[:, None, None]) + LATENT_STEPS * (trajectory[..., :2] - GOAL).square().sum(-1)
    torch.testing.assert_close(one, alone.amin(-1))


def test_where_logs_know_a_way_latents_and_steps_count() -> None:
    trajectory, actions = torch.tensor([[0.0, -1.0]]).expand(1, 1, 5, 2), torch.zeros(1, 1, 5, 1)
    assert reaching_cost(DISTANCE, GOAL)(trajectory, actions).item() == 5 * (9 + 3)


def test_steps_to_a_goal_are_those_of_the_distance() -> None:
    latents = torch.tensor([[0.0, 0.0], [3.0, -1.0]])
    assert steps_to(DISTANCE, GOAL)(latents).tolist() == [4.0, 0.0]
