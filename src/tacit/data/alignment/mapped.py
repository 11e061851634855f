"""What a mapping makes of the channels of a source: the schema of the store, and which elements go where.

A mapping and a source meet here for the first time, so everything that does not fit is refused here, with the line of the mapping.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.data.mapping import Align, LogMapping, MappingError, Missing, SignalMapping
from tacit.data.streams import Channel
from tacit.signals import Role, Schema, SchemaError, Signal, mask_of

SHOWN = 12  # channels that a message lists


@dataclass(frozen=True, kw_only=True)
class Part:
    """The share of one channel in a signal.

    Attributes:
        channel: What the format found.
        kept: Elements of one flattened sample of the channel that are used; empty for a camera.
        places: Where they stand in the flattened signal.
    """

    channel: Channel
    kept: tuple[int, ...] = ()
    places: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MappedSignal:
    """A signal of the store and the channels that it is made of.

    Attributes:
        signal: As the store declares it.
        rule: As the mapping says.
        parts: Channels, in the order of the mapping; one for a camera.
        mask: The companion that says which elements are good, or None when the signal is never missing in an episode.
    """

    signal: Signal
    rule: SignalMapping
    parts: tuple[Part, ...]
    mask: Signal | None = None

    @property
    def camera(self) -> bool:
        return self.parts[0].channel.camera


def schema_of(mapping: LogMapping, channels: Mapping[str, Channel]) -> Schema:
    """The schema of a store that holds what `mapping` takes from a source.

    A signal with `missing = "mask"` is followed by its mask, NAME.valid.

    Args:
        mapping: Signals by name.
        channels: What the format found in the source, by name.

    Raises:
        MappingError: The mapping does not fit the source; with its line where the mapping came from a file.
    """
    found = mapped_signals(mapping, channels)
    return Schema(signals=tuple(s for each in found for s in (each.signal, each.mask) if s is not None), period=mapping.period)


def mapped_signals(mapping: LogMapping, channels: Mapping[str, Channel]) -> tuple[MappedSignal, ...]:
    """The signals of a mapping, tied to the channels of a source, in storage order.

    Args:
        mapping: Signals by name.
        channels: What the format found in the source, by name.

    Raises:
        MappingError: The mapping does not fit the source; with its line where the mapping came from a file.
    """
    found = []
    for name, rule in mapping.signals.items():
        for source in rule.source:
            if source not in channels:
                raise _fault(mapping, _unknown(source, channels), name, "source")
        sources = [channels[source] for source in rule.source]
        cameras = [source.name for source in sources if source.camera]
        if cameras and len(sources) > 1:
            raise _fault(
                mapping, f"camera {cameras[0]!r} cannot be joined with other channels; give it a signal of its own", name, "source"
            )
        found.append(_camera(mapping, name, rule, sources[0]) if cameras else _numbers(mapping, name, rule, sources))
    _require_unseen_labels(mapping, found)
    own = {each.signal.name: each.signal for each in found}
    for each in found:
        mask = mask_of(each.signal)
        if mask.name in own and (each.mask is not None or own[mask.name] != mask):  # a log may bring the mask of what it holds
            raise _fault(mapping, f"this name is kept for the mask of {each.signal.name!r}; call the signal something else", mask.name)
    return tuple(found)


def _fault(mapping: LogMapping, reason: str, *key: str) -> MappingError:
    return mapping.fault(reason, "signals", *key)


def _unknown(source: str, channels: Mapping[str, Channel]) -> str:
    if close := difflib.get_close_matches(source, channels, n=3):
        return f"the source has no channel {source!r}; did you mean {' or '.join(repr(c) for c in close)}?"
    more = f" and {len(channels) - SHOWN} more" if len(channels) > SHOWN else ""
    return f"the source has no channel {source!r}; it has: {', '.join(list(channels)[:SHOWN])}{more}"


def _camera(mapping: LogMapping, name: str, rule: SignalMapping, channel: Channel) -> MappedSignal:
    if rule.role is Role.ACTION:
        raise _fault(mapping, f"camera {channel.name!r} cannot be an action", name, "role")
    if rule.align in (Align.LINEAR, Align.MEAN):
        raise _fault(mapping, f'{rule.align} would mix frames of camera {channel.name!r}; use "hold" or "last_valid"', name, "align")
    plain = SignalMapping(source=rule.source, role=rule.role)
    for key in ("unit", "scale", "offset", "elements", "low", "high", "max_norm", "valid_low", "valid_high", "stuck_after"):
        if getattr(rule, key) != getattr(plain, key):
            raise _fault(mapping, f"is for numbers; {channel.name!r} is a camera: leave it out", name, key)
    if len(channel.shape) != 3:
        raise _fault(mapping, f"camera {channel.name!r} has frames of shape {channel.shape}, not (height, width, channels)", name, "source")
    shape = (*(rule.size or channel.shape[:2]), channel.shape[2])
    signal = _signal(mapping, name, role=rule.role, shape=shape, dtype="uint8", rate=rule.rate)
    return MappedSignal(signal=signal, rule=rule, parts=(Part(channel=channel),), mask=_mask(rule, signal))


def _numbers(mapping: LogMapping, name: str, rule: SignalMapping, channels: list[Channel]) -> MappedSignal:
    if rule.size is not None:
        raise _fault(mapping, f"is for cameras; {channels[0].name!r} is none: leave it out", name, "size")
    if rule.role is Role.ACTION and rule.align is Align.LINEAR and rule.dtype[0] != "f":
        raise _fault(mapping, f'linear would invent commands between those of dtype {rule.dtype}; use "hold"', name, "align")
    for channel in channels:
        if not _is_numeric(channel.dtype):
            raise _fault(mapping, f"channel {channel.name!r} holds {channel.dtype}, not numbers", name, "source")
        if channel.unit not in (None, rule.unit) and rule.scale == 1 and rule.offset == 0:
            reason = f"the source says that {channel.name!r} is in {channel.unit!r}, the mapping says {rule.unit!r}: "
            raise _fault(mapping, reason + f'write unit = "{channel.unit}", or give scale or offset', name, "unit")
    origin = [(channel, element) for channel in channels for element in range(math.prod(channel.shape))]
    elements = range(len(origin)) if rule.elements is None else rule.elements
    if (largest := max(elements)) >= len(origin):
        reason = f"there is no element {largest}: {', '.join(rule.source)} have {len(origin)} together, counted from 0"
        raise _fault(mapping, reason, name, "elements")
    parts = []
    for channel in channels:
        own = [(origin[element][1], place) for place, element in enumerate(elements) if origin[element][0] is channel]
        if own:
            parts.append(Part(channel=channel, kept=tuple(e for e, _ in own), places=tuple(p for _, p in own)))
    shape = channels[0].shape if len(channels) == 1 and rule.elements is None else (len(elements),)
    kept = {key: getattr(rule, key) for key in ("role", "dtype", "unit", "low", "high", "max_norm", "rate")}
    signal = _signal(mapping, name, shape=shape, **kept)
    return MappedSignal(signal=signal, rule=rule, parts=tuple(parts), mask=_mask(rule, signal))


def _signal(mapping: LogMapping, name: str, **values: Any) -> Signal:
    try:
        return Signal(name=name, **values)
    except SchemaError as error:
        raise _fault(mapping, str(error), name) from error


def _mask(rule: SignalMapping, signal: Signal) -> Signal | None:
    return mask_of(signal) if rule.missing is Missing.MASK else None


def _is_numeric(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "buif"
    except TypeError:
        return False


def _require_unseen_labels(mapping: LogMapping, signals: list[MappedSignal]) -> None:
    """No element may be a label, which no model receives, and something that every model receives."""
    labels = {
        (part.channel.name, element): each.signal.name
        for each in signals
        if each.rule.role is Role.LABEL
        for part in each.parts
        for element in part.kept or (0,)
    }
    for each in signals:
        for part in each.parts:
            for element in part.kept or (0,):
                if each.rule.role is not Role.LABEL and (label := labels.get((part.channel.name, element))):
                    reason = f"channel {part.channel.name!r} is also the label {label!r}, which no model may see; leave one of them out"
                    raise _fault(mapping, reason, each.signal.name, "source")
