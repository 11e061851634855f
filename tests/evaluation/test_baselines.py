"""Floors and adapters: blind ones stay blind, cloning and planning stay inside the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from two_room_policies import OpenFloor

from tacit.evaluation.baselines import CloningPolicy, NoOpPolicy, PlannedPolicy, RandomPolicy
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import Protocol, draw_manifest, run
from tacit.planning import Controller, PlanSettings, Task, TerminalLatentDistance, Verdict, planner_for
from tacit.signals import Role, Schema, Signal
from tacit.worlds import world
from tacit.worlds.two_room import MAX_NORM

GOALS = {"image": np.zeros((3, 64, 64, 3), np.uint8)}
EASY = draw_manifest(Protocol(world="two_room", episodes=10, budget=30, seed=0, hard_share=0.0))
HARD = draw_manifest(Protocol(world="two_room", episodes=20, budget=60, seed=0, hard_share=1.0))


def test_random_actions_are_those_of_the_recorder_and_blind() -> None:
    policy = RandomPolicy(world("two_room"), block=10)
    policy.reset(GOALS, seed=1)
    actions = np.stack([policy.act(GOALS) for _ in range(25)])
    assert actions.shape == (25, 3, 2)
    assert np.hypot(*actions.reshape(-1, 2).T.astype(float)).max() <= MAX_NORM * (1 + 1e-6)
    assert len(np.unique(actions[..., 0])) == 75, "no block is repeated, and no two machines do the same"

    policy.reset({"image": GOALS["image"] + 99}, seed=1)
    again = np.stack([policy.act({"image": GOALS["image"] + t}) for t in range(25)])
    assert np.array_equal(actions, again)
    policy.reset(GOALS, seed=2)
    assert not np.array_equal(policy.act(GOALS), actions[0])

    expected = world("two_room").wander(10, np.random.default_rng(np.random.SeedSequence(1).spawn(3)[2]))
    assert np.array_equal(actions[:10, 2], expected)


def test_doing_nothing_is_the_nearest_action_to_zero() -> None:
    schema = Schema(
        signals=(
            Signal(name="push", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),
            Signal(name="coolant", role=Role.ACTION, unit="K", low=280.0, high=370.0),
        )
    )
    policy = NoOpPolicy(schema)
    policy.reset(GOALS, seed=0)
    assert policy.act(GOALS).tolist() == [[0.0, 0.0, 280.0]] * 3


def towards(history: Tensor, goal: Tensor) -> Tensor:
    return 10 * (goal - history[:, -1])


def test_cloning_follows_its_head_inside_the_limits() -> None:
    outcome = run(EASY, CloningPolicy(OpenFloor(), towards), keep=[0])
    assert outcome.success.all()
    assert np.linalg.norm(outcome.traces[0].actions.astype(float), axis=1).max() <= MAX_NORM
    straight = rates(run(HARD, CloningPolicy(OpenFloor(), towards)))
    assert straight.overall.rate < 0.7, "straight on ends at the wall"


def test_cloning_shows_its_head_what_came_before() -> None:
    seen: list[Tensor] = []

    def head(history: Tensor, goal: Tensor) -> Tensor:
        seen.append(history)
        return torch.zeros_like(goal)

    model = OpenFloor()
    model.history = 3
    policy = CloningPolicy(model, head)
    for _ in range(2):
        run(replace(EASY, protocol=replace(EASY.protocol, budget=4)), policy)
    assert [len(history) for history in seen] == [len(EASY.scenes)] * 8
    for begun in (0, 4):
        first, second = seen[begun : begun + 2]
        assert torch.equal(first, first[:, :1].expand(-1, 3, -1)), "the first observation stands for those before it, in every episode"
        assert torch.equal(second[:, :2], first[:, 1:])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_head_is_refused(bad: float) -> None:
    def head(history: Tensor, goal: Tensor) -> Tensor:
        return torch.full_like(goal, bad)

    with pytest.raises(ValueError, match="its training diverged"):
        run(EASY, CloningPolicy(OpenFloor(), head))


@pytest.fixture
def controller() -> Callable[[], Controller]:
    def make() -> Controller:
        model, settings = OpenFloor(), PlanSettings(horizon=4, candidates=64, iterations=2)
        planner = planner_for(model, settings, seed=5)
        return Controller(model=model, planner=planner, cost_for=lambda goal: TerminalLatentDistance(goal=goal), task=Task(plan=settings))

    return make


def test_a_controller_plans_for_every_episode_of_the_batch(controller: Callable[[], Controller]) -> None:
    policy = PlannedPolicy(controller())
    first = run(EASY, policy, batch=6)
    assert first.success.all()
    assert policy.verdicts == {Verdict.ACT: 10 * 30}
    again = run(EASY, PlannedPolicy(controller()), batch=6)
    assert np.array_equal(first.distance, again.distance)
