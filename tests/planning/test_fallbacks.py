"""What a machine does without a plan."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from tacit.planning.fallbacks import PID, Hold, Ramp, RetreatByMoves, RetreatBySetPoints, Safe, WithoutPlan

PAST = deque(np.array(a, np.float32) for a in ([0.1, 0.0], [0.2, 0.1], [0.4, -0.2]))


def played(fallback: WithoutPlan, steps: int, observation: dict[str, float] | None = None) -> list[list[float]]:
    """What it does after `PAST`, one decimal too many for rounding."""
    fallback.begin(PAST)
    last, given = PAST[-1], []
    for _ in range(steps):
        last = fallback.act(observation or {}, last)
        given.append([round(float(v), 5) for v in last])
    return given


def test_hold_repeats_the_last_action() -> None:
    assert played(Hold(), 2) == [[0.4, -0.2]] * 2


def test_safe_is_there_at_once() -> None:
    assert played(Safe(action=(0.0, 1.0)), 2) == [[0.0, 1.0]] * 2


def test_a_ramp_goes_in_equal_steps_and_stays() -> None:
    assert played(Ramp(action=(0.0, 0.2), steps=4), 5) == [[0.3, -0.1], [0.2, 0.0], [0.1, 0.1], [0.0, 0.2], [0.0, 0.2]]


def test_set_points_are_gone_through_backwards_to_the_oldest() -> None:
    assert played(RetreatBySetPoints(), 4) == [[0.4, -0.2], [0.2, 0.1], [0.1, 0.0], [0.1, 0.0]]


def test_moves_are_undone_after_a_stop() -> None:
    assert played(RetreatByMoves(), 5) == [[0.0, 0.0], [-0.4, 0.2], [-0.2, -0.1], [-0.1, 0.0], [0.0, 0.0]]
    assert played(RetreatByMoves(steps=1), 3) == [[0.0, 0.0], [-0.4, 0.2], [0.0, 0.0]]


def test_a_pid_controller_takes_over_without_a_bump_and_holds_what_it_does_not_use() -> None:
    pid = PID(signal="level", set_point=2.0, proportional=0.3, integral=0.5, derivative=0.1, period=0.1, low=-1.0, high=1.0)
    assert played(pid, 1, {"level": 1.0}) == [[0.4, -0.2]]


def test_a_pid_controller_reaches_its_set_point_and_its_integral_does_not_wind_up() -> None:
    pid = PID(signal="level", set_point=2.0, proportional=2.0, integral=2.0, period=0.1, low=0.0, high=1.0)
    level, last, levels = 0.0, np.zeros(1, np.float32), []
    pid.begin(deque([last]))
    for _ in range(300):
        last = pid.act({"level": level}, last)
        level += 0.1 * (float(last[0]) - 0.3)  # a tank that leaks
        levels.append(level)
    assert abs(levels[-1] - 2.0) < 0.01
    assert max(levels) < 2.4
    assert float(last[0]) == pytest.approx(0.3, abs=0.01)


def test_a_pid_controller_does_not_wind_up_under_a_limit_on_rate() -> None:
    pid = PID(signal="level", set_point=1.0, proportional=1.0, integral=1.0, period=1.0, low=-10.0, high=10.0)
    level, last, levels = 0.0, np.zeros(1, np.float32), []
    pid.begin(deque([last]))
    for _ in range(200):
        last = last + np.clip(pid.act({"level": level}, last) - last, -0.02, 0.02)
        level = 0.8 * level + 0.2 * float(last[0])
        levels.append(level)
    assert max(levels) < 1.15, "1.6 with an integral that knows nothing of the limit"
    assert levels[-1] == pytest.approx(1.0, abs=0.01)


def test_a_pid_controller_holds_while_its_sensor_is_silent() -> None:
    pid = PID(signal="level", set_point=2.0, proportional=0.3, period=0.1, low=-1.0, high=1.0)
    assert played(pid, 2, {"level": float("nan")}) == [[0.4, -0.2]] * 2


def test_what_a_mask_says_is_missing_is_no_measurement_for_a_pid_controller() -> None:
    pid = PID(signal="level", set_point=2.0, proportional=0.3, integral=0.5, period=0.1, low=-1.0, high=1.0)
    assert played(pid, 2, {"level": 0.0, "level.valid": False}) == [[0.4, -0.2]] * 2


def test_after_a_silence_the_derivative_is_over_all_of_it() -> None:
    pid = PID(signal="level", set_point=0.0, proportional=0.0, derivative=1.0, period=1.0, low=-9.0, high=9.0)
    last = np.zeros(1, np.float32)
    pid.begin(deque([last]))
    for level in (0.0, float("nan"), float("nan"), 3.0):
        last = pid.act({"level": level}, last)
    assert last.tolist() == [-1.0]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        Ramp(action=(0.0,), steps=0)
    with pytest.raises(ValueError, match="positive period"):
        PID(signal="level", set_point=0.0, proportional=1.0, period=0.0, low=0.0, high=1.0)
