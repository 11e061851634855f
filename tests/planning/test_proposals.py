"""Proposals, in a linear world where what a policy does can be followed by hand."""

from __future__ import annotations

import torch
from linear_worlds import LinearWorld
from torch import Tensor

from tacit.contracts import Proposal
from tacit.planning import ImaginedPolicy

GOAL = torch.tensor([[1.0, 0.0], [0.0, -1.0]])


def towards(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    return 5 * (goal - history[:, -1]), torch.full_like(goal, 0.2)


def proposal(**settings: float) -> ImaginedPolicy:
    return ImaginedPolicy(model=LinearWorld(history=2), policy=towards, goal=GOAL, **settings)


def proposed(made: ImaginedPolicy, count: int = 5, seed: int = 0) -> Tensor:
    return made(torch.zeros(2, 2, 2), 6, count, torch.Generator().manual_seed(seed))


def test_the_first_one_is_the_policy_itself_step_by_step() -> None:
    made = proposal()
    assert isinstance(made, Proposal)
    actions = proposed(made)
    assert actions.shape == (2, 5, 6, 2)
    state = torch.zeros(2, 2)
    for step in range(6):
        expected = 5 * (GOAL - state)
        torch.testing.assert_close(actions[:, 0, step], expected)
        state = state + 0.1 * expected


def test_the_others_stray_within_the_spread_the_later_ones_more() -> None:
    first = proposed(proposal(stray=2.0), 3000)[:, :, 0]
    off = (first - first[:, :1]) / 0.2
    scale = torch.linspace(0, 2, 3000)[None, :, None]
    assert (off[:, 1:] / scale[:, 1:]).std() - 1 < 0.05
    assert off[:, 2500:].std() > 2 * off[:, :1000].std()


def test_straying_is_smooth_in_time() -> None:
    def correlation(rho: float) -> float:
        actions = proposed(
            ImaginedPolicy(model=LinearWorld(history=2, effect=torch.zeros(2, 2)), policy=towards, goal=GOAL, correlation=rho), 4000
        )
        off = (actions - actions[:, :1])[:, 1:] / torch.linspace(0, 2, 4000)[None, 1:, None, None]
        return float(torch.corrcoef(torch.stack((off[:, :, 2].flatten(), off[:, :, 3].flatten())))[0, 1])

    assert abs(correlation(0.9) - 0.9) < 0.02
    assert abs(correlation(0.0)) < 0.03


def test_a_policy_that_needs_history_gets_it_oldest_first() -> None:
    seen: list[Tensor] = []

    def policy(history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(history)
        return torch.ones_like(goal), torch.zeros_like(goal)

    made = ImaginedPolicy(model=LinearWorld(history=3), policy=policy, goal=GOAL[:1])
    made(torch.tensor([[[-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]]), 3, 1, torch.Generator())
    torch.testing.assert_close(seen[2][0, :, 0], torch.tensor([0.0, 0.1, 0.2]))


def test_the_same_seed_proposes_the_same() -> None:
    assert torch.equal(proposed(proposal()), proposed(proposal()))
    assert not torch.equal(proposed(proposal()), proposed(proposal(), seed=1))
