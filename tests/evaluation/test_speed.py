"""The speed of planning: operations are counted, not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from point_world import recipe, record
from tacit import load
from tacit.evaluation.speed import plan_speed
from tacit.planning import PlanSettings
from tacit.run import Run
from tacit.training.fit import fit

HORIZON = 6
# `Run.arrival_cost` looks at the first and the last of six moments, at the first again, and, near the goal, at every other one.
LOOKS = 2 + 1 + 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("speed")
    fit(record(folder / "logs"), folder / "run", recipe(steps=3, head_steps=3))
    return load(folder / "run")


def products(module: torch.nn.Module) -> int:
    """Operations of one row through a network."""
    return sum(2 * layer.in_features * layer.out_features for layer in module.modules() if isinstance(layer, torch.nn.Linear))


def test_the_operations_of_a_plan_grow_with_candidates_as_the_networks_say(run: Run) -> None:
    """Twice the candidates, twice the rows in both networks: the goal is embedded before, and noise that is not correlated costs none."""

    def flops(candidates: int) -> int:
        return plan_speed(run, PlanSettings(horizon=HORIZON, candidates=candidates, iterations=1), calls=2, warm_up=1).flops

    per_candidate = HORIZON * products(run.model.predictor) + products(run.distance) * LOOKS
    assert flops(64) - flops(32) == 32 * per_candidate


def test_numbers_are_consistent(run: Run) -> None:
    speed = plan_speed(run, PlanSettings(horizon=HORIZON, candidates=32, replan_every=3, deadline_ms=50.0), calls=5, warm_up=1)
    numbers = speed.numbers()
    assert len(speed.plan_ms) == len(speed.encode_ms) == numbers["calls"] == 5
    assert (speed.settings.replan_every, speed.settings.deadline_ms) == (1, None), "every call makes a whole plan"
    assert 0 < speed.share_of_floor < 1
    assert speed.floor_ms == pytest.approx(1e3 * speed.flops / speed.flops_per_second)
    assert numbers["plan_ms_p50"] <= numbers["plan_ms_p99"]


def test_progress_counts_plans(run: Run, tmp_path: Path) -> None:
    told: list[int] = []
    plan_speed(run, PlanSettings(horizon=2, candidates=8), calls=3, warm_up=2, progress=told.append)
    assert told == [1, 2, 3, 4, 5]
