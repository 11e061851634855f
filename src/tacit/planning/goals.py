"""What a task says of its goal: what the machine should look like, where signals should be, what to save, and how calmly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.planning.channels import sensor_of
from tacit.planning.task_limits import Elements, TaskError, elements, number
from tacit.signals import Role, Schema, Signal


@dataclass(frozen=True, kw_only=True)
class SignalGoal:
    """Where one channel of a readout should be: at a value, or inside a range that costs nothing.

    Attributes:
        value: The setpoint, in the channel's unit; None for a range.
        low: Lower end of the range, or None for an open one.
        high: Upper end, likewise.
        weight: What the squared error costs at each step, in units of `scale`, beside that of other channels.
        scale: The error that counts as one; None for the channel's spread in the logs.
        unit: The unit that all of this is written in; a channel of another unit is refused. None for the channel's own.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    weight: float = 1.0
    scale: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        for name in ("value", "low", "high", "scale"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, number(given, name))
        _check_weight(self)
        if (self.value is None) == (self.low is None and self.high is None):
            raise TaskError("needs either a value or a range: value, or low, high or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise TaskError(f"low {self.low} is not below high {self.high}", "low")

    @property
    def bounds(self) -> tuple[float, float]:
        """What costs nothing: a range, open ends infinite, whose ends are one for a setpoint."""
        if self.value is not None:
            return self.value, self.value
        return -np.inf if self.low is None else self.low, np.inf if self.high is None else self.high


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """A number to make small or large: a weighted sum of channels and actions, such as the energy that pumps take.

    Attributes:
        name: What a person calls it; unique in a task.
        terms: Weights by channel of a readout or action signal; of an action one for all of its elements, or one per element.
        weight: What the sum costs at each step, in units of `scale`.
        scale: The sum that counts as one; None for what its terms come to over their spread in the logs, or over an action's range.
        unit: Of the sum, as a person reads it.
        maximise: Whether more is better.
    """

    name: str
    terms: Mapping[str, Elements]
    weight: float = 1.0
    scale: float | None = None
    unit: str = "1"
    maximise: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.terms, Mapping) or not self.terms:
            raise TaskError("must be a table of one or more weights by channel or action, such as { pump = 0.3 }", "terms")
        terms = {name: elements(value, "terms", name) for name, value in self.terms.items()}
        if not any(np.any(weight) for weight in terms.values()):
            raise TaskError("are all 0: there is nothing to make small", "terms")
        object.__setattr__(self, "terms", terms)
        if self.scale is not None:
            object.__setattr__(self, "scale", number(self.scale, "scale"))
        if not isinstance(self.unit, str) or not self.unit:
            raise TaskError(f"must be words, not {self.unit!r}", "unit")
        _check_weight(self)

    @property
    def key(self) -> tuple[str, str, str]:
        """Where the task has it."""
        return ("goal", "maximise" if self.maximise else "minimise", self.name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """What a machine is asked for; any mix.

    Attributes:
        observations: What it should look like in the end: one sample per observation signal, each of the signal's shape and units.
        signals: Where channels of its readouts should be.
        indicators: What to make small or large.
        moves: What the squared change of an action from one step to the next costs, in units of the action's range, by action signal; one
            for all of its elements, or one per element. `MOVE_WEIGHT` for actions that are not named.

    Raises:
        TaskError: There is nothing in it, or an entry is out of its domain.
    """

    observations: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    signals: Mapping[str, SignalGoal] = field(default_factory=dict)
    indicators: tuple[Indicator, ...] = ()
    moves: Mapping[str, Elements] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.observations or self.signals or self.indicators):
            raise TaskError("is empty: name an observation and what it should be, or a signal and where it should be")
        object.__setattr__(self, "observations", {name: np.asarray(value) for name, value in self.observations.items()})
        moves = {name: elements(value, "moves", name) for name, value in self.moves.items()}
        for name, weight in moves.items():
            if (np.asarray(weight) < 0).any():
                raise TaskError("must not be negative", "moves", name)
        if moves and not self.has_signals:
            raise TaskError("belong to goals on signals: there are none", "moves")
        object.__setattr__(self, "moves", moves)
        names = [indicator.name for indicator in self.indicators]
        for place, indicator in enumerate(self.indicators):
            if indicator.name in names[:place]:
                raise TaskError("is the name of another indicator, too", *indicator.key[1:])

    @property
    def has_signals(self) -> bool:
        """Whether there is anything that readouts or actions are scored by."""
        return bool(self.signals or self.indicators)

    @property
    def channels(self) -> tuple[str, ...]:
        """What is to be tracked, in the order of the task."""
        return tuple(self.signals)


def check_goal(goal: Goal, schema: Schema) -> None:
    """Refuse a goal that does not fit a machine; what only readouts know is checked with them (`signal_objective`).

    Args:
        goal: Of a task.
        schema: The machine's signals; with its labels, a goal that names one is refused as such.

    Raises:
        TaskError: A name, shape or unit is wrong, or a setpoint lies outside its signal's range.
    """
    for name, value in goal.observations.items():
        _check_sample(schema, name, value)
    for name, wanted in goal.signals.items():
        _check_signal(schema, name, wanted)
    for name, weight in goal.moves.items():
        _check_size(signal_of(schema, name, Role.ACTION, "goal", "moves", name), weight, "goal", "moves", name)
    for indicator in goal.indicators:
        for name, weight in indicator.terms.items():
            key = (*indicator.key, "terms", name)
            signal = schema.by_name.get(name)
            if signal is not None and signal.role is Role.LABEL:
                raise TaskError(f"label {name!r} is never given to a model: use a readout or an action", *key)
            if signal is not None and signal.role is Role.ACTION:
                _check_size(signal, weight, *key)
            elif not isinstance(weight, float):
                raise TaskError(f"must be a number: {name!r} is one channel", *key)


def signal_of(schema: Schema, name: str, role: Role, *key: str) -> Signal:
    """The signal of a name and role.

    Raises:
        TaskError: There is none.
    """
    signal = schema.by_name.get(name)
    if signal is None:
        known = ", ".join(s.name for s in schema.having(role))
        raise TaskError(f"there is no signal {name!r}; the {role}s are: {known}", *key)
    if signal.role is Role.LABEL:
        raise TaskError(f"label {name!r} is never given to a model: use an {role}", *key)
    if signal.role is not role:
        raise TaskError(f"{name!r} is a signal of role {signal.role}, not {role}", *key)
    return signal


def check_values(schema: Schema, channel: str, values: NDArray[np.float64], *key: str) -> None:
    """Refuse setpoints of a channel that are not finite or that its sensor can never show.

    Raises:
        TaskError: One is.
    """
    if not np.isfinite(values).all():
        raise TaskError("must be finite", *key)
    found = sensor_of(schema, channel)
    if found is None:
        return
    signal, _ = found
    low, high = -np.inf if signal.low is None else signal.low, np.inf if signal.high is None else signal.high
    if outside := [value for value in values.ravel().tolist() if not low <= value <= high]:
        unit = "" if signal.unit == "1" else f" {signal.unit}"
        raise TaskError(f"{outside[0]:g} is outside the range of {channel!r}, {low:g} to {high:g}{unit}", *key)


def _check_signal(schema: Schema, name: str, wanted: SignalGoal) -> None:
    key = ("goal", "signals", name)
    signal = schema.by_name.get(name)
    if signal is not None and signal.role is not Role.OBSERVATION:
        signal_of(schema, name, Role.OBSERVATION, *key)
    if signal is not None and wanted.unit is not None and wanted.unit != signal.unit:
        raise TaskError(f"is {wanted.unit!r}, but {name!r} is in {signal.unit!r}", *key, "unit")
    for part in ("value", "low", "high"):
        if (value := getattr(wanted, part)) is not None:
            check_values(schema, name, np.array(value), *key, part)


def _check_size(signal: Signal, weight: Elements, *key: str) -> None:
    if not isinstance(weight, float) and len(weight) != signal.size:
        raise TaskError(f"has {len(weight)} elements, but {signal.name!r} has {signal.size}", *key)


def _check_weight(entry: SignalGoal | Indicator) -> None:
    object.__setattr__(entry, "weight", number(entry.weight, "weight"))
    for name, value in (("weight", entry.weight), ("scale", entry.scale)):
        if value is not None and value <= 0:
            raise TaskError("must be positive", name)
    if entry.unit is not None and (not isinstance(entry.unit, str) or not entry.unit):
        raise TaskError(f"must be words, not {entry.unit!r}", "unit")


def _check_sample(schema: Schema, name: str, value: NDArray[Any]) -> None:
    signal = signal_of(schema, name, Role.OBSERVATION, "goal", name)
    if value.shape != signal.shape:
        raise TaskError(
            f"has shape {value.shape}, but {name!r} has {signal.shape}: make the goal as the camera or sensor would", "goal", name
        )
    if not np.can_cast(value.dtype, signal.dtype, "same_kind" if signal.dtype.startswith("float") else "safe"):
        raise TaskError(f"has dtype {value.dtype}, but {name!r} has {signal.dtype}", "goal", name)
    if not np.isfinite(value).all():
        raise TaskError("must be finite", "goal", name)
