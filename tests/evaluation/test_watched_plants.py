"""Watched plants side by side: scores are of what was planned and what the sensors then showed, the last moment too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from tacit.assurance import Interval
from tacit.cli.evaluate_plant import plant_task
from tacit.contracts import Deadline, Plan, Problem, Spent
from tacit.evaluation.closed_loop import Scenario
from tacit.evaluation.watched_plants import drive_watched
from tacit.planning import Controller, LatentDistance, StateLimit, Verdict, signal_objective
from tacit.worlds.plants import SimulatedPlant
from tacit.worlds.plants.four_tank import FOUR_TANK

HIGH, STEPS = 13.0, 12


class Stuck:
    """Latents are what the level sensors show; in its predictions no level ever changes."""

    schema = SimulatedPlant(FOUR_TANK).schema.without_labels()
    history, latent_size = 1, 2

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        return torch.stack((observations["level_1"], observations["level_2"]), -1).float()

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return history[:, -1]

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:].expand(-1, *actions.shape[1:3], -1)


class Levels:
    """Reads both."""

    names, unit = ("level_1", "level_2"), "cm"

    def __call__(self, latent: Tensor) -> Tensor:
        return latent


class Full:
    """Plans pump 1 at 5 V, whatever the level."""

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        batch = len(problem.history)
        actions = torch.tensor([5.0, 3.0]).expand(batch, problem.horizon, 2)
        fine, [limit] = torch.ones(batch, dtype=torch.bool), problem.limits
        trajectory = problem.history[:, -1:].expand(-1, problem.horizon, -1)
        margins = limit(trajectory[:, None], actions[:, None])
        spent = Spent(seconds=0.0, iterations=1, candidates=1, cut_by_deadline=False)
        return Plan(actions=actions, trajectory=trajectory, cost=torch.zeros(batch), margins=margins, feasible=fine, spent=spent)


def controller() -> Controller:
    model, task = Stuck(), plant_task(SimulatedPlant(FOUR_TANK))
    limit = StateLimit(
        name="level_1",
        read=lambda latent: latent[..., :1],
        inside=lambda channels: HIGH - channels[..., 0],
        tightening=torch.zeros(task.plan.horizon),
        channels=("level_1",),
        unit="cm",
    )
    objective = signal_objective(task, model.schema, {"levels": Levels()})
    return Controller(
        model=model, planner=Full(), cost_for=lambda goal: LatentDistance(goal=goal), task=task, limits=(limit,), objective=objective
    )


def scenario(seed: int, steps: int = STEPS) -> Scenario:
    return Scenario(name=str(seed), seed=seed, steps=steps, setpoints={0: {"level_1": 12.4, "level_2": 12.7}, seed: {"level_1": 13.0}})


def test_the_score_is_the_largest_rise_that_was_not_predicted() -> None:
    horizon = plant_task(SimulatedPlant(FOUR_TANK)).plan.horizon
    interval = Interval(scale=(0.5,) * horizon, factor=0.0, reach=10.0, applied=1)
    plants = [SimulatedPlant(FOUR_TANK, noise=0.0) for _ in range(3)]
    found = drive_watched(plants, controller(), [scenario(seed) for seed in (3, 5, 7)], {"level_1": interval})
    assert found.truth["level_1"].shape == (3, STEPS + 1)
    assert found.verdicts == {Verdict.ACT: 3 * STEPS}
    np.testing.assert_array_equal(found.setpoints["level_1"][1], [12.4] * 5 + [13.0] * 7)
    rises = np.diff(found.truth["level_1"], axis=1)
    assert (rises[:, -1] > 0.1).all(), "the level goes on rising to the end"
    np.testing.assert_allclose(found.scores["level_1"], rises.max(1) / 0.5, atol=0.021 / 0.5)  # the sensor shows steps of 0.02 cm


def test_the_moment_after_the_last_action_is_watched() -> None:
    interval = Interval(scale=(0.5,) * 30, factor=0.0, reach=10.0, applied=1)
    plants = [SimulatedPlant(FOUR_TANK, noise=0.0)]
    found = drive_watched(plants, controller(), [scenario(3, steps=1)], {"level_1": interval})
    assert found.scores["level_1"].shape == (1,)
    assert found.scores["level_1"][0] == pytest.approx(2 * np.diff(found.truth["level_1"][0])[0], abs=0.021 / 0.5)
    assert found.scores["level_1"][0] > 0


def test_each_plant_needs_a_scenario_of_the_same_length() -> None:
    plants = [SimulatedPlant(FOUR_TANK) for _ in range(2)]
    for wrong in ([scenario(3)], [scenario(3), scenario(4, steps=5)]):
        with pytest.raises(ValueError, match="a scenario for each plant, all of one length"):
            drive_watched(plants, controller(), wrong, {})
