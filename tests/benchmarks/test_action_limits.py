"""The count of violations, in small: it goes through every planner of a task."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.action_limits import Tally, drive, random_task, violations

from benchmarks import action_limits
from tacit.planning.plan_settings import PLANNERS


@pytest.mark.parametrize("planner", PLANNERS)
def test_no_planner_makes_a_controller_break_a_limit(planner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_limits, "PLANNERS", (planner,))
    tally, rng = Tally(actions={}, by_planner={}, violations={}), np.random.default_rng(0)
    while not tally.by_planner.get(planner):
        drive(rng, 2, tally)
    assert not any(tally.violations.values())


def test_a_violation_is_counted() -> None:
    schema, task, _ = random_task(np.random.default_rng(0))
    still = np.stack([np.concatenate([np.full(s.size, (s.low + s.high) / 2, np.float32) for s in schema.actions])] * 4)[:, None]
    assert violations(schema, task, still)["box"] == 0
    assert violations(schema, task, still + np.float32(1e6))["box"] == 2 * len(schema.actions), "of four, the first two were applied before"
