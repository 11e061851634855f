"""Alignment: the pieces of a take, each stream on its own clock, become episodes on one control clock.

The moments of the control clock are t0 + k * period. t0 is the first time at which every signal that cuts has a usable sample: the
latest of their first samples, to which the clock is not rounded. After a gap the clock starts anew in the same way, so a log that was
sampled at the control clock comes out as it went in, on both sides of the gap.

A moment is decided once no later sample can change it. Then the samples before it are forgotten: what is in memory is the window of
samples that are still young enough to be used, and the episode in the making. An episode is the same however its take is cut into
pieces. The take ends with the newest sample of any signal; each signal may end it sooner, by being too old.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from tacit.data.alignment.column import Column
from tacit.data.alignment.draft import Draft
from tacit.data.alignment.mapped import mapped_signals
from tacit.data.alignment.notes import AlignmentNotes, Gap, SignalNotes
from tacit.data.alignment.resample import Flags, Times, tolerance
from tacit.data.episode import Episode
from tacit.data.mapping import AGES, ESTIMATE, LogMapping
from tacit.data.streams import BadTake, Channel, Piece

__all__ = ["Alignment", "AlignmentNotes", "Gap", "SignalNotes", "aligned"]

CHUNK = 1024  # moments that are decided at once


def aligned(pieces: Iterable[Piece], mapping: LogMapping, channels: Mapping[str, Channel]) -> Iterator[Episode | AlignmentNotes]:
    """The episodes of a take, in the order of time, and at the end, or before the fault that ends it, what was done to it.

    Args:
        pieces: All of the take, in the order of time; read as the episodes are asked for.
        mapping: How the channels become signals.
        channels: What the format found in the source, by name.

    Raises:
        MappingError: The mapping does not fit the source, or a delay is still to be estimated.
        BadTake: The take is damaged; the episodes before are good.
    """
    alignment = Alignment(mapping, channels)
    try:
        yield from alignment.episodes(pieces)
    except BadTake:
        yield alignment.notes
        raise
    yield alignment.notes


class Alignment:
    """Brings one take to the control clock; made anew for each take.

    The writer's schema is `tacit.data.alignment.mapped.schema_of(mapping, channels)`.

    Args:
        mapping: How the channels become signals.
        channels: What the format found in the source, by name.

    Raises:
        MappingError: The mapping does not fit the source, or a delay is still to be estimated.
    """

    def __init__(self, mapping: LogMapping, channels: Mapping[str, Channel]) -> None:
        for name, rule in mapping.signals.items():
            if rule.delay == ESTIMATE:
                raise mapping.fault("is still to be estimated: give the seconds that estimate_clock finds", "signals", name, "delay")
        self._period, self._cutting = mapping.period, mapping.episodes
        self._columns = tuple(Column(signal, mapping.period) for signal in mapped_signals(mapping, channels))
        self._required = tuple(column for column in self._columns if column.cuts)
        self._counts = AlignmentNotes()
        self._missing = dict.fromkeys(mapping.signals, 0)
        self._draft = Draft(self._columns, self._cutting.min_steps)
        self._origin: float | None = None  # t0, or None while the clock stands still
        self._next = 0  # k of the next moment
        self._after, self._at_once = -math.inf, False  # where to look for t0, and whether that time itself will do
        self._cut: tuple[float, Column] | None = None  # last moment before the gap, and what was missing

    @property
    def notes(self) -> AlignmentNotes:
        """What was done so far; complete once `episodes` has ended."""
        signals = {c.name: c.notes + SignalNotes(missing=self._missing[c.name]) for c in self._columns}
        return replace(self._counts, signals=signals)

    def episodes(self, pieces: Iterable[Piece]) -> Iterator[Episode]:
        """The episodes of the take, in the order of time.

        Args:
            pieces: All of the take, in the order of time; read as the episodes are asked for.

        Raises:
            BadTake: The take is damaged; the episodes before are good, and the last of them ends where the fault was found.
        """
        try:
            for piece in pieces:
                for column in self._columns:
                    column.add(piece.streams, piece.until)
                yield from self._decided()
        except BadTake:
            yield from self._closed()
            raise
        for column in self._columns:
            column.add({}, math.inf)
        yield from self._decided()
        yield from self._closed()
        if self._cut is not None and self._newest - self._cut[0] > min(self._cut[1].oldest, AGES * self._period):
            self._note_gap(self._newest)

    def _decided(self) -> Iterator[Episode]:
        """Episodes that are complete with the samples so far."""
        while self._runs() and len(at := self._moments()):
            gap = self._extend(at)
            if gap:
                yield from self._closed()
                self._draft = Draft(self._columns, self._cutting.min_steps)
            elif self._draft.steps == self._cutting.max_steps:
                following = self._draft.following()
                yield from self._closed()
                self._draft = following
        low = self._after if self._origin is None else self._draft.end
        for column in self._columns:
            column.forget(low)

    def _extend(self, at: Times) -> bool:
        """Add moments up to the first gap; True when there is one, and then the clock stands still."""
        found = {column.name: column.ticks(at - self._period, at) for column in self._columns}
        there: dict[str, Flags] = {name: np.logical_and.reduce(present, axis=1) for name, (_, present) in found.items()}
        if not self._draft.moments:
            for column in self._columns:
                there[column.name][0] |= column.action  # no step leads to the first moment
        gaps = [(int(np.argmin(there[c.name])), c) for c in self._required if not there[c.name].all()]
        count, blamed = min(gaps, key=lambda gap: gap[0], default=(len(at), None))
        if count:
            self._draft.extend(at[:count], {name: (values[:count], present[:count]) for name, (values, present) in found.items()})
        for column in self._columns:
            self._missing[column.name] += int((~there[column.name][:count]).sum())
        self._next += count
        if blamed is not None:
            self._cut = (self._draft.end, blamed)
            self._origin, self._after, self._at_once = None, float(at[count]), True
        return blamed is not None

    def _closed(self) -> Iterator[Episode]:
        draft, counts = self._draft, self._counts
        if draft.kept:
            self._counts = replace(counts, episodes=counts.episodes + 1, steps=counts.steps + draft.steps)
            yield draft.episode()
        elif draft.steps:
            self._counts = replace(counts, too_short=counts.too_short + 1, steps_left_out=counts.steps_left_out + draft.steps)

    @property
    def _newest(self) -> float:
        return max(column.newest for column in self._columns)

    def _certain(self, at: Times) -> Times:
        """Those of `at`, in ascending order, that no later sample can change and that lie within the take."""
        slack = tolerance(at, self._period)
        known = min(column.known for column in self._columns)
        return at[(at + slack < known) & (at - slack <= self._newest)]

    def _moments(self) -> Times:
        """The next moments that can be decided, up to the longest episode."""
        assert self._origin is not None
        room = self._cutting.max_steps + 1 - self._draft.moments
        ahead: Times = self._next + np.arange(min(CHUNK, room), dtype=np.float64)
        return self._certain(self._origin + ahead * self._period)

    def _runs(self) -> bool:
        """Start the clock if it stands still and every signal that cuts is there; True when it runs."""
        if self._origin is not None:
            return True
        sources = self._required or self._columns
        times = [column.good_times(self._after) for column in sources]
        at = self._certain(np.unique(np.concatenate([*times, [self._after] if self._at_once else []])))
        for first in range(0, len(at), CHUNK):
            some = at[first : first + CHUNK]
            there = np.logical_and.reduce([column.there(some) for column in self._required] or [np.ones(len(some), np.bool_)])
            if there.any():
                self._origin, self._next = float(some[np.argmax(there)]), 0
                if self._cut is not None:
                    self._note_gap(self._origin)
                return True
        if len(at):
            self._after, self._at_once = float(at[-1]), False
        elif not self._at_once and math.isfinite(known := min(column.known for column in self._columns)):
            # No sample so far can start the clock, and none that comes is earlier: what is older may be forgotten.
            self._after = max(self._after, known - 2 * float(tolerance(np.array([known]), self._period)[0]))
        return False

    def _note_gap(self, until: float) -> None:
        assert self._cut is not None
        (at, column), self._cut = self._cut, None
        self._counts = replace(self._counts, gaps=(*self._counts.gaps, Gap(at=at, seconds=until - at, signal=column.name)))
        self._missing[column.name] += max(1, round((until - at) / self._period) - (not column.action))
