"""A plant as a slower clock sees it: one command for several control steps, and means of what was measured meanwhile.

What moves setpoints is after the hours in which a plant settles, and looks at means of a quarter of an hour rather than at single samples:
most of their noise is gone, and a history of a few moments reaches far back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tacit.signals import MASK, Role, Schema
from tacit.worlds.plants.plant import ActionLimits, Floats, Loop, Operator, Plant, Samples


@final
class Averaged:
    """A `Plant` around another one, with control steps that are several of its own.

    Observations and disturbances are means over the steps since the last command, of those that brought a new sample; labels, pictures
    and the first samples of all are those of the moment.

    Args:
        plant: What runs.
        steps: Its control steps in one of this.

    Raises:
        ValueError: There is less than one step.
    """

    def __init__(self, plant: Plant, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        self._plant, self._steps = plant, steps
        self.name = f"{plant.name}_{steps}"
        self.schema: Schema = slower(plant.schema, steps)
        self.step_seconds: float = steps * plant.step_seconds
        self.action_limits: Mapping[str, ActionLimits] = plant.action_limits
        self.loops: tuple[Loop, ...] = plant.loops

    @property
    def operating_point(self) -> Mapping[str, float]:
        return self._plant.operating_point

    def reset(self, seed: int = 0) -> Samples:
        """See `Plant.reset`."""
        return self._plant.reset(seed)

    def apply(self, action: ArrayLike) -> Samples:
        """Run one step, which is several of the plant's own; see `Plant.apply`."""
        return average(self.schema, [self._plant.apply(action) for _ in range(self._steps)])

    def disturb(self, values: Mapping[str, float | None]) -> None:
        """See `Plant.disturb`."""
        self._plant.disturb(values)

    def operator(self, rng: np.random.Generator) -> Operator:
        """Who runs the plant, at this clock; see `Plant.operator`."""
        return _Patient(self._plant.operator(rng), self._steps)

    def branch(self) -> Averaged:
        """See `Plant.branch`."""
        return Averaged(self._plant.branch(), self._steps)


@final
class _Patient:
    """An operator who thinks as often as ever, and whose last command of a step is sent for all of it."""

    def __init__(self, operator: Operator, steps: int) -> None:
        self._operator, self._steps = operator, steps

    @property
    def setpoints(self) -> Mapping[str, float]:
        return self._operator.setpoints

    def act(self, samples: Samples) -> Floats:
        """See `Operator.act`."""
        return [self._operator.act(samples) for _ in range(self._steps)][-1]


def slower(schema: Schema, steps: int) -> Schema:
    """The signals of a plant with a control period that is so many times as long; no sensor is faster than that."""
    period = steps * schema.period
    signals = (s if s.rate is None else replace(s, rate=min(s.rate, 1 / period)) for s in schema.signals)
    return Schema(signals=tuple(signals), period=period)


def average(schema: Schema, moments: Sequence[Samples]) -> Samples:
    """What was seen in some moments as one: means of numbers that were measured anew, the last one where none was.

    Args:
        schema: Of the plant.
        moments: Oldest first, at least one.
    """
    found = dict(moments[-1])
    masks = {mask.name for mask in schema.masks.values()}
    for signal in (s for s in schema.signals if s.role in (Role.OBSERVATION, Role.DISTURBANCE) and not s.is_image):
        if signal.name in masks:
            found[signal.name] = np.any([moment[signal.name] for moment in moments], axis=0)
            continue
        fresh = [moment[signal.name] for moment in moments if np.all(moment.get(signal.name + MASK, True))]
        if fresh:
            found[signal.name] = np.mean(fresh, axis=0, dtype=np.float64).astype(signal.dtype)
    return found
