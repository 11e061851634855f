"""PI control: what it does to errors, limits and samples that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants import DecentralisedPid, Gains, gains_of, plant
from tacit.worlds.plants.four_tank import FOUR_TANK
from tacit.worlds.plants.pid import Pid, limited
from tacit.worlds.plants.plant import ActionLimits

WIDE = ActionLimits(low=-100.0, high=100.0)


def test_a_constant_error_gives_a_ramp_of_gain_over_integral_time() -> None:
    pid, command = Pid(Gains(gain=2.0, integral_seconds=10.0), WIDE), 5.0
    seen = [command := pid.act(1.0, command, 1.0) for _ in range(4)]
    assert seen == pytest.approx([5.2, 5.4, 5.6, 5.8])


def test_a_step_of_the_error_gives_a_step_of_the_command() -> None:
    pid = Pid(Gains(gain=2.0, integral_seconds=1e9), WIDE)
    assert pid.act(3.0, pid.act(0.0, 5.0, 1.0), 1.0) == pytest.approx(11.0)


def test_a_missing_sample_holds_the_command_and_the_next_one_counts_the_time() -> None:
    pid = Pid(Gains(gain=2.0, integral_seconds=10.0), WIDE)
    command = pid.act(1.0, 0.0, 1.0)
    assert pid.act(None, command, 1.0) == command
    assert pid.act(1.0, command, 1.0) == pytest.approx(command + 2.0 * 2.0 / 10.0)


def test_nothing_winds_up_at_a_limit() -> None:
    pid, command = Pid(Gains(gain=1.0, integral_seconds=1.0), ActionLimits(low=0.0, high=1.0)), 0.5
    for _ in range(100):
        command = pid.act(1.0, command, 1.0)
    assert command == 1.0
    assert pid.act(-0.1, command, 1.0) < 1.0, "it leaves the limit with the first error of the other sign"


@pytest.mark.parametrize(("wanted", "expected"), [(5.0, 3.0), (-5.0, -1.0), (1.5, 1.5), (2.9, 2.9)])
def test_a_command_keeps_range_and_rate(wanted: float, expected: float) -> None:
    assert limited(wanted, 1.0, ActionLimits(low=-4.0, high=4.0, rate=0.5), 4.0) == expected


def test_all_loops_together_hold_their_setpoints_under_a_constant_disturbance() -> None:
    tanks = plant("four_tank")
    control = DecentralisedPid(tanks, gains_of(FOUR_TANK))
    control.setpoints |= {"level_1": 13.0, "level_2": 12.0}
    samples = tanks.reset(0)
    tanks.disturb({d.name: d.nominal for d in FOUR_TANK.disturbances} | {"leak_1": 1.5, "inflow_2": 1.0})
    seen = []
    for _ in range(400):
        samples = tanks.apply(control.act(samples))
        seen.append((samples["level_1.true"], samples["level_2.true"]))
    assert np.mean(seen[-100:], axis=0) == pytest.approx(np.array([13.0, 12.0]), abs=0.03)


def test_an_analyser_between_two_samples_moves_nothing() -> None:
    subject = plant("evaporator")
    control = DecentralisedPid(subject, {loop.controlled: Gains(gain=1.0, integral_seconds=100.0) for loop in subject.loops})
    samples = subject.reset(0)
    steam = []
    for _ in range(9):
        steam.append(control.act(samples)[1])
        samples = subject.apply(control.act(samples))
    assert steam[1] == steam[2] == steam[3]
