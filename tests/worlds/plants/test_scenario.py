"""Scenarios: drawn once, the same for the same numbers, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.worlds.plants import DecentralisedPid, gains_of, plant
from tacit.worlds.plants.four_tank import FOUR_TANK
from tacit.worlds.plants.scenario import Scenario, rejection, towards_limit, tracking


def test_a_wish_holds_until_the_next_one() -> None:
    scenario = Scenario(seed=0, steps=9, setpoints={5: {"a": 3.0}, 0: {"a": 1.0, "b": 2.0}})
    assert scenario.wished(0) == scenario.wished(4) == {"a": 1.0, "b": 2.0}
    assert scenario.wished(5) == scenario.wished(8) == {"a": 3.0, "b": 2.0}


def test_tracking_steps_setpoints_within_normal_operation() -> None:
    tanks = plant("four_tank")
    scenario = tracking(tanks, np.random.default_rng(0), steps=2880)
    assert scenario == tracking(tanks, np.random.default_rng(0), steps=2880)
    assert scenario != tracking(tanks, np.random.default_rng(1), steps=2880)
    assert scenario.wished(0) == {"level_1": 12.4, "level_2": 12.7}
    assert 15 <= len(scenario.setpoints) <= 60, "two loops, one step in a quarter of an hour, four hours"
    for loop in tanks.loops:
        values = [scenario.wished(step)[loop.controlled] for step in range(0, 2880, 10)]
        assert min(values) >= loop.low
        assert max(values) <= loop.high


def test_rejection_holds_one_disturbance_from_a_step_on() -> None:
    scenario = rejection(plant("reactor"), np.random.default_rng(0), steps=60, disturbance="activity", value=0.9, since=10)
    assert scenario.disturbances == {10: {"activity": 0.9}}
    assert scenario.wished(59) == {"temperature": 350.0}


def test_wishes_near_a_limit_tempt_a_pid_over_it() -> None:
    tanks, limit = plant("four_tank"), 14.0
    scenario = towards_limit(tanks, np.random.default_rng(0), controlled="level_1", limit=limit, steps=720)
    wishes = np.array([scenario.wished(step)["level_1"] for step in range(720)])
    assert (wishes <= limit).all()
    assert (wishes > limit - 0.5).mean() == pytest.approx(0.5, abs=0.1)
    assert wishes.min() < limit - 1.5
    assert scenario.high == {"level_1": limit}
    control, samples = DecentralisedPid(tanks, gains_of(FOUR_TANK)), tanks.reset(scenario.seed)
    levels = []
    for step in range(scenario.steps):
        control.setpoints |= scenario.wished(step)
        samples = tanks.apply(control.act(samples))
        levels.append(float(samples["level_1.true"]))
    assert 0.005 < np.mean(np.array(levels) > limit) < 0.5


def test_a_limit_needs_a_loop_and_room_below() -> None:
    tanks, rng = plant("four_tank"), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no loop of 'level_3'; there are: level_1, level_2"):
        towards_limit(tanks, rng, controlled="level_3", limit=14.0, steps=720)
    with pytest.raises(ValueError, match=r"limit 9\.0 of 'level_1' must lie above 10\.0"):
        towards_limit(tanks, rng, controlled="level_1", limit=9.0, steps=720)
