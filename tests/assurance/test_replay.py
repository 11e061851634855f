"""Decisions come out again bit for bit, and the first that does not is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driven_point import Ceiling, Maker, drive, session, write, write_with_gap

from tacit.assurance import Ledger, LedgerError, Made, Recorded, Session
from tacit.assurance.chain import records
from tacit.assurance.replay import entries, replay
from tacit.contracts import Planner
from tacit.planning import ActionLimit, Controller, LinearLimit, PlanSettings
from tacit.planning.plan_settings import PLANNERS
from tacit.planning.planner_kinds import KINDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine.ledger"


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_planner_decides_the_same_again(planner: str, path: Path) -> None:
    for seed in (0, 3):  # two sessions
        proposals = 0 if KINDS[planner].ways is None else 16
        plan = PlanSettings(planner=planner, horizon=5, candidates=16, proposals=proposals, iterations=3, replan_every=2)
        write(path, session(plan, seed=seed), steps=6)
    maker = Maker()
    found = replay(path, maker)
    assert (found.same, found.skipped, found.difference, found.builds) == (24, 0, None, ())
    assert [told.seed for told in maker.sessions] == [0, 3]


@pytest.mark.parametrize("planner", [name for name, kind in KINDS.items() if "iterations" in kind.takes])
def test_a_search_that_the_deadline_cut_is_cut_there_again(planner: str, path: Path) -> None:
    plan = PlanSettings(planner=planner, horizon=5, candidates=16, iterations=40, deadline_ms=4.0)
    write(path, session(plan), episodes=1, steps=12)
    spent = [entry.plan.spent for entry in entries(path) if isinstance(entry, Made)]
    assert any(s.cut_by_deadline for s in spent)
    found = replay(path, Maker())
    assert (found.same, found.difference) == (12, None)


def test_limits_that_count_from_applied_actions_are_counted_again(path: Path) -> None:
    """Rate, jerk and a combination are read from the ledger with the task, and the last two applied actions with the episode."""
    task = replace(
        session().task,
        limits={"velocity": ActionLimit(rate=[0.1, 0.2], jerk=0.05)},
        linear=(LinearLimit(name="both", weights={"velocity": (1.0, -0.5)}, at_most=0.3),),
    )
    with Ledger(path, replace(session(), task=task)) as ledger:
        actor = Recorded(Maker()(replace(session(), task=task)), ledger)
        for applied in ([[[0.2, 0.1], [0.25, 0.0]]], [[[1.2, 0.0]]]):
            actor.reset(applied=applied)
            drive(actor, 5)
    found = replay(path, Maker())
    assert (found.same, found.difference) == (10, None)


def test_missing_observations_and_told_actions_are_given_again(path: Path) -> None:
    with Ledger(path, session()) as ledger:
        actor = Recorded(Maker()(session()), ledger)
        for state, applied in (([0.0, 0.0], None), ([np.nan, 0.1], [0.2, 0.2]), ([0.1, 0.1], [np.inf, 0.0]), ([0.1, 0.0], None)):
            actor.act({"state": np.array(state)}, applied)
    found = [entry.verdict for entry in entries(path) if isinstance(entry, Made)]
    assert found == ["act", "fallback", "fallback", "act"]
    assert replay(path, Maker()).same == 4


def test_another_model_differs_where_it_first_matters(path: Path) -> None:
    write(path, episodes=1, steps=4)
    found = replay(path, Maker(gain=0.1001))
    assert found.same == 0
    assert (found.difference.step, found.difference.what) == (0, "the plan's trajectory")
    assert found.difference.recorded != found.difference.replayed


def test_another_seed_and_another_limit_differ(path: Path) -> None:
    write(path, episodes=1, steps=4)
    reseeded = Maker()
    assert replay(path, lambda told, around: reseeded(replace(told, seed=told.seed + 1), around)).difference.what == "the plan's actions"
    assert replay(path, Maker(limits=(Ceiling(bound=9.0),))).difference.what == "the plan's margins"


def test_a_last_bit_of_an_action_is_a_difference(path: Path) -> None:
    write(path, episodes=1, steps=4)

    class Off:
        """Nearly the same controller."""

        def __init__(self, controller: Controller) -> None:
            self.controller, self.calls, self.reset = controller, 0, controller.reset

        def act(self, observation: object, applied: object = None) -> object:
            self.calls += 1
            decision = self.controller.act(observation, applied)
            return replace(decision, action=np.nextafter(decision.action, np.float32(9))) if self.calls == 3 else decision

    def make(told: Session, around: Callable[[Planner], Planner]) -> Off:
        return Off(Maker()(told, around))

    found = replay(path, make)
    assert found.same == 2
    assert (found.difference.step, found.difference.what) == (2, "the action")
    assert found.difference.recorded != found.difference.replayed


def test_threads_are_those_of_the_session_and_afterwards_as_before(path: Path) -> None:
    write(path, replace(session(), threads=2), episodes=1, steps=1)
    seen = []

    def make(told: Session, around: Callable[[Planner], Planner]) -> Controller:
        seen.append(torch.get_num_threads())
        return Maker()(told, around)

    replay(path, make)
    assert (seen, torch.get_num_threads()) == ([2], 1)


def test_another_build_is_said(path: Path) -> None:
    told = session()
    older = {name: value for name, value in told.build.items() if name != "planning"}  # which nobody asked for then
    write(path, replace(told, build={**older, "torch": "0.1"}), episodes=1, steps=1)
    found = replay(path, Maker())
    assert found.builds == (("torch", "0.1", told.build["torch"]), ("planning", "nothing", told.build["planning"]))
    assert found.same == 1


def test_what_stands_behind_a_gap_is_skipped_until_the_next_session(path: Path) -> None:
    write_with_gap(path, 2, 1, 3)
    write(path, episodes=1, steps=2)
    found = replay(path, Maker())
    assert (found.same, found.skipped, found.difference) == (4, 3, None)


def test_digests_cannot_be_replayed(path: Path) -> None:
    write(path, inputs="digest")
    with pytest.raises(LedgerError, match="only digests of what was observed"):
        replay(path, Maker())


def test_a_damaged_ledger_is_not_replayed(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes().replace(b'"act"', b'"acT"', 1))
    with pytest.raises(LedgerError, match="does not verify: record 2 has changed"):
        replay(path, Maker())
    assert len(list(records(path))) == 2, "what comes before it can be read"
