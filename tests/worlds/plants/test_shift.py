"""Who runs a plant while its logs are written."""

from __future__ import annotations

import numpy as np

from tacit.worlds.plants import Gains, SimulatedPlant, plant
from tacit.worlds.plants.heater import HEATER
from tacit.worlds.plants.plant import Floats
from tacit.worlds.plants.shift import SIZE, Shift

GAINS = {loop.controlled: Gains(gain=0.6, integral_seconds=150.0) for loop in HEATER.loops}


def worked(hours: float, seed: int) -> tuple[Floats, list[dict[str, float]]]:
    """Commands (T, m) and setpoints of some hours at a furnace whose sensors are always at their setpoints."""
    furnace = plant("heater")
    shift = Shift(furnace, GAINS, np.random.default_rng(seed))
    sent, setpoints = [], []
    for _ in range(round(3600 * hours / furnace.step_seconds)):
        samples = {name: np.float32(value) for name, value in shift.setpoints.items()}
        sent.append(shift.act(samples))
        setpoints.append(dict(shift.setpoints))
    return np.array(sent), setpoints


def test_setpoints_change_now_and_then_inside_the_range_of_operation() -> None:
    _, setpoints = worked(12, 0)
    for loop in HEATER.loops:
        values = np.array([each[loop.controlled] for each in setpoints])
        changes = np.flatnonzero(np.diff(values))
        assert 12 < len(changes) < 48, "one in half an hour"
        assert ((values >= loop.low) & (values <= loop.high)).all()


def test_commands_keep_ranges_and_rates() -> None:
    sent, _ = worked(12, 0)
    for column, actuator in zip(sent.T, HEATER.actuators, strict=True):
        assert ((column >= actuator.low) & (column <= actuator.high)).all()
        assert np.abs(np.diff(column)).max() <= actuator.rate * HEATER.step_seconds * (1 + 1e-9)


def test_some_hours_have_test_signals_and_some_have_none() -> None:
    sent, _ = worked(16, 1)
    by_hand = sent[:, 1].reshape(16, -1)  # burner 2 has no loop
    pulses = np.array([(np.abs(np.diff(hour)) > 1e-9).sum() for hour in by_hand])
    assert (pulses <= 12).sum() >= 3
    assert (pulses >= 13).sum() >= 3
    tested = by_hand[np.argmax(pulses)]
    width = HEATER.actuators[1].high - HEATER.actuators[1].low
    assert np.abs(np.diff(tested)).max() >= 1.9 * SIZE * width


def test_an_actuator_without_a_loop_is_moved_by_hand() -> None:
    sent, _ = worked(12, 2)
    assert np.ptp(sent[:, 1]) > 5.0
    assert np.ptp(sent[:, 2]) > 5.0


def test_a_shift_is_the_same_for_the_same_seed() -> None:
    assert np.array_equal(worked(1, 3)[0], worked(1, 3)[0])
    assert not np.array_equal(worked(1, 3)[0], worked(1, 4)[0])


def test_a_simulated_plant_has_people_who_hold_its_loops() -> None:
    reactor = plant("reactor")
    assert isinstance(reactor, SimulatedPlant)
    samples, operator = reactor.reset(4), reactor.operator(np.random.default_rng(0))
    errors = []
    for _ in range(720):
        samples = reactor.apply(operator.act(samples))
        errors.append(abs(float(samples["temperature"]) - operator.setpoints["temperature"]))
    assert np.median(errors) < 0.5, "on a saddle that left alone is gone in a minute"
    assert max(errors) < 20.0
