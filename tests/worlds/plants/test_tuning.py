"""Tuning against closed forms, and what it is worth on the plants."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tacit.worlds.plants import PLANTS, SimulatedPlant, gains_of, plant
from tacit.worlds.plants.evaporator import EVAPORATOR
from tacit.worlds.plants.four_tank import FOUR_TANK, FOUR_TANK_NONMINIMUM
from tacit.worlds.plants.reactor import REACTOR
from tacit.worlds.plants.tuning import NOISE, Lag, closed_one_by_one, fitted, lag, step_response, trial

PROCESSES = (FOUR_TANK, FOUR_TANK_NONMINIMUM, REACTOR, EVAPORATOR)


def response(slope: float, tau: float, dead: float, steps: int) -> np.ndarray:
    since = np.maximum(np.arange(steps) - dead, 0.0)
    return slope * (since if math.isinf(tau) else tau * -np.expm1(-since / tau))


@pytest.mark.parametrize(("slope", "tau", "dead"), [(0.3, 20.0, 5.0), (-2.0, 60.0, 0.0), (0.01, 8.0, 30.0)])
def test_a_lag_with_dead_time_is_found_again(slope: float, tau: float, dead: float) -> None:
    found = fitted(response(slope, tau, dead, 200))
    assert found.slope == pytest.approx(slope, rel=0.08)
    assert found.seconds == pytest.approx(tau, rel=0.1)
    assert found.dead_seconds == pytest.approx(dead, abs=1.5)


@pytest.mark.parametrize("tau", [-30.0, math.inf])
def test_what_runs_away_or_never_ends_counts_as_an_integrator_of_the_same_slope(tau: float) -> None:
    found = fitted(response(0.5, tau, 0.0, 60))
    assert found.slope == pytest.approx(0.5, rel=0.06)
    assert found.seconds == math.inf or found.seconds > 500


def test_the_rule_is_that_of_simc() -> None:
    """Skogestad's example of a first-order lag: gain 1, time constant 10, dead time 1, closed loop as fast as the dead time."""
    gains = Lag(slope=0.1, seconds=10.0, dead_seconds=1.0).simc(1.0)
    assert (gains.gain, gains.integral_seconds) == pytest.approx((5.0, 8.0))
    assert Lag(slope=0.1, seconds=math.inf, dead_seconds=1.0).simc(1.0).integral_seconds == pytest.approx(8.0)


def test_the_lag_of_a_tank_is_that_of_its_equations() -> None:
    found = lag(FOUR_TANK, FOUR_TANK.loops[0], {})
    assert found.seconds == pytest.approx(62, rel=0.06)
    assert found.slope == pytest.approx(0.70 * 3.33 / 28, rel=0.05)
    assert found.dead_seconds == pytest.approx(2.5), "half a control step"


def test_a_sensor_is_only_moved_through_the_loops_that_are_closed() -> None:
    level, composition, _ = EVAPORATOR.loops
    assert not step_response(EVAPORATOR, composition, {}).any()
    with pytest.raises(ValueError, match="'steam_pressure' does not move 'composition'; close the loops in another order"):
        lag(EVAPORATOR, composition, {})
    closed = closed_one_by_one(EVAPORATOR, 2.0)
    assert step_response(EVAPORATOR, composition, {level.controlled: closed[level.controlled]})[-1] > 0.01


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
def test_tuned_loops_are_quiet_and_better_than_much_slower_ones(process: type) -> None:
    gains = gains_of(process)
    for loop in process.loops:
        noise = next(s.noise for s in process.sensors if s.name == loop.controlled)
        width = next(a.high - a.low for a in process.actuators if a.name == loop.manipulated)
        assert abs(gains[loop.controlled].gain) * noise <= 1.001 * NOISE * width
    tuned = trial(SimulatedPlant(process, unrest=0.0), gains)
    slow = trial(SimulatedPlant(process, unrest=0.0), closed_one_by_one(process, 24.0))
    assert tuned < 0.8 * slow


def test_a_loop_that_loses_the_reactor_costs_everything() -> None:
    assert trial(SimulatedPlant(REACTOR, unrest=0.0), closed_one_by_one(REACTOR, 20.0)) == math.inf


def test_every_simulated_plant_can_be_tuned() -> None:
    for name in set(PLANTS) - {"tennessee_eastman"}:
        made = plant(name)
        if isinstance(made, SimulatedPlant):
            assert set(gains_of(made.process)) == {loop.controlled for loop in made.loops}
