"""Decisions of a supervisor come out again bit for bit: what it refused, what it did instead, and how it gave back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driven_point import SCHEMA, WEIGHTS, Maker, session, write, write_with_gap
from test_scores import episodes

from tacit.assurance import Ledger, LedgerError, Made, Recorded, Session, Supervising, Supervision, Supervisor, Watch, calibrate
from tacit.assurance.chain import records
from tacit.assurance.monitor import Calibration
from tacit.assurance.replay import Around, Clock, Replayed, entries, replay
from tacit.assurance.why import saw, story
from tacit.planning import ActionLimit, RampSettings, RetreatSettings, SafeSettings
from tacit.planning.fallbacks import Safe, WithoutPlan
from tacit.planning.task_fallback import Fallback

SUPERVISION = Supervision(dwell=3, blend=2, oldest=0.2, deadline=0.1)
FALLBACKS = {
    "hold": Fallback.HOLD,
    "zero": Fallback.ZERO,
    "safe": SafeSettings(action={"velocity": 0.2}),
    "ramp": RampSettings(action={"velocity": -0.3}, seconds=4.0),
    "retreat by moves": RetreatSettings(by="moves"),
    "retreat by set points": RetreatSettings(by="set_points", seconds=6.0),
}


@pytest.fixture(scope="module")
def usual() -> Calibration:
    return calibrate(episodes(20, seed=0), episodes(60, seed=1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine.ledger"


def told(fallback: Any = Fallback.HOLD, **limits: ActionLimit) -> Session:
    base = session()
    return replace(base, task=replace(base.task, fallback=fallback, limits=limits))


class Plant:
    """The point with everything that goes wrong with a machine: a sensor that is off, silent or late, an actuator that is weak, a processor
    that is busy, and somebody who applies something else."""

    def __init__(self, seed: int) -> None:
        self.rng, self.state, self.time = np.random.default_rng(seed), np.zeros(2), 100.0

    def clock(self) -> float:
        self.time += 0.15 if self.rng.random() < 0.04 else 0.01 * self.rng.random()
        return self.time

    def drive(self, supervisor: Supervisor, steps: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for step in range(steps):
            seen = self.state + (2.5 if 20 <= step < 28 else 0.0) + 0.003 * self.rng.normal(size=2)
            observation = {"state": np.full(2, np.nan) if self.rng.random() < 0.04 else seen}
            stale = 0.3 if self.rng.random() < 0.05 else 0.0
            taken = None if step % 7 == 3 else self.time - stale
            applied = None if step % 5 else np.clip(0.9 * self.state, -1, 1).astype(np.float32)
            decision = supervisor.act(observation, applied, taken=taken)
            found[decision.verdict] += 1
            self.state = self.state + (0.1 if step < 45 else 0.04) * decision.action + 0.005 * self.rng.normal(size=2)
        return found


def record(path: Path, told: Session, usual: Calibration | None, *, fallback: WithoutPlan | None = None, seed: int = 0) -> Counter[str]:
    """Three supervised episodes in a ledger; how many decisions there were of each kind."""
    plant, found = Plant(seed), Counter[str]()
    with Ledger(path, told) as ledger:
        watch = None if usual is None else Watch(SCHEMA)
        supervisor = Supervisor(
            Maker()(told),
            calibration=usual,
            watch=watch,
            supervision=SUPERVISION,
            ledger=ledger,
            fallback=fallback,
            clock=plant.clock,
        )
        for goal in (None, {"state": np.array([[-0.4, 0.3]], np.float32)}, None):
            supervisor.reset(goal, None if goal is None else np.array([[[0.1, 0.0], [0.15, -0.05]]], np.float32))
            found += plant.drive(supervisor, 60)
    return found


def again(usual: Calibration | None, **changed: Any) -> Callable[[Session, Supervising, Around, Clock], Supervisor]:
    def supervise(told: Session, recorded: Supervising, around: Around, clock: Clock) -> Supervisor:
        parts: dict[str, Any] = {
            "calibration": usual,
            "watch": None if usual is None else Watch(SCHEMA),
            "supervision": recorded.supervision,
            "clock": clock,
        }
        return Supervisor(Maker()(told, around), **parts | changed)

    return supervise


def replayed(path: Path, usual: Calibration | None, **changed: Any) -> Replayed:
    return replay(path, Maker(), again(usual, **changed))


@pytest.mark.parametrize("kind", FALLBACKS)
def test_every_decision_comes_out_again_whatever_the_fallback(kind: str, path: Path, usual: Calibration) -> None:
    """Shifts, lost and old observations, late decisions and told actions, over episodes, with the monitor's values."""
    made = record(path, told(FALLBACKS[kind]), usual)
    assert min(made["act"], made["abstain"], made["fallback"]) > 5
    found = replayed(path, usual)
    assert (found.same, found.skipped, found.difference, found.builds) == (180, 0, None, ())


def test_limits_on_rate_and_jerk_are_kept_again(path: Path, usual: Calibration) -> None:
    record(path, told(FALLBACKS["safe"], velocity=ActionLimit(rate=0.1, jerk=0.05)), usual)
    assert replayed(path, usual).same == 180


def test_a_supervisor_without_a_monitor_and_several_sessions(path: Path, usual: Calibration) -> None:
    record(path, told(), None, seed=1)
    record(path, told(), None, seed=2)
    write(path, told(), episodes=1, steps=3)  # and nobody supervises any more
    found = replayed(path, None)
    assert (found.same, found.difference) == (363, None)


def test_reasons_of_time_are_those_of_the_ledger(path: Path) -> None:
    record(path, told(), None)
    made = [entry for entry in entries(path) if isinstance(entry, Made)]
    reasons = " ".join(entry.reason for entry in made)
    assert "ms old" in reasons
    assert "the decision took" in reasons
    assert all(entry.timing is not None and entry.timing.decided > entry.timing.began for entry in made)
    assert replayed(path, None, clock=lambda: 0.0).difference is not None, "without the recorded times they come out otherwise"


def test_why_says_how_long_it_took_and_how_old_the_observation_was(path: Path) -> None:
    times = iter((5.0, 5.02, 6.0, 6.01))
    with Ledger(path, told()) as ledger:
        supervisor = Supervisor(Maker()(told()), ledger=ledger, clock=lambda: next(times))
        supervisor.act({"state": np.zeros(2)}, taken=4.9)
        supervisor.act({"state": np.zeros(2)})
    assert saw(story(path, 0))[-1] == "the plan was there after 20 ms, and the observation was 120 ms old then"
    assert saw(story(path, 1))[-1] == "the plan was there after 10 ms"


def test_other_settings_and_another_monitor_differ_where_they_first_matter(path: Path, usual: Calibration) -> None:
    record(path, told(), usual)
    other = calibrate(episodes(20, seed=5), episodes(60, seed=6), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.05)
    first = replayed(path, other).difference
    assert first is not None
    assert first.step < 3
    assert first.what.startswith("the reading ")
    lax = replayed(path, usual, supervision=replace(SUPERVISION, dwell=4)).difference
    assert lax is not None
    assert lax.what == "the reason"
    bold = replayed(path, usual, fallback=Safe(action=(0.9, 0.9))).difference
    assert bold is not None
    assert bold.what in ("the reason", "the action")


def test_what_a_ledger_says_of_its_supervisor(path: Path, usual: Calibration, tmp_path: Path) -> None:
    record(path, told(), usual, fallback=Safe(action=(0.0, 0.1)))
    (said,) = (entry for entry in entries(path) if isinstance(entry, Supervising))
    assert (said.supervision, said.monitor, said.fallback) == (SUPERVISION, usual.digest, "applying the safe action")
    usual.save(tmp_path / "monitor.safetensors")
    loaded = Calibration.load(tmp_path / "monitor.safetensors", SCHEMA, WEIGHTS)
    assert loaded.digest == usual.digest
    assert replace(usual, false_alarms=0.06).digest != usual.digest
    found = replay(path, Maker(), again(loaded, fallback=Safe(action=(0.0, 0.1))))
    assert (found.same, found.difference) == (180, None), "a monitor from its file is the same"


def test_decisions_of_a_supervisor_need_one(path: Path) -> None:
    record(path, told(), None)
    with pytest.raises(LedgerError, match="has decisions of a supervisor"):
        replay(path, Maker())


def test_a_decision_that_nobody_supervised_is_a_difference(path: Path) -> None:
    with Ledger(path, told()) as ledger:
        supervisor = Supervisor(Maker()(told()), ledger=ledger)
        supervisor.act({"state": np.zeros(2)})
        ledger.add({"state": np.zeros(2)}, supervisor.act({"state": np.zeros(2)}))
    found = replayed(path, None)
    assert found.same == 2
    assert found.difference is not None
    assert (found.difference.step, found.difference.what) == (2, "who decided")


def test_what_stands_behind_a_gap_is_skipped(path: Path, usual: Calibration) -> None:
    with Ledger(path, told()) as ledger:
        plant = Plant(0)
        supervisor = Supervisor(Maker()(told()), supervision=SUPERVISION, ledger=ledger, clock=plant.clock)
        plant.drive(supervisor, 5)
        ledger.sync()
        ledger._queue_bytes, room = 0, ledger._queue_bytes
        plant.drive(supervisor, 2)
        ledger._queue_bytes = room
        plant.drive(supervisor, 4)
    found = replayed(path, None)
    assert (found.same, found.skipped, found.difference) == (5, 4, None)
    assert ledger.lost == 2
    write_with_gap(path, 1, 1, 1)


def test_a_call_that_is_refused_leaves_no_trace(path: Path) -> None:
    """Nothing of it is in the ledger, so nothing of it may be in later decisions."""
    with Ledger(path, told()) as ledger:
        supervisor = Supervisor(Maker()(told()), ledger=ledger)
        for _ in range(3):
            with pytest.raises(ValueError, match="applied has shape"):
                supervisor.act({"state": np.ones(2)}, np.zeros(3))
            with pytest.raises(ValueError, match="could not convert string to float"):
                supervisor.act({"state": np.ones(2)}, taken="now")  # type: ignore[arg-type]
            supervisor.act({"state": np.full(2, 0.2)}, np.array([0.3, 0.1]))
    found = replayed(path, None)
    assert (found.same, found.difference) == (3, None)
    assert sum(record["kind"] == "decision" for record in records(path)) == 3


OLD = Path(__file__).with_name("format_1.ledger")


def test_a_ledger_of_format_1_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """It was written before ledgers said who supervised."""
    path = tmp_path / OLD.name
    for name in (OLD.name, OLD.name + ".head"):
        (tmp_path / name).write_bytes(OLD.with_name(name).read_bytes())
    old = [entry for entry in entries(path) if isinstance(entry, Made)]
    assert [(entry.step, entry.timing, len(entry.readings)) for entry in old] == [(0, None, 0), (1, None, 0), (2, None, 0), (3, None, 1)]
    write(path, told(), episodes=1, steps=2)
    assert len(list(entries(path))) == 13
    assert [record["format"] for record in records(path) if record["kind"] == "opened"] == [1, 2]


def test_a_ledger_of_a_later_format_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.assurance.entries.FORMAT", 3)
    write(path, told(), episodes=1, steps=1)
    with pytest.raises(LedgerError, match="its format is 3, and this Tacit reads 1 and 2"):
        list(entries(path))


def test_a_recorded_controller_needs_no_supervisor(path: Path) -> None:
    with Ledger(path, told()) as ledger:
        Recorded(Maker()(told()), ledger).act({"state": np.zeros(2)})
    assert replay(path, Maker()).same == 1
