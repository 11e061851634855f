"""Alarms at the rate that was set, and a file that is the same when it is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from driven_point import SCHEMA, WEIGHTS
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_scores import episodes

from tacit.assurance.moments import Moments
from tacit.assurance.monitor import Calibration, Monitor, MonitorError, calibrate, scored
from tacit.assurance.scores import SCORES
from tacit.signals import Role, Schema, Signal


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(episodes(20, seed=0), episodes(150, seed=1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.1)


def alarms(calibration: Calibration, seed: int, gain: float = 0.1, count: int = 600) -> float:
    moments = episodes(count, seed=seed, gain=gain)
    monitor = Monitor(calibration, count)
    return float(np.logical_or.reduce([monitor.judge(moments.at(t)).alarm for t in range(moments.steps)]).mean())


def test_alarms_come_at_the_rate_that_was_set(calibration: Calibration) -> None:
    rates = [
        alarms(calibrate(episodes(20, seed=0), episodes(150, seed=s), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.1), 50 + s)
        for s in range(1, 6)
    ]
    assert 0.05 < np.mean(rates) < 0.13  # on average over calibrations at most 0.1


def arriving(count: int, seed: int, *, end: float = 0.1) -> Moments:
    """Episodes that come nearer to a goal, some faster than others, and stay near it."""
    rng = np.random.default_rng(seed)
    to_go = 5.0 - np.arange(30)[None] * rng.uniform(0.5, 1.5, (count, 1))
    return episodes(count, seed=seed, to_go=np.maximum(to_go, end * rng.uniform(0.5, 1.0, (count, 1))).astype(np.float32))


@pytest.mark.parametrize("passing", [False, True])
def test_with_a_goal_alarms_and_doubts_come_at_the_rate_that_was_set(passing: bool) -> None:
    rates = []
    for seed in range(1, 6):
        known = calibrate(episodes(20, seed=0), arriving(300, seed), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.12, passing=passing)
        moments, monitor = arriving(400, 50 + seed), Monitor(known, 400)
        judged = [monitor.judge(moments.at(t)) for t in range(moments.steps)]
        rates.append((np.logical_or.reduce([j.alarm for j in judged]) | ~judged[-1].arrived).mean())
    assert 0.05 < np.mean(rates) < 0.15  # the channels do not always raise alarms in different episodes


def test_an_episode_that_ends_elsewhere_is_not_done() -> None:
    known = calibrate(episodes(20, seed=0), arriving(300, 1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.12)
    monitor, moments = Monitor(known, 50), arriving(50, 2, end=2.0)
    last = [monitor.judge(moments.at(t)) for t in range(moments.steps)][-1]
    assert not last.arrived.any()
    assert "it is not sure that the goal is reached (arrival" in last.ending()


def test_a_goal_that_the_logs_do_not_show_is_an_alarm_before_the_first_action() -> None:
    known = calibrate(episodes(20, seed=0), arriving(300, 1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.12)
    usual = arriving(20, 2)
    unseen = replace(usual, goal_senses=np.full((20, 2), 20.0, np.float32))
    assert not Monitor(known, 20).judge(usual.at(0)).alarm.any()
    judged = Monitor(known, 20).judge(unseen.at(0))
    assert judged.alarm.all()
    assert "the goal shows something that the logs never show (goal" in judged.reason()


def test_having_passed_the_goal_counts_where_that_is_enough() -> None:
    away: NDArray[np.float32] = (
        np.where(np.arange(30) < 20, np.maximum(5.0 - np.arange(30), 0.05), 3.0)[None].repeat(20, 0).astype(np.float32)
    )
    for passing in (False, True):
        known = calibrate(episodes(20, seed=0), arriving(300, 1), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.12, passing=passing)
        moments, monitor = episodes(20, seed=3, to_go=away), Monitor(known, 20)
        last = [monitor.judge(moments.at(t)) for t in range(moments.steps)][-1]
        assert (last.arrived == passing).all()


def test_without_goals_nobody_arrives(calibration: Calibration) -> None:
    moments, monitor = arriving(20, 4), Monitor(calibration, 20)
    judged = [monitor.judge(moments.at(t)) for t in range(moments.steps)]
    assert not judged[-1].arrived.any()
    assert not any(np.isin(j.worst, [SCORES.index("progress"), SCORES.index("goal")]).any() for j in judged)
    assert all((j.p[:, SCORES.index("goal")] == 1).all() for j in judged)
    unseen = replace(arriving(20, 4), goal_senses=np.full((20, 2), 99.0, np.float32))
    assert np.array_equal(Monitor(calibration, 20).judge(unseen.at(0)).statistic, judged[0].statistic)


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
    again = Calibration.load(tmp_path / "m.safetensors", SCHEMA, WEIGHTS)
    assert np.array_equal(again.levels, calibration.levels)
    assert not again.has_goal
    assert alarms(again, 8, count=20) == alarms(calibration, 8, count=20)


def test_what_is_no_monitor_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(MonitorError, match="no such file"):
        Calibration.load(path, SCHEMA, WEIGHTS)
    calibration.save(path)
    other = Schema(signals=(*SCHEMA.signals, Signal(name="more", role=Role.OBSERVATION, shape=(1,))))
    with pytest.raises(MonitorError, match="other signals"):
        Calibration.load(path, other, WEIGHTS)
    with pytest.raises(MonitorError, match=f"is the monitor of another run: .*{WEIGHTS}.* make one of this run with `tacit calibrate`"):
        Calibration.load(path, SCHEMA, "cd" * 32)
    replace(calibration, channels=calibration.channels[:, :2]).save(path)
    with pytest.raises(MonitorError, match=r"damaged: channels has shape .*`tacit calibrate` makes a new monitor"):
        Calibration.load(path, SCHEMA, WEIGHTS)
    calibration.save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MonitorError, match="damaged"):
        Calibration.load(path, SCHEMA, WEIGHTS)


def test_a_file_of_an_earlier_version_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    calibration.save(path)
    with safe_open(path, framework="numpy") as file:
        text = json.loads(file.metadata()["tacit"])
    del text["weights"]
    save_file(load_file(path), path, {"tacit": json.dumps(text | {"version": 2})})
    with pytest.raises(MonitorError, match="has format version 2; this Tacit reads version 3: make a new one with `tacit calibrate`"):
        Calibration.load(path, SCHEMA, WEIGHTS)


def test_a_rate_needs_episodes() -> None:
    with pytest.raises(MonitorError, match="it takes 149"):
        calibrate(episodes(20), episodes(50), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.01)
    with pytest.raises(MonitorError, match="it takes 112"):
        calibrate(episodes(20), arriving(50, 0), schema=SCHEMA, weights=WEIGHTS)  # three channels share the rate
    with pytest.raises(MonitorError, match="between 0 and 1"):
        calibrate(episodes(20), episodes(50), schema=SCHEMA, weights=WEIGHTS, false_alarms=0.0)
