"""A session comes back as it was, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from driven_point import session

from tacit.assurance import Session
from tacit.planning import ActionLimit, Fallback, Goal, PIDSettings, PlanSettings, RampSettings, RetreatSettings, SafeSettings, Task


def written(told: Session) -> dict[str, object]:
    return json.loads(json.dumps(told.to_json()))


def test_comes_back_with_its_task() -> None:
    task = Task(
        goal=Goal(observations={"state": np.array([0.1, np.pi], np.float32)}),
        limits={"velocity": ActionLimit(low=(-0.5, -0.3), high=0.25)},
        plan=PlanSettings(planner="mppi", deadline_ms=20.0),
        fallback=Fallback.ZERO,
    )
    told = replace(session(seed=7, limits=("ceiling",)), task=task, cost="latent_cost")
    back = Session.from_json(written(told))
    assert back.task.plan == task.plan
    assert back.task.limits == task.limits
    assert back.task.fallback is Fallback.ZERO
    assert back.task.goal.observations["state"].tobytes() == task.goal.observations["state"].tobytes()
    assert back.schema == told.schema
    assert (back.seed, back.cost, back.limits, back.threads, back.machine) == (7, "latent_cost", ("ceiling",), told.threads, told.machine)
    assert back.task_digest == told.task_digest
    assert back.build == told.build
    assert {"torch", "numpy", "scipy", "osqp"} <= set(back.build), "whatever computes a plan"
    assert back.build["torch"] == torch.__version__.split("+")[0] or back.build["torch"] == torch.__version__
    assert Session.from_json(written(replace(told, task=Task()))).task.goal is None


@pytest.mark.parametrize(
    "fallback",
    [
        SafeSettings(action={"velocity": (0.1, -0.2)}),
        RampSettings(action={"velocity": 0.0}, seconds=3.0),
        PIDSettings(signal="state", set_point=0.3, action="velocity", element=1, proportional=2.0),
        RetreatSettings(by="moves", seconds=4.0),
        RetreatSettings(by="set_points"),
    ],
)
def test_a_fallback_comes_back_with_its_settings(fallback: SafeSettings | RampSettings | PIDSettings | RetreatSettings) -> None:
    told = replace(session(), task=Task(fallback=fallback))
    back = Session.from_json(written(told))
    assert back.task.fallback == fallback
    assert back.task_digest == told.task_digest


@pytest.mark.parametrize(
    "task",
    [
        Task(goal=Goal(observations={"state": np.array([0.5, -0.3001], np.float32)})),
        Task(plan=PlanSettings(horizon=6)),
        Task(limits={"velocity": ActionLimit(high=0.5)}),
        Task(fallback=Fallback.ZERO),
        Task(fallback=RetreatSettings(by="moves")),
    ],
)
def test_another_task_has_another_digest(task: Task) -> None:
    plain = Task(goal=Goal(observations={"state": np.array([0.5, -0.3], np.float32)}))
    assert replace(session(), task=task).task_digest != replace(session(), task=plain).task_digest


def test_a_task_that_would_be_read_otherwise_is_refused() -> None:
    values = written(session())
    with pytest.raises(ValueError, match="reads another task than was written"):
        Session.from_json({**values, "task_digest": "0" * 64})
    for task in ({**values["task"], "mood": 1}, {**values["task"], "plan": {"horizon": "long"}}):
        with pytest.raises(ValueError, match="cannot read the session"):
            Session.from_json({**values, "task": task})
