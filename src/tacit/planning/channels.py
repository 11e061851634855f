"""Channels of readouts, by the names that tasks call them: what predicted latents will show, and where a sensor shows it now.

Dimensions: B machines, D latent, N channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tacit.planning.task_limits import TaskError
from tacit.signals import Role, Schema, Signal


class Channels(Protocol):
    """A readout, as planning sees it."""

    @property
    def names(self) -> tuple[str, ...]:
        """What tasks call its channels."""

    @property
    def unit(self) -> str:
        """Of every channel."""

    def __call__(self, latent: Tensor) -> Tensor:
        """Latents (..., D) -> channels (..., N)."""


@runtime_checkable
class AffineChannels(Channels, Protocol):
    """A readout that may be no more than a product and a sum."""

    def affine(self) -> tuple[Tensor, Tensor] | None:
        """Weight (N, D) and bias (N,) that make its channels, in float64; None where it is more than that."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Some channels of some readouts, side by side.

    Attributes:
        names: Of the channels that are wanted, in order.
        readouts: Each is evaluated once.
        columns: Of their channels, laid side by side, those that are wanted, in order.
        units: Of each.
        affine: Weight (N, D) and bias (N,) that make the channels in one product, as readouts were then; None where there is none.
    """

    names: tuple[str, ...]
    readouts: tuple[Channels, ...]
    columns: tuple[int, ...]
    units: tuple[str, ...]
    affine: tuple[Tensor, Tensor] | None = None

    def __call__(self, latent: Tensor) -> Tensor:
        """Latents (..., D) -> channels (..., N)."""
        if not self.readouts:
            return latent[..., :0]
        if self.affine is not None and latent.device == self.affine[0].device:
            return F.linear(latent.float(), *self.affine)
        channels = torch.cat([readout(latent) for readout in self.readouts], -1)
        return channels if self.columns == tuple(range(channels.shape[-1])) else channels[..., list(self.columns)]


def selected(readouts: Mapping[str, Channels], channels: Sequence[str], *key: str) -> Selection:
    """Find channels by the names that tasks call them.

    Args:
        readouts: By name.
        channels: Which.
        key: Entry of the task that names them.

    Raises:
        TaskError: There is no such channel.
    """
    names = [name for readout in readouts.values() for name in readout.names]
    for channel in channels:
        if channel not in names:
            known = f"the readouts of this run are: {', '.join(names)}" if names else "this run has no readouts: fit some first"
            raise TaskError(f"there is no readout {channel!r}; {known}", *key)
    used = tuple(readout for readout in readouts.values() if set(readout.names) & set(channels))
    offered = [name for readout in used for name in readout.names]
    units = [readout.unit for readout in used for _ in readout.names]
    columns = tuple(offered.index(channel) for channel in channels)
    return Selection(
        names=tuple(channels),
        readouts=used,
        columns=columns,
        units=tuple(units[column] for column in columns),
        affine=_in_one_product(used, columns),
    )


def _in_one_product(readouts: Sequence[Channels], columns: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of some of the channels of readouts, float32; None where one of these is more than a product and a sum."""
    parts = [readout.affine() if isinstance(readout, AffineChannels) else None for readout in readouts]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    weight, bias = (torch.cat(part)[list(columns)].float() for part in zip(*known, strict=True))
    return weight, bias


def sensor_of(schema: Schema, channel: str) -> tuple[Signal, int] | None:
    """The observation signal, and its element, that shows a channel; None where no sensor does.

    A scalar signal has a channel of its own name, and element 2 of a vector `tip` is `tip.2`.
    """
    signal, element = schema.by_name.get(channel), 0
    if signal is None:
        name, _, number = channel.rpartition(".")
        signal = schema.by_name.get(name)
        if signal is None or not number.isdecimal() or int(number) >= signal.size:
            return None
        element = int(number)
    elif signal.size != 1:
        return None
    return (signal, element) if signal.role is Role.OBSERVATION and not signal.is_image else None


def shown(schema: Schema, channels: Sequence[str], samples: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """What sensors show of channels that have one.

    Args:
        schema: Of the machine.
        channels: N of them.
        samples: One sample per machine of every observation signal, (B, *shape), with its masks.

    Returns:
        (B, N) in the channels' units; NaN where a sample is missing.
    """
    columns = []
    for channel in channels:
        found = sensor_of(schema, channel)
        assert found is not None, f"no sensor shows {channel!r}"
        signal, element = found
        value = samples[signal.name].reshape(len(samples[signal.name]), -1)[:, element].astype(np.float32)
        if (mask := schema.masks.get(signal.name)) is not None:
            value = np.where(samples[mask.name].reshape(len(value), -1)[:, element], value, np.nan)
        columns.append(value)
    return np.stack(columns, 1).astype(np.float32)
