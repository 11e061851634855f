"""A watched controller in Two Rooms: its scores are of what it planned and what the sensor then showed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from two_room_policies import seen_position

from tacit.assurance import Interval
from tacit.evaluation.protocol import Protocol, draw_manifest, run
from tacit.evaluation.watched import WatchedPolicy
from tacit.planning import Controller, Fallback, LatentDistance, PlanSettings, StateLimit, Task, Verdict, planner_for
from tacit.worlds.two_room import SCHEMA


class Boastful:
    """Latents are positions; in its predictions the dot gets one pixel further to the right than it does, in every step."""

    schema = SCHEMA.without_labels()
    history, latent_size = 1, 2

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return torch.from_numpy(seen_position(observations["image"].numpy())).float()

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return history[:, -1] + action

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:] + (actions + torch.tensor([1.0, 0.0])).cumsum(2)


def seen(observations: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float64]:
    return seen_position(observations["image"])


@pytest.mark.parametrize("has_limit", [True, False])
def test_scores_are_the_worst_flattery_of_each_episode(has_limit: bool) -> None:
    """Also of a controller that is free of the limit, for what it would have needed."""
    model = Boastful()
    task = Task(plan=PlanSettings(horizon=5, candidates=8, replan_every=3), fallback=Fallback.ZERO)
    right = StateLimit(
        name="right", read=lambda latent: latent, inside=lambda channels: channels[..., 0], tightening=torch.zeros(5), unit="px"
    )
    interval = Interval(scale=(1.0, 2.0, 4.0, 4.0, 4.0), factor=0.0, reach=100.0, applied=3)
    controller = Controller(
        model=model,
        planner=planner_for(model, task.plan),
        cost_for=lambda goal: LatentDistance(goal=goal),
        task=task,
        limits=(right,) if has_limit else (),
    )
    policy = WatchedPolicy(controller, (right,), {"right": interval}, {"right": seen})
    outcome = run(draw_manifest(Protocol(world="two_room", episodes=5, budget=8, seed=1)), policy, batch=3, keep=range(5))
    scores = policy.scores()["right"]
    assert scores.shape == (5,)
    assert policy.verdicts == {Verdict.ACT: 40}
    free = np.array([abs(np.diff(t.labels["position"], axis=0) - t.actions).max() < 1e-3 for t in outcome.traces])
    assert free.any()
    np.testing.assert_allclose(scores[free], 1.0, atol=0.1)  # 1 over 1, 2 over 2, 3 over 4
    assert (scores > 0.9).all(), "a wall in the way only makes it worse"
