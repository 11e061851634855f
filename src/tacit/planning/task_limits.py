"""What a task says about its limits: entries that are checked alone, when they are built."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from tacit.located import EntryError

Elements = float | Sequence[float]


class TaskError(EntryError):
    """A task is not well-formed, or does not fit a schema."""


@dataclass(frozen=True, kw_only=True)
class ActionLimit:
    """Hard limits on one action signal, in its unit.

    Attributes:
        low: Smallest value, one for all elements or one per element; None leaves the signal's own.
        high: Largest value, likewise.
        max_norm: Largest Euclidean norm of the signal, or None for the signal's own.
        rate: Largest change per second, one for all elements or one per element; None for no limit.
        jerk: Largest change of the rate per second, in the unit per second squared, likewise: what keeps the start and the end of a ramp
            smooth.
        unit: The unit that all of this is written in; a signal of another unit is refused. None for the signal's own.
    """

    low: Elements | None = None
    high: Elements | None = None
    max_norm: float | None = None
    rate: Elements | None = None
    jerk: Elements | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high", "rate", "jerk"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, elements(value, name))
        for name in ("max_norm", "rate", "jerk"):
            value = getattr(self, name)
            if value is not None and not (np.array(elements(value, name)) > 0).all():
                raise TaskError("must be positive", name)
        if self.low is None or self.high is None:
            return
        low, high = np.atleast_1d(self.low), np.atleast_1d(self.high)
        if len(low) != len(high) and 1 not in (len(low), len(high)):
            raise TaskError(f"low has {len(low)} elements and high has {len(high)}", "high")
        if (low > high).any():
            raise TaskError(f"low {self.low} is above high {self.high}", "low")


@dataclass(frozen=True, kw_only=True)
class LinearLimit:
    """A hard limit on a weighted sum of actions: `sum of weight times action <= at_most`.

    Attributes:
        name: What a person calls the sum; unique in a task.
        weights: Weights by action signal, one for all of its elements or one per element; an action that is not named does not count.
        at_most: Largest value of the sum, in its unit: that of the weights times that of the actions.
        unit: The unit of the sum, as a person reads it; `"1"` when it has none.
    """

    name: str
    weights: Mapping[str, Elements]
    at_most: float
    unit: str = "1"

    def __post_init__(self) -> None:
        for name in ("name", "unit"):
            if not isinstance(value := getattr(self, name), str) or not value:
                raise TaskError(f"must be words, not {value!r}", name)
        if not isinstance(self.weights, Mapping) or not self.weights:
            raise TaskError("must be a table of one or more weights by action, such as { coolant = 1.0 }", "weights")
        weights = {name: elements(value, "weights", name) for name, value in self.weights.items()}
        if not any(np.any(weight) for weight in weights.values()):
            raise TaskError("are all 0: there is nothing to limit", "weights")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "at_most", number(self.at_most, "at_most"))


@dataclass(frozen=True, kw_only=True)
class SignalLimit:
    """A limit on what a readout of the predicted state shows, in its unit.

    Attributes:
        low: Smallest value, or None.
        high: Largest value, or None.
        confidence: Share of the episodes that are to keep it throughout, above 0 and below 1. None takes nothing off for the errors of the
            model, and promises nothing.
        hard: True when a plan that breaks it is never applied; False when it only costs.
        priority: What a shortfall costs beside that of other soft limits.
        unit: The unit that all of this is written in; a readout of another unit is refused. None for the readout's own.
    """

    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    hard: bool = True
    priority: float = 1.0
    unit: str | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, number(value, name))
        if self.low is None and self.high is None:
            raise TaskError("limits nothing: give low, high or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise TaskError(f"low {self.low} is not below high {self.high}", "low")
        _check_assurance(self)


@dataclass(frozen=True, kw_only=True)
class RegionLimit:
    """A no-go region over two channels of readouts: a rectangle from `low` to `high`, or a circle.

    Attributes:
        name: What a person calls it; unique in a task.
        channels: The two channels.
        low: Lower corner of a rectangle.
        high: Upper corner of a rectangle.
        centre: Centre of a circle.
        radius: Radius of a circle.
        confidence: As of `SignalLimit`.
        hard: Likewise.
        priority: Likewise.
        unit: Likewise.
    """

    name: str
    channels: tuple[str, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    centre: tuple[float, ...] | None = None
    radius: float | None = None
    confidence: float | None = None
    hard: bool = True
    priority: float = 1.0
    unit: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TaskError(f"must be words, not {self.name!r}", "name")
        is_list = isinstance(self.channels, Sequence) and not isinstance(self.channels, str)
        if not is_list or len(self.channels) != 2 or len(set(self.channels)) != 2 or not all(isinstance(c, str) for c in self.channels):
            raise TaskError(f"must be a list of two different channels, not {self.channels!r}", "channels")
        object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("low", "high", "centre"):
            if (value := getattr(self, name)) is not None:
                point = elements(value, name)
                if isinstance(point, float) or len(point) != 2:
                    raise TaskError(f"must be a list of two numbers, one per channel, not {value!r}", name)
                object.__setattr__(self, name, tuple(point))
        rectangle, circle = (self.low, self.high), (self.centre, self.radius)
        if not ((None not in rectangle and circle == (None, None)) or (None not in circle and rectangle == (None, None))):
            raise TaskError("must be a rectangle, with low and high, or a circle, with centre and radius")
        if self.low is not None and self.high is not None and not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise TaskError(f"low {list(self.low)} is not below high {list(self.high)} in both channels", "low")
        if self.radius is not None:
            object.__setattr__(self, "radius", number(self.radius, "radius"))
            if self.radius <= 0:
                raise TaskError("must be positive", "radius")
        _check_assurance(self)


def _check_assurance(limit: SignalLimit | RegionLimit) -> None:
    if limit.confidence is not None:
        object.__setattr__(limit, "confidence", number(limit.confidence, "confidence"))
        if not 0 < limit.confidence < 1:
            raise TaskError(f"must be above 0 and below 1, such as 0.99, not {limit.confidence}", "confidence")
    if not isinstance(limit.hard, bool):
        raise TaskError(f"must be true or false, not {limit.hard!r}", "hard")
    object.__setattr__(limit, "priority", number(limit.priority, "priority"))
    if limit.priority <= 0:
        raise TaskError("must be positive", "priority")
    if limit.hard and limit.priority != 1.0:
        raise TaskError("is of soft limits: a hard limit is never weighed against another one", "priority")
    if limit.unit is not None and (not isinstance(limit.unit, str) or not limit.unit):
        raise TaskError(f"must be words, not {limit.unit!r}", "unit")


def number(value: object, *key: str) -> float:
    """A finite number, as a float.

    Raises:
        TaskError: It is something else.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TaskError(f"must be a number, not {value!r}", *key)
    if not math.isfinite(value):
        raise TaskError(f"must be finite, not {value}; leave an unknown limit out", *key)
    return float(value)


def elements(value: object, *key: str) -> Elements:
    """One finite number, or a tuple of them.

    Raises:
        TaskError: It is something else.
    """
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return tuple(number(v, *key) for v in value)
    return number(value, *key)
