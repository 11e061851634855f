"""A run makes the decisions of a ledger again, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tacit
from point_world import recipe, record, sensed
from tacit import Goal, Run, Task
from tacit.assurance import Hold, Ledger, LedgerError, Session, Supervising, Supervision, Supervisor
from tacit.planning import Fallback, PlanSettings
from tacit.run_replay import replayed, supervisor_again
from tacit.training.fit import fit

HERE, THERE = np.array([-0.8, 0.3]), np.array([0.8, -0.5])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = tmp_path_factory.mktemp("run")
    made = recipe(steps=20, head_steps=20)
    fit(record(base / "store", episodes=8, steps=20), base / "run", replace(made, policy=replace(made.policy, steps=20)), seed=0)
    return tacit.load(base / "run")


@pytest.fixture(scope="module")
def session(run: Run) -> Session:
    plan = PlanSettings(horizon=4, candidates=16, iterations=2)
    return run.session(Task(goal=Goal(observations={"sensors": sensed(THERE)}), plan=plan, fallback=Fallback.ZERO))


def write(run: Run, session: Session, path: Path, **options: object) -> None:
    """Five supervised decisions, one of them too late, one without a sensor."""
    times = iter([0.0, 0.01, 1.0, 1.01, 2.0, 2.2, 3.0, 3.01, 4.0, 4.01])  # when a decision began, and when the plan was there
    with Ledger(path, session) as ledger:
        supervisor = Supervisor(
            run.controller_of(session),
            supervision=Supervision(deadline=0.05),
            ledger=ledger,
            clock=lambda: next(times),
            **options,  # type: ignore[arg-type]
        )
        supervisor.reset()
        for step in range(5):
            supervisor.act({"sensors": sensed(HERE) if step != 3 else np.full_like(sensed(HERE), np.nan)})


def test_supervised_decisions_come_out_again(run: Run, session: Session, tmp_path: Path) -> None:
    write(run, session, tmp_path / "ledger")
    told: list[int] = []
    found = replayed(run, tmp_path / "ledger", progress=told.append)
    assert (found.same, found.difference) == (5, None)
    assert told == [1, 2, 3, 4, 5]


def test_what_the_ledger_does_not_have_is_refused(run: Run, session: Session, tmp_path: Path) -> None:
    write(run, session, tmp_path / "ledger", fallback=Hold())
    with pytest.raises(LedgerError, match="had a fallback of its own"):
        replayed(run, tmp_path / "ledger")
    with pytest.raises(ValueError, match="is another run"):
        supervisor_again(
            run, replace(session, model="ab" * 32), Supervising(time=0.0, supervision=Supervision(), monitor=None, fallback=None)
        )
