"""Delays that a mapping asks to estimate, found in the beginning of a source's first take."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from tacit.data.alignment.activity import Activity, activity
from tacit.data.alignment.clock import estimate_clock
from tacit.data.mapping import ESTIMATE, LogMapping, SignalMapping
from tacit.data.streams import Channel, Piece, SourceError, Stream

LOOK_SECONDS = 1800.0  # of a take that are looked at


def with_delays(
    mapping: LogMapping, channels: Mapping[str, Channel], pieces: Callable[[], Iterable[Piece]]
) -> tuple[LogMapping, tuple[str, ...]]:
    """The mapping with every delay as a number, and a line for a person about each one that was estimated.

    Args:
        mapping: As a person wrote it.
        channels: What the format found, by name.
        pieces: Reads the first take.

    Raises:
        MappingError: A delay cannot be told from these logs; the message says why.
    """
    asked = {name: rule for name, rule in mapping.signals.items() if rule.delay == ESTIMATE}
    if not asked:
        return mapping, ()
    assert mapping.clock is not None
    sought = {mapping.clock.reference: mapping.signals[mapping.clock.reference], **asked}
    found = activities({name: rule.source[0] for name, rule in sought.items()}, sought, pieces())
    late, reference = mapping.signals[mapping.clock.reference], found.get(mapping.clock.reference)
    if reference is not None:  # what the mapping says of its clock is known already
        time = reference.time
        found[mapping.clock.reference] = replace(reference, time=time - float(late.delay) - late.drift * (time - time[0]))
    signals, words = dict(mapping.signals), []
    for name, rule in asked.items():
        for needed in (mapping.clock.reference, name):
            if needed not in found:
                raise mapping.fault(f"cannot be estimated: {needed!r} has too few good samples; give the seconds", "signals", name, "delay")
        told = estimate_clock(found[mapping.clock.reference], found[name], max_offset=mapping.clock.max_offset)
        if not told.reliable:
            reason = f"cannot be estimated against {mapping.clock.reference!r}: {told.reason}; give the seconds, or another reference"
            raise mapping.fault(reason, "signals", name, "delay")
        signals[name] = replace(rule, delay=round(told.offset, 6), drift=round(told.drift, 9))
        low, high = told.interval
        words.append(
            f"{name}: {1e3 * told.offset:.1f} ms late ({1e3 * low:.1f} to {1e3 * high:.1f}), drifting {1e6 * told.drift:.0f} ppm, by its "
            f"correlation of {told.correlation:.2f} with {mapping.clock.reference}"
        )
    return replace(mapping, signals=signals), tuple(words)


def activities(sources: Mapping[str, str], rules: Mapping[str, SignalMapping], pieces: Iterable[Piece]) -> dict[str, Activity]:
    """The activity of each signal's first channel over the beginning of a take; a signal without enough samples is left out."""
    parts: dict[str, list[Stream]] = {name: [] for name in sources}
    for piece in pieces:
        for name, channel in sources.items():
            if channel in piece.streams and len(stream := piece.streams[channel]):
                parts[name].append(chosen(stream, rules[name]))
        begins = [float(np.nanmin(part[0].time)) for part in parts.values() if part]
        if begins and piece.until - min(begins) > LOOK_SECONDS:
            break
    found = {}
    for name, part in parts.items():
        with contextlib.suppress(SourceError):  # fewer than three good samples
            found[name] = one_activity(part)
    return found


def one_activity(parts: list[Stream]) -> Activity:
    """The activity of a stream in pieces: of numbers over all of them, of a camera within each.

    Raises:
        SourceError: There are fewer than three good samples.
    """
    if not parts:
        raise SourceError("no samples")
    arrays = [part.values for part in parts if isinstance(part.values, np.ndarray)]
    if len(arrays) == len(parts):
        flags = [np.ones(len(part), np.bool_) if part.valid is None else part.valid for part in parts]
        time = np.concatenate([part.time for part in parts])
        return activity(Stream(time=time, values=np.concatenate(arrays), valid=np.concatenate(flags), where=parts[0].where))
    each = [activity(part) for part in parts]
    time, values = np.concatenate([part.time for part in each]), np.concatenate([part.values for part in each])
    rising = np.diff(np.maximum.accumulate(time), prepend=-np.inf) > 0
    return replace(each[0], time=time[rising], values=values[rising])


def chosen(stream: Stream, rule: SignalMapping) -> Stream:
    """The elements that a mapping takes of its first channel."""
    if rule.elements is None or not isinstance(stream.values, np.ndarray):
        return stream
    flat = stream.values.reshape(len(stream), -1)
    kept = [element for element in rule.elements if element < flat.shape[1]]
    return replace(stream, values=flat[:, kept]) if kept else stream
