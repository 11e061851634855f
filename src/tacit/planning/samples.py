"""Samples of what sensors show, as a caller gives them: checked, in the signals' dtypes, and with what is missing said in masks.

Dimensions: B machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.signals import Role, Schema, Signal


@final
class LastGood:
    """The last good number of each signal that may be missing: what stands in the place of a missing one, as in logs."""

    def __init__(self) -> None:
        self._samples: dict[str, NDArray[Any]] = {}

    def held(self, name: str, value: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[Any]:
        """The samples of a signal, (B, *shape), and in the place of missing ones the last good ones.

        Args:
            name: Of the signal.
            value: What was given, (B, *shape). It stays as it is where there was no good sample before, or where that was of another shape.
            there: Which of it is not missing, (B, *shape).
        """
        last = self._samples.get(name, value)
        held = self._samples[name] = np.where(there, value, last if last.shape == value.shape else value)  # never the caller's array
        return held

    def filled(self, schema: Schema, samples: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The samples (B, *shape) of all signals, with the last good number in the place of a missing one: how slow sensors are read."""
        filled = dict(samples)
        for name, mask in schema.masks.items():
            if not schema.by_name[name].is_image and name in samples:
                filled[name] = self.held(name, samples[name], samples[mask.name])
        return filled


def unknown(signal: Signal, count: int) -> NDArray[Any]:
    """Samples (count, *shape) of which nothing is known: not finite, or False in a mask."""
    return np.zeros((count, *signal.shape), np.bool_) if signal.dtype == "bool" else np.full((count, *signal.shape), np.nan, np.float32)


def finite(schema: Schema, samples: Mapping[str, NDArray[Any]]) -> Tensor:
    """Whether all numbers of a machine are finite, but those that its masks say are missing, (B,) bool."""
    found = []
    for name, value in samples.items():
        is_fine = np.isfinite(value)
        if (mask := schema.masks.get(name)) is not None and is_fine.shape == samples[mask.name].shape:
            is_fine = is_fine | ~samples[mask.name]
        found.append(is_fine.reshape(len(value), -1).all(1))
    return torch.from_numpy(np.logical_and.reduce(found))


def samples_of(schema: Schema, given: Mapping[str, ArrayLike | None], *roles: Role) -> dict[str, NDArray[Any]]:
    """What is seen (B, *shape), by signal name, checked and in the signals' dtypes.

    Args:
        schema: Of the machine.
        given: By signal name.
        roles: Of the signals that are taken; those that a model sees where none is given.

    Raises:
        ValueError: A name, shape or dtype is wrong; the message names it.
    """
    taken = schema.having(*roles) if roles else schema.seen
    known = [s.name for s in taken]
    for name in given:
        role = schema.by_name[name].role if name in schema.by_name else None
        if role is Role.LABEL:
            raise ValueError(f"label {name!r} is never given to a model")
        if name not in known:
            raise ValueError(f"{name!r} is not an observation of this model, which takes {', '.join(known)} and never a label")
    given = _with_masks(schema, given)
    if missing := [name for name in known if name not in given]:
        raise ValueError(f"observations are missing: {', '.join(missing)}")
    samples = {}
    for signal in taken:
        value = np.asarray(given[signal.name])
        if value.ndim != 1 + len(signal.shape) or value.shape[1:] != signal.shape or not len(value):
            raise ValueError(f"{signal.name!r} has shape {value.shape[1:]} per machine (of {value.shape}) instead of {signal.shape}")
        if not np.can_cast(value.dtype, signal.dtype, "same_kind" if signal.dtype.startswith("float") else "safe"):
            raise ValueError(f"{signal.name!r} has dtype {value.dtype} instead of {signal.dtype}")
        with np.errstate(over="ignore"):
            samples[signal.name] = np.ascontiguousarray(value.astype(signal.dtype, copy=False))  # torch takes no mirrored view
    if len({len(value) for value in samples.values()}) != 1:
        raise ValueError("observations are of different numbers of machines: " + str({name: len(v) for name, v in samples.items()}))
    return samples


def _with_masks(schema: Schema, given: Mapping[str, ArrayLike | None]) -> dict[str, ArrayLike | None]:
    """The same samples with the masks that were left out: a number that is not finite is missing, as is a signal given as None."""
    full = dict(given)
    batch = next((len(np.atleast_1d(np.asarray(v))) for v in given.values() if v is not None), 0)
    for name, mask in schema.masks.items():
        if name not in full:
            continue
        signal, value = schema.by_name[name], full[name]
        if value is None:
            unknown = np.nan if signal.dtype.startswith("float") else 0
            value, there = np.full((batch, *signal.shape), unknown, signal.dtype), np.zeros((batch, *mask.shape), np.bool_)
        else:
            value = np.asarray(value)
            if value.dtype.kind not in "buif":
                raise ValueError(f"{name!r} has dtype {value.dtype} instead of {signal.dtype}; give nan where it is missing")
            finite = np.isfinite(value)
            there = np.ones((len(value), *mask.shape), np.bool_) if signal.is_image else finite
            if not signal.dtype.startswith("float"):
                value = np.where(finite, value, 0).astype(value.dtype)
        told = full.get(mask.name)
        full[name] = value
        full[mask.name] = there if told is None else np.asarray(told) & there if np.shape(told) == there.shape else told
    return full
