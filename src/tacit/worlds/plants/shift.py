"""A shift of operators: controllers hold setpoints, people change them, and in some hours somebody tries the actuators out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from tacit.worlds.plants.pid import DecentralisedPid, Gains, limited
from tacit.worlds.plants.plant import Floats, Plant, Samples

HOUR = 3600.0  # seconds
HOLD = 900.0  # mean time in seconds between two positions of an actuator without a loop
TESTED = 0.5  # share of the hours with test signals
PULSES = 40.0  # mean number of pulses of a test signal in an hour
SIZE = 0.03  # of a test signal, as a share of the actuator's range


@final
class Shift:
    """An `Operator` of decentralised PI control.

    Setpoints step to places drawn from the range of normal operation. An actuator without a loop is moved by hand, within a quarter of its
    range around the operating point. In an hour with test signals, each actuator gets a random binary signal of its own (pulses of random
    length) on top of what its controller wants, which the controllers then meet as a disturbance.

    Args:
        plant: What is run; it is not touched.
        gains: Settings by controlled sensor.
        rng: Draws what people do.
    """

    def __init__(self, plant: Plant, gains: Mapping[str, Gains], rng: np.random.Generator) -> None:
        self._control = DecentralisedPid(plant, gains)
        self._loops, self._seconds, self._rng = plant.loops, plant.step_seconds, rng
        self._limits = list(plant.action_limits.values())
        led = {loop.manipulated for loop in plant.loops}
        self._free = {name: plant.operating_point[name] for name in plant.action_limits if name not in led}
        self._by_hand = dict(self._free)
        self._signs, self._tested, self._step = np.zeros(len(self._limits)), False, 0
        self._sent = np.array(list(self._control.commands.values()))

    @property
    def setpoints(self) -> Mapping[str, float]:
        return self._control.setpoints

    def act(self, samples: Samples) -> Floats:
        """See `Operator.act`."""
        self._decide()
        for name, wanted in self._by_hand.items():
            limits = self._control.limits[name]
            self._control.commands[name] = limited(wanted, self._control.commands[name], limits, self._seconds)
        commands = self._control.act(samples)
        tests = [sign * SIZE * (limit.high - limit.low) for sign, limit in zip(self._signs, self._limits, strict=True)]
        sent = [
            limited(wanted + test, before, limits, self._seconds)
            for wanted, test, before, limits in zip(commands, tests, self._sent, self._limits, strict=True)
        ]
        self._sent = np.array(sent)
        return self._sent

    def _decide(self) -> None:
        """What people do before this step."""
        for loop in self._loops:
            if self._rng.random() < self._seconds / loop.hold_seconds:
                self._control.setpoints[loop.controlled] = float(self._rng.uniform(loop.low, loop.high))
        for name, nominal in self._free.items():
            if self._rng.random() < self._seconds / HOLD:
                limits = self._control.limits[name]
                place = nominal + self._rng.uniform(-0.25, 0.25) * (limits.high - limits.low)
                self._by_hand[name] = float(np.clip(place, limits.low, limits.high))
        if self._step % round(HOUR / self._seconds) == 0:
            self._tested = bool(self._rng.random() < TESTED)
        self._step += 1
        turns = self._rng.random(len(self._signs)) < PULSES * self._seconds / HOUR
        signs = self._rng.choice((-1.0, 1.0), len(self._signs))
        self._signs = np.where(turns, signs, self._signs) if self._tested else np.zeros(len(self._signs))
