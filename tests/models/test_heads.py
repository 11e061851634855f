"""Heads: what they see, in which units they answer."""

from __future__ import annotations

import torch

from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance, pair

CONFIG = HeadConfig(width=16, depth=2)


def test_a_pair_is_the_latent_the_goal_and_their_difference() -> None:
    latent, goal = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 1.0]])
    assert pair(latent, goal).tolist() == [[1.0, 2.0, 5.0, 1.0, -4.0, 1.0]]


def test_distance_is_in_steps_and_never_negative() -> None:
    torch.manual_seed(0)
    distance = TemporalDistance(4, CONFIG, scale=10.0)
    steps = distance(50 * torch.randn(2, 300, 4), 50 * torch.randn(2, 300, 4))
    assert (steps.shape, steps.dtype) == ((2, 300), torch.float32)
    assert steps.min() >= 0
    one, ten = (TemporalDistance(4, CONFIG, scale=scale) for scale in (1.0, 10.0))
    ten.load_state_dict(one.state_dict())
    latent, goal = torch.randn(5, 4), torch.randn(5, 4)
    torch.testing.assert_close(ten(latent, goal), 10 * one(latent, goal))


def test_distance_in_bfloat16_answers_in_float32() -> None:
    torch.manual_seed(0)
    distance = TemporalDistance(4, CONFIG)
    latent, goal = torch.randn(5, 4), torch.randn(5, 4)
    exact = distance(latent, goal).detach()
    rough = distance.to(torch.bfloat16)(latent, goal).detach()
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)


def test_policy_answers_in_physical_units() -> None:
    torch.manual_seed(0)
    policy = GoalPolicy(4, 2, 3, CONFIG)
    history, goal = torch.randn(5, 3, 4), torch.randn(5, 4)
    (standard, spread), log_std = policy.distribution(history, goal), policy.standardized(history, goal)[1]
    torch.testing.assert_close(spread, log_std.exp())
    policy.actions.set(torch.tensor([300.0, -1.0]), torch.tensor([20.0, 0.5]))
    torch.testing.assert_close(policy(history, goal), standard * torch.tensor([20.0, 0.5]) + torch.tensor([300.0, -1.0]))
    torch.testing.assert_close(policy.distribution(history, goal)[1], spread * torch.tensor([20.0, 0.5]))


def test_policy_sees_where_it_comes_from() -> None:
    torch.manual_seed(0)
    policy = GoalPolicy(4, 2, 2, CONFIG)
    history, goal = torch.randn(5, 2, 4), torch.randn(5, 4)
    other = history.clone()
    other[:, 0] += 1.0
    assert (policy(history, goal) != policy(other, goal)).all()
