"""Goals on signals in a ledger: decisions come out again with setpoints that changed and errors that were learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from driven_point import SCHEMA, Point
from torch import Tensor

from tacit.assurance import Ledger, Made, Recorded, Session
from tacit.assurance.replay import entries, replay
from tacit.assurance.supervisor import Supervisor
from tacit.contracts import Planner
from tacit.planning import (
    Controller,
    Goal,
    Indicator,
    SignalGoal,
    Task,
    for_signals,
    output_disturbance,
    planner_for,
    signal_objective,
)

GOAL = Goal(
    signals={"state.0": SignalGoal(value=0.5, scale=0.1), "state.1": SignalGoal(low=-0.2, high=0.2, weight=2.0, scale=1.0)},
    indicators=(Indicator(name="speed", terms={"velocity": (0.5, 0.25)}, unit="m/s"),),
    moves={"velocity": 0.3},
)
SESSION = Session(model="ab" * 32, schema=SCHEMA, task=Task(goal=GOAL, plan=for_signals(horizon=6, iterations=2)))


@dataclass(frozen=True)
class State:
    names: tuple[str, ...] = ("state.0", "state.1")
    unit: str = "m"

    def __call__(self, latent: Tensor) -> Tensor:
        return latent


def make(session: Session, around: Callable[[Planner], Planner] = lambda planner: planner) -> Controller:
    model, readouts = Point(gain=0.06), {"state": State()}
    return Controller(
        model=model,
        planner=around(planner_for(model, session.task.plan, seed=session.seed)),
        cost_for=lambda goal: None,  # type: ignore[arg-type,return-value]
        task=session.task,
        objective=signal_objective(session.task, session.schema, readouts),
        disturbance=output_disturbance(session.task, model, readouts),
    )


def drive(actor: Recorded | Supervisor, changes: Mapping[int, float], steps: int = 12) -> np.ndarray:
    rng, state = np.random.default_rng(0), np.zeros(2)
    for step in range(steps):
        if step in changes:
            actor.retarget({"state.0": changes[step]})
        state = state + 0.1 * actor.act({"state": state}).action + 0.01 * rng.normal(size=2) + [0.02, 0.0]
    return state


def test_the_task_is_read_back_as_it_was() -> None:
    again = Session.from_json(SESSION.to_json())
    assert again.task.goal is not None
    assert again.task.goal.signals == GOAL.signals
    assert again.task.goal.indicators == GOAL.indicators
    assert again.task.goal.moves == GOAL.moves


def test_decisions_come_out_again_with_the_setpoints_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "plant.ledger"
    with Ledger(path, SESSION) as ledger:
        actor = Recorded(make(SESSION), ledger)
        drive(actor, {4: 0.1, 8: -0.3})
        actor.reset()
        drive(actor, {0: 0.2})
    found = replay(path, make)
    assert (found.same, found.skipped, found.difference) == (24, 0, None)
    made = [entry for entry in entries(path) if isinstance(entry, Made)]
    assert made[7].evidence["disturbance.state.0"] != 0, "what was learned is in the evidence"


def test_a_ledger_without_the_change_would_not_replay(tmp_path: Path) -> None:
    """So that the test above cannot pass by accident."""
    path = tmp_path / "plant.ledger"
    with Ledger(path, SESSION) as ledger:
        controller = make(SESSION)
        actor = Recorded(controller, ledger)
        drive(actor, {}, steps=3)
        controller.retarget({"state.0": -0.5})  # behind the ledger's back
        actor.act({"state": np.zeros(2)})
    assert replay(path, make).difference is not None


def test_a_supervisor_passes_setpoints_on_and_notes_them(tmp_path: Path) -> None:
    path = tmp_path / "plant.ledger"
    with Ledger(path, SESSION) as ledger:
        state = drive(Supervisor(make(SESSION), ledger=ledger), {10: -0.4}, steps=60)
    assert state[0] == pytest.approx(-0.4, abs=0.1)
    assert [e.setpoints["state.0"].item() for e in entries(path) if e.kind == "setpoints"] == [-0.4]  # type: ignore[union-attr]


def test_digests_are_kept_where_inputs_are_not(tmp_path: Path) -> None:
    path = tmp_path / "plant.ledger"
    with Ledger(path, replace(SESSION, seed=1), inputs="digest") as ledger:
        drive(Recorded(make(SESSION), ledger), {2: 0.4}, steps=4)
    (changed,) = (entry for entry in entries(path) if entry.kind == "setpoints")
    assert not isinstance(changed.setpoints["state.0"], np.ndarray)  # type: ignore[union-attr]
