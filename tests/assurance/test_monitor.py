"""Alarms at the rate that was set, and a file that is the same when it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from driven_point import SCHEMA
from test_scores import episodes

from tacit.assurance.monitor import Calibration, Monitor, MonitorError, calibrate, scored
from tacit.signals import Role, Schema, Signal


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(episodes(20, seed=0), episodes(150, seed=1), schema=SCHEMA, false_alarms=0.1)


def alarms(calibration: Calibration, seed: int, gain: float = 0.1, count: int = 600) -> float:
    moments = episodes(count, seed=seed, gain=gain)
    monitor = Monitor(calibration, count)
    return float(np.logical_or.reduce([monitor.judge(moments.at(t)).alarm for t in range(moments.steps)]).mean())


def test_alarms_come_at_the_rate_that_was_set(calibration: Calibration) -> None:
    rates = [alarms(calibrate(episodes(20, seed=0), episodes(150, seed=s), schema=SCHEMA, false_alarms=0.1), 50 + s) for s in range(1, 6)]
    assert 0.05 < np.mean(rates) < 0.13  # on average over calibrations at most 0.1


def test_a_weak_actuator_is_noticed(calibration: Calibration) -> None:
    assert alarms(calibration, 3, gain=0.04) > 0.95


def test_step_by_step_says_what_whole_episodes_say(calibration: Calibration) -> None:
    moments = episodes(5, seed=4)
    monitor = Monitor(calibration, 5)
    steps = np.stack([monitor.judge(moments.at(t)).scores for t in range(moments.steps)], axis=1)
    assert np.allclose(steps, scored(calibration.reference, moments), atol=1e-5)


def test_p_values_fall_as_scores_grow(calibration: Calibration) -> None:
    moments = episodes(50, seed=5)
    judgement = Monitor(calibration, 50).judge(moments.at(0))
    order = judgement.statistic.argsort()
    assert (np.diff(judgement.statistic_p[order]) <= 0).all()
    assert judgement.p.min() >= 1 / 101 - 1e-6


def test_the_reason_names_the_score(calibration: Calibration) -> None:
    moments = episodes(1, seed=6, gain=-0.1)
    monitor = Monitor(calibration)
    reasons = [monitor.judge(moments.at(t)).reason() for t in range(moments.steps)]
    assert any("does not answer to actions" in reason or "not what was predicted" in reason for reason in reasons)


def test_a_saved_monitor_is_the_same(calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path / "m.safetensors")
    again = Calibration.load(tmp_path / "m.safetensors", SCHEMA)
    assert again.level == calibration.level
    assert alarms(again, 8, count=20) == alarms(calibration, 8, count=20)


def test_what_is_no_monitor_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(MonitorError, match="no such file"):
        Calibration.load(path, SCHEMA)
    calibration.save(path)
    other = Schema(signals=(*SCHEMA.signals, Signal(name="more", role=Role.OBSERVATION, shape=(1,))))
    with pytest.raises(MonitorError, match="other signals"):
        Calibration.load(path, other)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MonitorError, match="damaged"):
        Calibration.load(path, SCHEMA)


def test_a_rate_needs_episodes() -> None:
    with pytest.raises(MonitorError, match="it takes 149"):
        calibrate(episodes(20), episodes(50), schema=SCHEMA, false_alarms=0.01)
    with pytest.raises(MonitorError, match="between 0 and 1"):
        calibrate(episodes(20), episodes(50), schema=SCHEMA, false_alarms=0.0)
