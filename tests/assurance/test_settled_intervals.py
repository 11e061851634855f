"""Intervals in a run's folder belong to all of a task that makes other plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tacit.assurance import Interval
from tacit.assurance.intervals import key_of, read_intervals, write_intervals
from tacit.planning import Goal, Indicator, SignalGoal, SignalLimit, Task, for_signals

HELD = Goal(signals={"level": SignalGoal(value=1.0)})
TASK = Task(goal=HELD, signals={"level": SignalLimit(high=2.0, confidence=0.9)}, plan=for_signals(horizon=3))


@pytest.mark.parametrize(
    "other",
    [
        Goal(signals={"level": SignalGoal(value=1.0, weight=9.0)}),
        Goal(signals={"level": SignalGoal(low=0.0, high=1.0)}),
        Goal(signals=HELD.signals, indicators=(Indicator(name="level", terms={"level": 1.0}, maximise=True),)),
        Goal(signals=HELD.signals, moves={"pump": 0.0}),
    ],
)
def test_a_goal_that_pushes_otherwise_has_no_interval_yet(other: Goal, tmp_path: Path) -> None:
    interval = Interval(scale=(1.0, 2.0, 4.0), factor=0.5, reach=10.0, applied=1)
    write_intervals(tmp_path, TASK, "ab" * 32, {"level": interval})
    assert read_intervals(tmp_path, TASK, "ab" * 32) == {"level": interval}
    assert not read_intervals(tmp_path, replace(TASK, goal=other), "ab" * 32)


def test_another_setpoint_or_goal_image_is_the_same_task() -> None:
    assert key_of(replace(TASK, goal=Goal(signals={"level": SignalGoal(value=1.5)})), "ab" * 32) == key_of(TASK, "ab" * 32)
    seen = replace(TASK, goal=Goal(observations={"image": np.zeros((2, 2, 3), np.uint8)}))
    assert key_of(seen, "ab" * 32) == key_of(replace(TASK, goal=None), "ab" * 32)
