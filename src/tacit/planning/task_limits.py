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
