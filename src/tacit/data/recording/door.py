"""The checks that a live sample passes on its way into memory: cheap enough for every control cycle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.data.episode import EpisodeError
from tacit.signals import Role, Schema, Signal

_SHORT = 64  # elements
_FROM = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}  # kinds of plain numbers that a signal takes, by its own kind


class Door:
    """Takes samples into the slots of a ring.

    An array must have the shape and dtype of its signal. Plain numbers, numpy scalars, lists and tuples have no dtype of their own:
    they are converted, if their values allow it.

    Args:
        schema: Signals of a moment.
        columns: The ring's slots (slots, *shape), by signal.
    """

    def __init__(self, schema: Schema, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        self._actions = {s.name: _Entry(s, columns[s.name]) for s in schema.actions}
        self._seen = {s.name: _Entry(s, columns[s.name]) for s in schema.signals if s.role is not Role.ACTION}

    def take_action(self, values: Mapping[str, Any], slot: int) -> None:
        """Put one sample of every action signal into a slot.

        Raises:
            EpisodeError: A sample is missing, unknown or does not fit its signal; what the slot holds then means nothing.
        """
        self._take(self._actions, values, slot, "an action")

    def take_seen(self, values: Mapping[str, Any], slot: int) -> None:
        """Put one sample of every signal that is no action into a slot.

        Raises:
            EpisodeError: A sample is missing, unknown or does not fit its signal; what the slot holds then means nothing.
        """
        self._take(self._seen, values, slot, "a moment")

    def _take(self, entries: Mapping[str, _Entry], values: Mapping[str, Any], slot: int, what: str) -> None:
        if type(values) is not dict and not isinstance(values, Mapping):
            raise EpisodeError(f"{what} is a {type(values).__name__}; give a mapping from the names {', '.join(entries)} to samples")
        if values.keys() != entries.keys():
            raise self._misnamed(entries, values, what)
        for name, entry in entries.items():
            entry.take(values[name], slot)

    def _misnamed(self, entries: Mapping[str, _Entry], values: Mapping[str, Any], what: str) -> EpisodeError:
        for name in values:
            if name in self._actions and entries is self._seen:
                return EpisodeError(f"signal {name!r} is an action: give it to step(action=...), together with what is seen after it")
            if name in self._seen and entries is self._actions:
                return EpisodeError(f"signal {name!r} is not an action: give it to step(then=...), as it is seen after the action")
            if name not in entries:
                return EpisodeError(f"signal {name!r} is not in the schema; leave it out, or record into a store whose schema declares it")
        missing = next(name for name in entries if name not in values)
        return EpisodeError(f"signal {missing!r} is missing; {what} brings a sample of each of {', '.join(entries)}")


class _Entry:
    """The way in for one signal."""

    def __init__(self, signal: Signal, column: npt.NDArray[Any]) -> None:
        self.signal = signal
        self.column = column
        self.dtype = np.dtype(signal.dtype)
        self.is_float = self.dtype.kind == "f"
        self.is_float_scalar = self.is_float and signal.shape == ()
        self.is_short = len(signal.shape) == 1 and signal.size <= _SHORT
        self.largest = float(np.finfo(self.dtype).max) if self.is_float else 0.0

    def take(self, value: Any, slot: int) -> None:
        if isinstance(value, np.ndarray):
            if value.dtype is not self.dtype and value.dtype != self.dtype:
                raise self._refusal(f"has dtype {value.dtype}, the schema says {self.dtype}; convert it with .astype()")
            if value.shape != self.signal.shape:
                raise self._refusal(f"has shape {value.shape}, the schema says {self.signal.shape}; give one sample, without a row axis")
            if self.is_float and not self._is_finite(value):
                raise self._unbounded(value)
            self.column[slot] = value
        elif self.is_float_scalar and type(value) is float:
            if not -self.largest <= value <= self.largest:  # NaN is not, either
                raise self._unbounded(np.array(value))
            self.column[slot] = value
        else:
            self.column[slot] = self._converted(value)

    def _is_finite(self, value: npt.NDArray[Any]) -> bool:
        """Short vectors are added up first: in a loop that mostly sleeps, this takes a third of the time that numpy takes."""
        if self.is_short and math.isfinite(sum(value.tolist())):
            return True
        return bool(np.isfinite(value).all())

    def _converted(self, value: Any) -> npt.NDArray[Any]:
        if not isinstance(value, bool | int | float | np.generic | list | tuple):
            raise self._refusal(f"is a {type(value).__name__}; give a numpy array, or plain numbers")
        try:
            plain = np.asarray(value)
        except ValueError:
            raise self._refusal(f"is a ragged list; give {self.signal.shape} numbers") from None
        if plain.dtype.kind not in _FROM[self.dtype.kind]:
            raise self._refusal(f"is made of {plain.dtype}, the schema says {self.dtype}; convert it so that nothing is lost unseen")
        if plain.shape != self.signal.shape:
            raise self._refusal(f"has shape {plain.shape}, the schema says {self.signal.shape}")
        with np.errstate(over="ignore"):
            converted = plain.astype(self.dtype)
        if self.is_float and not np.isfinite(converted).all():
            raise self._unbounded(converted)
        if not self.is_float and (converted != plain).any():
            raise self._refusal(f"holds {plain[converted != plain].flat[0]}, which {self.dtype} cannot; change the schema or the value")
        return converted

    def _unbounded(self, value: npt.NDArray[Any]) -> EpisodeError:
        place = tuple(np.argwhere(~np.isfinite(value))[0]) if not np.isfinite(value).all() else ()
        where = f" at {', '.join(map(str, place))}" if place else ""
        remedy = f"the store takes finite {self.dtype} numbers only, so end the episode, or give a value that you can answer for"
        return self._refusal(f"is {value[place]}{where}; {remedy}")

    def _refusal(self, what: str) -> EpisodeError:
        return EpisodeError(f"signal {self.signal.name!r} {what}")
