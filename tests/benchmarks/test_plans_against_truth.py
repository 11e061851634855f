"""What is looked at of a plan, and how it is summed up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import plans_against_truth as bench
from tacit.planning import PlanSettings


def a_round(costs: list[list[float]]) -> bench.Round:
    values = torch.tensor(costs)
    return bench.Round(latents=torch.zeros(*values.shape, 3, 2), actions=torch.zeros(*values.shape, 3, 1), costs=values)


def test_the_best_suggestion_is_of_the_first_round_and_the_plan_of_any() -> None:
    first, second = a_round([[3.0, 2.0, 4.0], [1.0, 5.0, 6.0]]), a_round([[9.0, 8.0, 1.5], [7.0, 7.0, 7.0]])
    for scene, plan in ((0, ("chosen", second, 2)), (1, ("chosen", first, 0))):
        *by_chance, best, chosen = bench.looked_at([first, second], scene, np.random.default_rng(0))
        assert len({k for _, scored, k in by_chance if scored is first}) == 2
        assert best == ("best suggestion", first, 1 - scene)
        assert chosen == plan


def test_only_scenes_that_are_kept_count() -> None:
    rows = [(scene, [10.0 * scene, 20.0 * scene, 1.0, 2.0, 3.0 + scene]) for scene in range(4)]
    found = bench.summed(rows, np.array([True, True, False, True]))
    assert found["plans"] == 3
    assert (found["cost_foretold"], found["cost_shown"], found["correlation"]) == (10.0, 20.0, 1.0)
    assert found["squared_error"] == {"5": 1.0, "10": 2.0, "25": 4.33}
    assert bench.summed(rows, np.zeros(4, dtype=bool)) == {}


@pytest.mark.parametrize("plan", [PlanSettings(planner="icem", horizon=25), PlanSettings(horizon=5)])
def test_a_planner_that_follows_something_else_is_refused(plan: PlanSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "planning_for", lambda run, protocol: plan)
    manifest = SimpleNamespace(protocol=SimpleNamespace(world="cube"), scenes=())
    with pytest.raises(ValueError, match=f"cube is planned with '{plan.planner}' over {plan.horizon} steps"):
        bench.measured(SimpleNamespace(), manifest, 0)  # type: ignore[arg-type]
