"""The supervisor around a controller that drives a point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from driven_point import SCHEMA, WEIGHTS, Ceiling, Maker, session
from test_scores import episodes

from tacit.assurance import Ledger, Watch, check
from tacit.assurance.chain import records
from tacit.assurance.monitor import Calibration, calibrate
from tacit.assurance.supervisor import Supervision, Supervisor
from tacit.planning import ActionLimit, Decision, RampSettings, Verdict
from tacit.planning.fallbacks import Ramp, RetreatBySetPoints, Safe


@dataclass
class Clock:
    """Seconds that a test turns on."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Machine:
    """The point as the controller's model has it, with a sensor that can be off by an offset and an actuator that can be weak."""

    supervisor: Supervisor
    state: np.ndarray
    offset: float = 0.0
    gain: float = 1.0

    def step(self, **given: float) -> Decision:
        decision = self.supervisor.act({"state": self.state + self.offset}, **given)
        self.state = self.state + 0.1 * self.gain * decision.action
        return decision


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of episodes of the point; with no goal, so that missing progress is never an alarm."""
    return calibrate(episodes(20, seed=0), episodes(60, seed=1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.05)


def machine(calibration: Calibration | None = None, *, maker: Maker | None = None, **options: object) -> Machine:
    controller = (maker or Maker())(session())
    watch = None if calibration is None else Watch(SCHEMA)
    return Machine(Supervisor(controller, calibration=calibration, watch=watch, **options), np.zeros(2))  # type: ignore[arg-type]


def test_without_a_reason_it_is_the_controller() -> None:
    plain, watched = Maker()(session()), machine()
    state = np.zeros(2)
    for _ in range(5):
        decision = plain.act({"state": state})
        assert np.array_equal(watched.step().action, decision.action)
        state = state + 0.1 * decision.action


def test_an_alarm_abstains_with_a_reason_and_the_plan_comes_back_when_it_is_calm(calibration: Calibration) -> None:
    point = machine(calibration, supervision=Supervision(dwell=12, blend=3), fallback=Safe(action=(0.0, 0.0)))
    assert all(point.step().verdict is Verdict.ACT for _ in range(10))
    point.offset = 3.0
    refused = [point.step() for _ in range(10)]
    assert refused[-1].verdict is Verdict.ABSTAIN
    assert "applying the safe action" in refused[-1].reason
    assert np.array_equal(refused[-1].action, [0.0, 0.0])
    point.offset = 0.0
    later = [point.step() for _ in range(40)]
    back = next(i for i, decision in enumerate(later) if decision.verdict is Verdict.ACT)
    assert back >= 11
    assert "12 steps in a row" in later[back - 1].reason
    assert later[back].reason == "going over to a feasible plan"
    assert later[-1].reason == "following a feasible plan"


def test_going_back_is_gradual() -> None:
    clock = Clock()
    point = machine(clock=clock, supervision=Supervision(dwell=1, blend=4, oldest=0.1), fallback=Safe(action=(-1.0, -1.0)))
    point.step(taken=0.0)
    clock.now = 1.0
    assert point.step(taken=0.5).verdict is Verdict.FALLBACK
    after = [point.step(taken=1.0 + 1e-3 * i) for i in range(6)]
    assert np.abs(after[0].action + 1.0).max() <= 2.0 / 5 + 1e-6  # a fifth of the way, wherever the plan goes
    assert after[0].reason == after[3].reason == "going over to a feasible plan"
    assert after[-1].reason == "following a feasible plan"


def test_an_old_observation_and_one_that_is_not_new_are_not_acted_on() -> None:
    clock = Clock()
    point = machine(clock=clock, supervision=Supervision(oldest=0.1))
    assert point.step(taken=0.0).verdict is Verdict.ACT
    clock.now = 0.45
    old = point.step(taken=0.1)
    assert old.verdict is Verdict.FALLBACK
    assert "350 ms old, and 100 ms is the most: holding the last action" in old.reason
    assert "no new observation" in point.step(taken=0.1).reason


def test_a_decision_that_comes_too_late_is_not_sent() -> None:
    ticks = iter(np.arange(0.0, 10.0, 0.2))
    point = machine(clock=lambda: float(next(ticks)), supervision=Supervision(deadline=0.05))
    late = point.step()
    assert late.verdict is Verdict.FALLBACK
    assert "200 ms, and 50 ms is the most" in late.reason


def test_a_controller_without_a_sound_plan_is_replaced_by_the_fallback() -> None:
    point = machine(maker=Maker(limits=(Ceiling(bound=-1.0),)), fallback=Ramp(action=(0.5, 0.5), steps=2))
    first, second = point.step(), point.step()
    assert first.verdict is Verdict.FALLBACK
    assert "breaks a hard limit" in first.reason
    assert [first.action.tolist(), second.action.tolist()] == [[0.25, 0.25], [0.5, 0.5]]


def test_a_fallback_in_the_first_step_knows_what_was_applied_before() -> None:
    point = machine(maker=Maker(limits=(Ceiling(bound=-1.0),)), fallback=RetreatBySetPoints())
    point.supervisor.reset(applied=np.array([[[0.25, -0.5]]]))
    assert point.step().action.tolist() == [0.25, -0.5]


def test_the_fallback_is_that_of_the_task() -> None:
    told = session()
    told = replace(told, task=replace(told.task, fallback=RampSettings(action={"velocity": 0.5}, seconds=2.0)))
    controller = Maker(limits=(Ceiling(bound=-1.0),))(told)
    point = Machine(Supervisor(controller), np.zeros(2))
    given = [point.step() for _ in range(3)]
    assert [d.action.tolist() for d in given] == [[0.25, 0.25], [0.5, 0.5], [0.5, 0.5]]
    assert "going to the safe action" in given[0].reason


def test_a_controller_without_supervisor_does_it_by_itself() -> None:
    told = session()
    told = replace(told, task=replace(told.task, fallback=RampSettings(action={"velocity": 0.5}, seconds=2.0)))
    controller = Maker(limits=(Ceiling(bound=-1.0),))(told)
    given = [controller.act({"state": np.zeros(2)}) for _ in range(3)]
    assert [d.action.tolist() for d in given] == [[0.25, 0.25], [0.5, 0.5], [0.5, 0.5]]
    assert given[0].reason.endswith("going to the safe action")
    assert given[0].verdict is Verdict.FALLBACK


def test_what_a_fallback_asks_for_is_moved_inside_the_limits() -> None:
    point = machine(maker=Maker(limits=(Ceiling(bound=-1.0),)), fallback=Safe(action=(7.0, float("nan"))))
    assert point.step().action.tolist() == [1.0, 0.0]


def test_a_limit_on_rate_holds_into_a_fallback_and_out_of_it() -> None:
    clock, told = Clock(), session()
    task = replace(told.task, limits={"velocity": ActionLimit(rate=0.5)})
    controller = Maker()(replace(told, task=task))
    supervisor = Supervisor(
        controller, clock=clock, supervision=Supervision(oldest=0.1, dwell=2, blend=1), fallback=Safe(action=(-1.0, -1.0))
    )
    supervisor.reset(applied=np.zeros((1, 1, 2), np.float32))
    point, sent, verdicts = Machine(supervisor, np.zeros(2)), [np.zeros(2)], []
    for step in range(40):
        clock.now = float(step)
        decision = point.step(taken=step - (1.0 if 10 <= step < 20 else 0.0) + 0.01 * step)
        sent.append(decision.action)
        verdicts.append(decision.verdict)
    assert verdicts[15] is Verdict.FALLBACK
    assert verdicts[-1] is Verdict.ACT
    changes = np.abs(np.diff(np.stack(sent).astype(np.float64), axis=0)).max()
    assert 0.4 * SCHEMA.period < changes <= 0.5 * SCHEMA.period


def test_the_controller_learns_what_was_really_emitted() -> None:
    point = machine(maker=Maker(limits=(Ceiling(bound=-1.0),)), fallback=Safe(action=(0.4, 0.4)))
    decisions = [point.step() for _ in range(3)]
    assert decisions[-1].evidence.surprise == pytest.approx(0.0, abs=1e-5)


def test_a_ledger_has_what_was_emitted_and_what_the_monitor_read(calibration: Calibration, tmp_path: Path) -> None:
    told = session()
    with Ledger(tmp_path / "m.ledger", told) as ledger:
        watch = Watch(SCHEMA)
        supervisor = Supervisor(Maker()(told), calibration=calibration, watch=watch, ledger=ledger, fallback=Safe(action=(0.0, 0.0)))
        supervisor.reset()
        point = Machine(supervisor, np.zeros(2))
        for _ in range(3):
            point.step()
        point.offset = 9.0
        decision = [point.step() for _ in range(3)][-1]
    assert check(tmp_path / "m.ledger").finding is None
    last = [record for record in records(tmp_path / "m.ledger") if record["kind"] == "decision"][-1]
    assert last["verdict"] == "abstain"
    assert last["reason"] == decision.reason
    assert last["readings"]["monitor"]["value"] > last["readings"]["monitor"]["high"]


def test_half_a_monitor_and_settings_out_of_range_are_refused(calibration: Calibration) -> None:
    with pytest.raises(ValueError, match="both its calibration and a watch"):
        Supervisor(Maker()(session()), calibration=calibration)
    with pytest.raises(ValueError, match="release 2"):
        Supervision(release=2)
    with pytest.raises(ValueError, match="oldest must be"):
        Supervision(oldest=0.0)
