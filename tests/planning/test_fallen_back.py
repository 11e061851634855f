"""The fallback that a task names: in a controller by itself, and around one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from tacit.planning import Fallback, PIDSettings, RampSettings, RetreatSettings, SafeSettings, Task
from tacit.planning.fallbacks import WithoutPlan
from tacit.planning.fallen_back import FallenBack, fallback_of
from tacit.signals import Role, Schema, Signal

SCHEMA = Schema(
    signals=(
        Signal(name="level", role=Role.OBSERVATION, unit="m"),
        Signal(name="pump", role=Role.ACTION, low=0.0, high=1.0),
        Signal(name="valves", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),
    ),
    period=0.5,
)
PAST = [[0.1, 0.0, 0.2], [0.3, 0.5, -0.2]]
SETTINGS = (
    (Fallback.HOLD, [PAST[1], PAST[1]]),
    (Fallback.ZERO, [[0.0] * 3, [0.0] * 3]),
    (SafeSettings(action={"pump": 0.2, "valves": (0.4, -0.4)}), [[0.2, 0.4, -0.4]] * 2),
    (RampSettings(action={"pump": 0.5, "valves": 0.0}, seconds=1.0), [[0.4, 0.25, -0.1], [0.5, 0.0, 0.0]]),
    (RetreatSettings(by="set_points"), [PAST[1], PAST[0]]),
    (RetreatSettings(by="moves"), [[0.0] * 3, [-v for v in PAST[1]]]),
    (RetreatSettings(by="moves", seconds=0.5), [[0.0] * 3, [-v for v in PAST[1]]]),
    (PIDSettings(signal="level", set_point=2.0, action="valves", element=1, proportional=-0.1, integral=-0.2), [PAST[1], [0.3, 0.5, -0.3]]),
)


@pytest.mark.parametrize(("settings", "expected"), SETTINGS, ids=lambda value: str(value)[:20])
def test_a_task_names_what_is_done(settings: Fallback, expected: list[list[float]]) -> None:
    task = Task(fallback=settings)
    task.check(SCHEMA)
    fallen = FallenBack(lambda: fallback_of(task, SCHEMA), SCHEMA, 2)
    plan = torch.full((2, 3), 0.7)
    applied = torch.tensor([[PAST[0]] * 2, [PAST[1]] * 2], dtype=torch.float32)
    for actions in applied:
        fallen.applied(actions)
    for wanted in expected:
        given = fallen.actions([False, True], {"level": np.array([0.0, 1.0], np.float32)}, plan)
        assert given[0].tolist() == plan[0].tolist()  # the other machine follows its plan
        np.testing.assert_allclose(given[1].numpy(), wanted, atol=1e-6)
        fallen.applied(given)


@dataclass
class Counted:
    """Counts how often it takes over."""

    begun: list[int] = field(default_factory=list)
    words: str = "counting"

    def begin(self, past: object) -> None:
        self.begun.append(1)

    def act(self, observation: object, last: np.ndarray) -> np.ndarray:
        return last


def test_a_fallback_begins_anew_only_where_there_was_a_plan_between() -> None:
    counted = Counted()
    make: WithoutPlan = counted
    fallen = FallenBack(lambda: make, SCHEMA, 1)
    for is_fallen in (True, True, False, True):
        fallen.applied(torch.zeros(1, 3))
        fallen.actions([is_fallen], {}, torch.zeros(1, 3))
        fallen.recovered([not is_fallen])
    assert len(counted.begun) == 2


def test_a_sensor_that_is_missing_is_no_number() -> None:
    schema = Schema(
        signals=(
            Signal(name="level", role=Role.OBSERVATION),
            Signal(name="level.valid", role=Role.OBSERVATION, dtype="bool"),
            Signal(name="pump", role=Role.ACTION, low=0.0, high=1.0),
        )
    )
    task = Task(fallback=PIDSettings(signal="level", set_point=2.0, action="pump", proportional=0.1))
    fallen = FallenBack(lambda: fallback_of(task, schema), schema, 1)
    fallen.applied(torch.tensor([[0.3]]))
    shown = {"level": np.zeros(1, np.float32), "level.valid": np.zeros(1, np.bool_)}
    assert fallen.actions([True], shown, torch.zeros(1, 1)).tolist() == [[pytest.approx(0.3)]]
