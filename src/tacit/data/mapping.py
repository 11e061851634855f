"""Mapping files: how the channels of a source become the signals of a store, in one small TOML language for all formats.

format = "table"              # optional where the source can be recognised
period = 0.1                  # control clock: seconds from one moment to the next

[options]                     # the format's own; `tacit formats NAME` lists them
time = "timestamp"

[episodes]                    # cut where a signal is missing, and here
min_steps = 10
max_steps = 1000

[clock]                       # only with delay = "estimate"
reference = "speed"           # the signal whose clock is right
max_offset = 0.5              # seconds to look for

[signals.camera]
source = "front.mp4"
role = "observation"
size = [64, 64]               # height and width in the store

[signals.tank]
source = ["LI101.PV", "LI102.PV"]     # several channels make one vector
role = "observation"
unit = "m"
scale = 0.01                  # stored = scale * logged + offset
align = "linear"              # hold | linear | mean | last_valid
max_age = 2.0                 # seconds after which a sample is too old to be used
missing = "mask"              # or "cut": end the episode there

[signals.valve]
source = "FV101.OP"
role = "action"
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tacit.located import EntryError, Source, read_toml, text_of
from tacit.signals import DTYPES, SEEN, Role, Signal


class MappingError(EntryError):
    """A mapping is not well-formed, or does not fit its source."""


class Align(StrEnum):
    """How the samples of a stream become one value per moment of the control clock.

    For an action, which is a value per step rather than per moment, the command is taken as in force from its time stamp until the
    next one, and every rule but `linear` takes its mean over the step, weighted by how long each command was in force.
    """

    HOLD = "hold"  # the newest sample at or before the moment, good or not
    LINEAR = "linear"  # between the good samples on both sides: looks ahead, so it is for logs only
    MEAN = "mean"  # of the good samples since the last moment
    LAST_VALID = "last_valid"  # the newest good sample at or before the moment


class Missing(StrEnum):
    """What to do where a signal has no good sample."""

    CUT = "cut"  # the episode ends before, and the next one begins after
    MASK = "mask"  # the last value stands there, and a mask beside it says so


ESTIMATE = "estimate"
AGES = 3.0  # periods or sampling intervals after which a sample is too old, where the mapping does not say

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class SignalMapping:
    """How channels become one signal.

    Attributes:
        source: Channels by name; several scalars or vectors are laid one after the other.
        role: What the signal is to the model.
        unit: Unit in the store.
        scale: Stored = scale * logged + offset.
        offset: See there, in the store's unit.
        dtype: In the store; cameras are always uint8.
        elements: Elements of the joined vector to keep, in this order; None for all.
        low: Smallest physical value, for the schema.
        high: Largest physical value, for the schema.
        max_norm: Largest Euclidean norm, for the schema.
        rate: Samples per second of the source, for the default of `max_age` and for the schema.
        align: Rule of alignment.
        max_age: Seconds after which a sample is too old; None for three control periods or sampling intervals, whichever is longer.
        delay: Seconds by which the stream's time stamps are late (dead time of a sensor, transport of a camera), or `estimate`.
        drift: Seconds by which they get later per second.
        missing: What to do where there is no good sample.
        valid_low: A stored value below this is not a good sample.
        valid_high: A stored value above this is not a good sample.
        stuck_after: Seconds of exactly equal values after which they are not good samples; None never.
        size: Height and width of a camera in the store; None for its own.

    Raises:
        MappingError: A field is out of its domain.
    """

    source: tuple[str, ...]
    role: Role
    unit: str = "1"
    scale: float = 1.0
    offset: float = 0.0
    dtype: str = "float32"
    elements: tuple[int, ...] | None = None
    low: float | None = None
    high: float | None = None
    max_norm: float | None = None
    rate: float | None = None
    align: Align = Align.HOLD
    max_age: float | None = None
    delay: float | str = 0.0
    drift: float = 0.0
    missing: Missing = Missing.CUT
    valid_low: float | None = None
    valid_high: float | None = None
    stuck_after: float | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sources = (self.source,) if isinstance(self.source, str) else self.source
        if not isinstance(sources, Sequence) or not sources or not all(isinstance(s, str) and s for s in sources):
            raise MappingError('must be the name of a channel, or a list of names: source = "speed"', "source")
        object.__setattr__(self, "source", tuple(sources))
        for name, kind in (("role", Role), ("align", Align), ("missing", Missing)):
            value = getattr(self, name)
            if value not in list(kind):
                raise MappingError(f"{value!r} is none of: {', '.join(kind)}", name)
            object.__setattr__(self, name, kind(value))
        if not isinstance(self.unit, str):
            raise MappingError(f"must be text, not {self.unit!r}", "unit")
        if self.dtype not in DTYPES:
            raise MappingError(f"{self.dtype!r} is none of: {', '.join(DTYPES)}", "dtype")
        for name in ("scale", "offset", "drift"):
            object.__setattr__(self, name, _number(getattr(self, name), name))
        for name in ("low", "high", "max_norm", "rate", "max_age", "valid_low", "valid_high", "stuck_after"):
            if (value := getattr(self, name)) is not None:
                infinite = name == "max_age" and value == math.inf
                object.__setattr__(self, name, math.inf if infinite else _number(value, name))
        for name in ("max_norm", "rate", "max_age", "stuck_after"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise MappingError("must be positive", name)
        if not self.scale:
            raise MappingError("must not be 0: every value would be the same", "scale")
        if self.delay != ESTIMATE:
            object.__setattr__(self, "delay", _number(self.delay, "delay"))
        if self.elements is not None:
            object.__setattr__(self, "elements", _whole(self.elements, "elements", least=0))
        if self.size is not None:
            object.__setattr__(self, "size", _whole(self.size, "size", least=1, count=2))
        if self.missing is Missing.MASK and self.role not in SEEN:
            raise MappingError(
                "only an observation or a disturbance can be masked: without the action nobody knows what was done", "missing"
            )

    def oldest(self, period: float) -> float:
        """Age in seconds beyond which a sample is not used.

        Args:
            period: Control period in seconds.
        """
        return AGES * max(period, 1 / self.rate if self.rate else 0.0) if self.max_age is None else self.max_age


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """Where one episode ends and the next begins, besides gaps.

    Attributes:
        min_steps: Shorter episodes are left out, and counted.
        max_steps: Longer ones are cut; the next one begins at the same moment.
    """

    min_steps: int = 10
    max_steps: int = 1000

    def __post_init__(self) -> None:
        for name in ("min_steps", "max_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MappingError(f"must be a whole number of at least 1, not {value!r}", name)
        if self.min_steps > self.max_steps:
            raise MappingError(f"{self.min_steps} is more than max_steps, {self.max_steps}", "min_steps")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What delays are estimated against.

    Attributes:
        reference: Signal whose clock is right.
        max_offset: Seconds to look for in both directions.
    """

    reference: str
    max_offset: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.reference, str):
            raise MappingError(f"must be the name of a signal, not {self.reference!r}", "reference")
        if _number(self.max_offset, "max_offset") <= 0:
            raise MappingError("must be positive", "max_offset")


@dataclass(frozen=True, kw_only=True)
class LogMapping:
    """How a source becomes a store.

    Attributes:
        signals: By name, in storage order.
        period: Control period in seconds.
        format: Name of the format, or None to recognise it.
        options: The format's own.
        episodes: Where to cut.
        clock: What delays are estimated against.
        source: Where the entries stand when the mapping came from a file.

    Raises:
        MappingError: The entries do not fit together.
    """

    signals: Mapping[str, SignalMapping]
    period: float
    format: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    episodes: Cutting = field(default_factory=Cutting)
    clock: Clock | None = None
    source: Source | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if _number(self.period, "period") <= 0:
            raise MappingError("must be positive", "period")
        if not self.signals:
            raise MappingError("is missing: map at least one channel, [signals.NAME]", "signals")
        for name, signal in self.signals.items():
            if signal.delay == ESTIMATE and (self.clock is None or name == self.clock.reference):
                raise MappingError('"estimate" needs a table [clock] with another signal as reference', "signals", name, "delay")
        if self.clock is not None and self.clock.reference not in self.signals:
            raise MappingError(f"there is no signal {self.clock.reference!r}", "clock", "reference")

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that some signal is made of, each once."""
        return tuple(dict.fromkeys(name for signal in self.signals.values() for name in signal.source))

    @classmethod
    def from_toml(cls, path: str | Path) -> LogMapping:
        """Read a mapping file.

        Raises:
            MappingError: The file cannot be read, or an entry is unknown, of the wrong type or out of its domain; with its line.
        """
        path = Path(path)
        return cls.from_text(text_of(path, MappingError), name=path.name)

    @classmethod
    def from_text(cls, text: str, name: str = "mapping.toml") -> LogMapping:
        """Read the text of a mapping file; `name` is what messages call it.

        Raises:
            MappingError: As `from_toml`.
        """
        return read_toml(text, name, MappingError, _read)

    def fault(self, reason: str, *key: str) -> MappingError:
        """An error about one entry, with its line when the mapping came from a file."""
        error = MappingError(reason, *key)
        return self.source.located(error) if self.source else error


def _read(tables: Mapping[str, Any], source: Source) -> LogMapping:
    known = [f.name for f in fields(LogMapping) if f.name != "source"]
    if unknown := [name for name in tables if name not in known]:
        raise MappingError(f"unknown key; use one of: {', '.join(known)}", unknown[0])
    if "period" not in tables:
        raise MappingError("is missing: the control clock in seconds, such as period = 0.1", "period")
    for name in ("signals", "options", "episodes", "clock"):
        if not isinstance(tables.get(name, {}), dict):
            raise MappingError("must be a table", name)
    if not isinstance(tables.get("format", ""), str):
        raise MappingError("must be the name of a format", "format")
    signals = {}
    for name, table in tables.get("signals", {}).items():
        signals[name] = _value(SignalMapping, table, "signals", name)
        try:
            Signal(name=name, role=signals[name].role)
        except ValueError as error:
            raise MappingError(str(error), "signals", name) from error
    return LogMapping(
        signals=signals,
        period=tables["period"],
        format=tables.get("format"),
        options=tables.get("options", {}),
        episodes=_value(Cutting, tables.get("episodes", {}), "episodes"),
        clock=_value(Clock, tables["clock"], "clock") if "clock" in tables else None,
        source=source,
    )


def _value(of: type[Value], table: object, *key: str) -> Value:
    if not isinstance(table, dict):
        raise MappingError("must be a table", *key)
    known = {f.name: f for f in fields(of)}  # type: ignore[arg-type]
    if unknown := [name for name in table if name not in known]:
        raise MappingError(f"unknown key; use one of: {', '.join(known)}", *key, unknown[0])
    try:
        return of(**table)
    except MappingError as error:
        raise MappingError(error.reason, *key, *error.key) from error.__cause__
    except TypeError as error:  # an argument without default is missing
        raise MappingError(f"is incomplete: {str(error).split('() ')[-1]}", *key) from error


def _number(value: object, *key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MappingError(f"must be a number, not {value!r}", *key)
    if not math.isfinite(value):
        raise MappingError(f"must be finite, not {value}", *key)
    return float(value)


def _whole(values: object, *key: str, least: int, count: int | None = None) -> tuple[int, ...]:
    listed = isinstance(values, Sequence) and all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values)
    if not listed or not values or (count is not None and len(values) != count):  # type: ignore[arg-type]
        raise MappingError(f"must be {count or 'some'} whole numbers of at least {least}, not {values!r}", *key)
    return tuple(values)  # type: ignore[arg-type]
