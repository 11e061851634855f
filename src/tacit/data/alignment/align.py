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
from dataclasses import dataclass, field, replace

import numpy as np

from tacit.data.alignment.column import Column
from tacit.data.alignment.draft import Draft
from tacit.data.alignment.mapped import mapped_signals
from tacit.data.alignment.notes import AlignmentNotes, Gap, SignalNotes
from tacit.data.alignment.resample import Flags, Times, Values, tolerance
from tacit.data.episode import Episode
from tacit.data.mapping import AGES, ESTIMATE, LogMapping
from tacit.data.streams import BadTake, Channel, Piece

__all__ = ["Alignment", "AlignmentNotes", "Gap", "SignalNotes", "aligned"]

CANDIDATES = 1024  # samples of a channel at whose times the clock may start, that are looked at together
FEWEST, MOST = 64, 8192  # moments that are worked out together: few where a gap has shifted the clock, then twice as many each time
ELEMENTS = 2**20  # of all signals, that are worked out together


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
        self._ahead = _Moments()
        self._most = max(FEWEST, min(MOST, ELEMENTS // sum(column.width for column in self._columns)))
        self._width = FEWEST  # moments that were worked out together the last time
        self._after, self._at_once = -math.inf, False  # time after which the clock may start, and whether it can at that very time
        self._starts: Times = np.zeros(0)  # where it can, as far as that is known
        self._searched = -math.inf  # how far that is
        self._known, self._newest = -math.inf, -math.inf  # time before which nothing can change, and of the newest sample
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
        self._known = min(column.known for column in self._columns)
        self._newest = max(column.newest for column in self._columns)
        while self._runs() and len(moments := self._moments()):
            if self._extend(moments):
                yield from self._closed()
                self._draft = Draft(self._columns, self._cutting.min_steps)
            elif self._draft.steps == self._cutting.max_steps:
                following = self._draft.following()
                yield from self._closed()
                self._draft = following
        low = max(self._after, self._searched) if self._origin is None else self._draft.end
        for column in self._columns:
            column.forget(low)

    def _extend(self, moments: _Moments) -> bool:
        """Add moments up to the first gap; True when there is one, and then the clock stands still."""
        at, found = moments.at, moments.found
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
            self._origin, self._after = None, float(at[count])
            self._at_once = all(c.there(at[count : count + 1])[0] if c.action else there[c.name][count] for c in self._required)
        return blamed is not None

    def _closed(self) -> Iterator[Episode]:
        draft, counts = self._draft, self._counts
        if draft.kept:
            self._counts = replace(counts, episodes=counts.episodes + 1, steps=counts.steps + draft.steps)
            yield draft.episode()
        elif draft.steps:
            self._counts = replace(counts, too_short=counts.too_short + 1, steps_left_out=counts.steps_left_out + draft.steps)

    def _moments(self) -> _Moments:
        """The next moments that can be decided, no more than the longest episode may still have.

        Many are worked out together and kept for the calls to come, because each time has its cost. They serve after a gap too, as long
        as the clock then shows the same times.
        """
        room = self._cutting.max_steps + 1 - self._draft.moments
        at = self._grid(min(room, self._most))
        kept = self._ahead.following(at)
        if len(at) and not len(kept):
            used_up = not len(self._ahead) or at[0] > self._ahead.at[-1]
            self._width = min(2 * self._width, self._most) if used_up else FEWEST
            every = self._grid(self._width)
            self._ahead = _Moments(at=every, found={c.name: c.ticks(every - self._period, every) for c in self._columns})
            kept = self._ahead.part(0, room)
        return kept

    def _grid(self, count: int) -> Times:
        """The next moments, `count` at most, that no later sample can change and that lie within the take."""
        assert self._origin is not None
        at: Times = self._origin + (self._next + np.arange(count, dtype=np.float64)) * self._period
        slack = tolerance(at, self._period)
        return at[(at + slack < self._known) & (at - slack <= self._newest)]

    def _runs(self) -> bool:
        """Start the clock if it stands still and every signal that cuts is there; True when it runs."""
        if self._origin is not None:
            return True
        if self._at_once:
            start = self._after
        else:
            while not len(self._starts) or self._starts[-1] <= self._after:
                if not self._search():
                    return False
            start = float(self._starts[np.searchsorted(self._starts, self._after, side="right")])
        self._origin, self._next, self._at_once = start, 0, False
        if self._cut is not None:
            self._note_gap(start)
        return True

    def _search(self) -> bool:
        """Look through the next times at which the clock may start: those of good samples; False when none is certain yet."""
        if self._known == -math.inf:
            return False
        sources = self._required or self._columns
        low, high = max(self._after, self._searched), self._newest
        if self._known < math.inf:  # four tolerances before it are more than one of any time that is earlier
            high = self._known - 4 * float(tolerance(np.array([self._known]), self._period)[0])
        high = min(high, *(column.ahead(low, CANDIDATES) for column in sources))
        if high <= low:
            return False
        at = np.unique(np.concatenate([column.good_times(low, high) for column in sources]))
        there = np.logical_and.reduce([column.there(at) for column in self._required] or [np.ones(len(at), np.bool_)])
        self._starts, self._searched = at[there], high
        return True

    def _note_gap(self, until: float) -> None:
        assert self._cut is not None
        (at, column), self._cut = self._cut, None
        self._counts = self._counts.with_gap(Gap(at=at, seconds=until - at, signal=column.name))
        self._missing[column.name] += max(1, round((until - at) / self._period) - (not column.action))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    """Moments and what the columns have there.

    Attributes:
        at: In seconds, (M,).
        found: By signal, values (M, D) and flags (M, P) as `Column.ticks` gives them.
    """

    at: Times = field(default_factory=lambda: np.zeros(0))
    found: Mapping[str, tuple[Values, Flags]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.at)

    def part(self, first: int, count: int) -> _Moments:
        """`count` of them at most, from the first on."""
        own = slice(first, first + count)
        return _Moments(at=self.at[own], found={name: (values[own], there[own]) for name, (values, there) in self.found.items()})

    def following(self, at: Times) -> _Moments:
        """Those that are the first ones of `at`; none where the times are others."""
        first = int(np.searchsorted(self.at, at[0])) if len(at) else 0
        own = self.part(first, len(at))
        return own if np.array_equal(own.at, at[: len(own)]) else _Moments()
