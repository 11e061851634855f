"""Signals: what a log column is, and the schema that a store, a run and a task share.

A `Signal` names one channel or one camera with its role, shape, unit, range and rate. A `Schema` is the ordered set of
signals of one machine with its control period. Both are plain values: frozen, comparable, written to JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


class SchemaError(ValueError):
    """A signal or schema is not well-formed, or two schemas do not fit together."""


class Role(StrEnum):
    """What a signal is to the model."""

    OBSERVATION = "observation"  # seen by the model
    ACTION = "action"  # chosen by the controller
    DISTURBANCE = "disturbance"  # measured, not controlled
    LABEL = "label"  # for probes and scoring only; no model, planner or monitor ever receives one


SEEN = (Role.OBSERVATION, Role.DISTURBANCE)
MASK = ".valid"  # ending of the name of a mask
DTYPES = ("uint8", "int32", "int64", "float32", "float64", "bool")


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One named channel, vector or image.

    Attributes:
        name: Unique in its schema; letters, digits, `_`, `.` and `-`.
        role: What the signal is to the model.
        shape: Shape of one sample: `()` scalar, `(n,)` vector, `(height, width, channels)` image.
        dtype: One of `DTYPES`. Images are `uint8`.
        unit: Unit of a sample as a person reads it, `"1"` when it has none.
        low: Smallest physical value, or None when unknown. The same for every element.
        high: Largest physical value, or None when unknown.
        max_norm: Largest Euclidean norm of one sample (for vector actions), or None.
        rate: Native sampling rate in Hz, or None when it is the schema's control rate.

    Raises:
        SchemaError: A field is out of its domain.
    """

    name: str
    role: Role
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    max_norm: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "_.-" for c in self.name):
            raise SchemaError(f"signal name {self.name!r}: use letters, digits, '_', '.' and '-'")
        if self.dtype not in DTYPES:
            raise SchemaError(f"signal {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if any(n <= 0 for n in self.shape):
            raise SchemaError(f"signal {self.name!r}: shape {self.shape} has an empty dimension")
        bounds = (self.low, self.high, self.max_norm, self.rate)
        if any(b is not None and not math.isfinite(b) for b in bounds):
            raise SchemaError(f"signal {self.name!r}: low, high, max_norm and rate must be finite; leave unknown ones out")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise SchemaError(f"signal {self.name!r}: low {self.low} is above high {self.high}")
        if self.max_norm is not None and self.max_norm <= 0:
            raise SchemaError(f"signal {self.name!r}: max_norm must be positive")
        if self.rate is not None and self.rate <= 0:
            raise SchemaError(f"signal {self.name!r}: rate must be positive")

    @property
    def size(self) -> int:
        """Number of elements of one sample."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one sample as it is stored."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def is_image(self) -> bool:
        """True for a camera frame: `uint8` of shape (height, width, channels)."""
        return self.dtype == "uint8" and len(self.shape) == 3

    def to_json(self) -> dict[str, Any]:
        """The signal as JSON values; fields at None are left out."""
        values = {
            "name": self.name,
            "role": str(self.role),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "max_norm": self.max_norm,
            "rate": self.rate,
        }
        return {k: v for k, v in values.items() if v is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Signal:
        """Read what `to_json` wrote.

        Raises:
            SchemaError: A key is missing, unknown or of the wrong type.
        """
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(values) - known):
            raise SchemaError(f"signal {values.get('name', '?')!r}: unknown keys {', '.join(unknown)}")
        try:
            fixed = {"role": Role(values["role"]), "shape": tuple(int(n) for n in values.get("shape", ()))}
            return cls(**{**values, **fixed})
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"signal {values.get('name', '?')!r}: {error}") from error


def mask_of(signal: Signal) -> Signal:
    """The mask that stands beside a signal which may be missing."""
    return Signal(name=signal.name + MASK, role=signal.role, shape=() if signal.is_image else signal.shape, dtype="bool", rate=signal.rate)


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The ordered signals of one machine.

    An observation or disturbance that may be missing has a mask beside it: a bool signal of the same name and role with `.valid` at its
    end, one element per element of the signal, or a single one for a camera. False means that the value there is only a stand-in.

    Attributes:
        signals: Signals in storage order; names are unique.
        period: Control period in seconds: the time from one observation to the next.

    Raises:
        SchemaError: Two signals share a name, the period is not positive, or a mask does not fit its signal.
    """

    signals: tuple[Signal, ...]
    period: float = 1.0
    by_name: Mapping[str, Signal] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [s.name for s in self.signals]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise SchemaError(f"signals named twice: {', '.join(doubled)}")
        if not (math.isfinite(self.period) and self.period > 0):
            raise SchemaError(f"period must be a positive number of seconds, not {self.period}")
        object.__setattr__(self, "by_name", dict(zip(names, self.signals, strict=True)))
        for name, mask in self.masks.items():
            masked = self.by_name[name]
            if masked.role not in SEEN or mask != mask_of(masked):
                raise SchemaError(
                    f"signal {mask.name!r} would be the mask of {name!r}: make it a bool {masked.role} of shape "
                    f"{mask_of(masked).shape} beside an observation or a disturbance, or give it another name"
                )

    def having(self, *roles: Role) -> tuple[Signal, ...]:
        """Signals with one of `roles`, in storage order."""
        return tuple(s for s in self.signals if s.role in roles)

    @property
    def observations(self) -> tuple[Signal, ...]:
        return self.having(Role.OBSERVATION)

    @property
    def seen(self) -> tuple[Signal, ...]:
        """What a model sees of a moment: observations and measured disturbances, with their masks."""
        return self.having(*SEEN)

    @property
    def actions(self) -> tuple[Signal, ...]:
        return self.having(Role.ACTION)

    @property
    def labels(self) -> tuple[Signal, ...]:
        return self.having(Role.LABEL)

    @property
    def masks(self) -> Mapping[str, Signal]:
        """The mask of each signal that has one, by the name of that signal."""
        return {s.name.removesuffix(MASK): s for s in self.signals if s.name.endswith(MASK) and s.name.removesuffix(MASK) in self.by_name}

    @property
    def action_size(self) -> int:
        """Number of action elements A; action signals are concatenated in storage order."""
        return sum(s.size for s in self.actions)

    def without_labels(self) -> Schema:
        """The schema a model may know: every signal but the labels."""
        return Schema(signals=tuple(s for s in self.signals if s.role is not Role.LABEL), period=self.period)

    def to_json(self) -> dict[str, Any]:
        return {"period": self.period, "signals": [s.to_json() for s in self.signals]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Schema:
        """Read what `to_json` wrote.

        Raises:
            SchemaError: The value is not a schema.
        """
        try:
            signals = tuple(Signal.from_json(s) for s in values["signals"])
            return cls(signals=signals, period=float(values["period"]))
        except (KeyError, TypeError) as error:
            raise SchemaError(f"not a schema: {error}") from error

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def require_same(self, other: Schema, what: str) -> None:
        """Refuse another schema for the same machine, naming the first difference.

        Labels are not compared: a model never sees them.

        Args:
            other: The schema that was found.
            what: Where it was found, for the message.

        Raises:
            SchemaError: The two differ.
        """
        mine, theirs = self.without_labels(), other.without_labels()
        for name in (*mine.by_name, *theirs.by_name):
            a, b = mine.by_name.get(name), theirs.by_name.get(name)
            if a is None or b is None:
                raise SchemaError(f"{what} {'has an extra' if a is None else 'lacks the'} signal {name!r}")
            if a != b:
                parts = [
                    f"{key} {getattr(b, key)!r} instead of {getattr(a, key)!r}"
                    for key in Signal.__dataclass_fields__
                    if getattr(a, key) != getattr(b, key)
                ]
                raise SchemaError(f"{what}: signal {name!r} has {', '.join(parts)}")
        if [s.name for s in mine.signals] != [s.name for s in theirs.signals]:
            raise SchemaError(f"{what} has the same signals in another order")
        if mine.period != theirs.period:
            raise SchemaError(f"{what} has a control period of {theirs.period} s instead of {mine.period} s")
