"""Decentralised PI control: one sensor, one actuator and one setpoint per loop, as most plants are run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from tacit.signals import MASK
from tacit.worlds.plants.plant import ActionLimits, Floats, Plant, Samples


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Of one loop: u = gain * (e + integral of e / integral_seconds).

    Attributes:
        gain: In units of the actuator per unit of the sensor; negative where the actuator lowers the sensor.
        integral_seconds: Time after which the integral part of a step of the error equals its proportional part.
    """

    gain: float
    integral_seconds: float


@final
class Pid:
    """A PI controller of one loop in velocity form: what it changes is added to the command that was really given.

    The integral part is nowhere but in that command, so that it cannot wind up at a limit, and handing over from and to a hand is smooth.

    Args:
        gains: Its settings.
        limits: Of its actuator.
    """

    def __init__(self, gains: Gains, limits: ActionLimits) -> None:
        self.gains, self.limits = gains, limits
        self._error: float | None = None
        self._since = 0.0

    def act(self, error: float | None, command: float, seconds: float) -> float:
        """The next command, inside the limits.

        Args:
            error: Setpoint minus sensor, or None where the sensor has no new sample.
            command: The last one.
            seconds: Since the last call.
        """
        self._since += seconds
        if error is None:
            return command
        before, since = error if self._error is None else self._error, self._since
        change = self.gains.gain * (error - before + error * since / self.gains.integral_seconds)
        self._error, self._since = error, 0.0
        return limited(command + change, command, self.limits, seconds)


def limited(wanted: float, before: float, limits: ActionLimits, seconds: float) -> float:
    """The command nearest to `wanted` that an actuator can have `seconds` after the command `before`."""
    step = math.inf if limits.rate is None else limits.rate * seconds
    return min(max(min(max(wanted, before - step), before + step), limits.low), limits.high)


@final
class DecentralisedPid:
    """All loops of a plant. Actuators without a loop stay where they are.

    Args:
        plant: Whose loops, limits and operating point count; it is not touched.
        gains: By controlled sensor.
    """

    def __init__(self, plant: Plant, gains: Mapping[str, Gains]) -> None:
        self.limits = plant.action_limits
        self.setpoints = {loop.controlled: plant.operating_point[loop.controlled] for loop in plant.loops}
        self.commands = {name: plant.operating_point[name] for name in self.limits}
        self._loops, self._seconds = plant.loops, plant.step_seconds
        self._pids = {loop.controlled: Pid(gains[loop.controlled], self.limits[loop.manipulated]) for loop in plant.loops}

    def act(self, samples: Samples) -> Floats:
        """The commands (m,) for the step that begins with these samples; `setpoints` may be changed before."""
        for loop in self._loops:
            name = loop.controlled
            fresh = bool(samples.get(name + MASK, True)) and bool(np.isfinite(samples[name]))
            error = self.setpoints[name] - float(samples[name]) if fresh else None
            self.commands[loop.manipulated] = self._pids[name].act(error, self.commands[loop.manipulated], self._seconds)
        return np.array(list(self.commands.values()))
