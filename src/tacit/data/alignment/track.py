"""A track: the samples of one channel for one signal, cleaned, on the corrected clock, for as long as they are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tacit.data.alignment.mapped import MappedSignal, Part
from tacit.data.alignment.notes import SignalNotes
from tacit.data.alignment.resample import Flags, Samples, Times, Values, tolerance
from tacit.data.mapping import Align
from tacit.data.streams import BadTake, Frames, Stream
from tacit.signals import Role


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Samples as they came, N of them: corrected times, values (N, D) in the source's unit, flags, and the source's times and rows."""

    time: Times
    values: Values
    flagged: Flags
    logged: Times
    rows: NDArray[np.int64]

    def at(self, which: NDArray[np.intp] | Flags | slice) -> _Batch:
        return _Batch(
            time=self.time[which],
            values=self.values[which],
            flagged=self.flagged[which],
            logged=self.logged[which],
            rows=self.rows[which],
        )

    def before(self, other: _Batch) -> _Batch:
        return _Batch(
            time=np.concatenate([self.time, other.time]),
            values=np.concatenate([self.values, other.values]),
            flagged=np.concatenate([self.flagged, other.flagged]),
            logged=np.concatenate([self.logged, other.logged]),
            rows=np.concatenate([self.rows, other.rows]),
        )


class Track:
    """The samples of one channel for one signal, as they come.

    A sample of a channel is good or bad as a whole, judged by the elements that the signal keeps. Where the rule of alignment never
    uses a bad sample, bad ones are not kept.

    Args:
        signal: The signal.
        part: The share of the channel in it.
        period: Control period in seconds.

    Attributes:
        notes: What became of the samples so far.
        samples: What is kept. A frame of a camera has the values (number of its `frames`, row in them).
        newest: Time of the newest sample so far, good or bad, in seconds on the corrected clock.
        frames: Images that `samples` refers to, by number.
    """

    def __init__(self, signal: MappedSignal, part: Part, period: float) -> None:
        self.part = part
        self.notes = SignalNotes()
        self.newest = -math.inf
        self.frames: dict[int, Frames] = {}
        self._rule, self._signal, self._camera, self._period = signal.rule, signal.signal, signal.camera, period
        self._oldest = signal.rule.oldest(period)
        self._averaged = signal.rule.align is Align.MEAN and signal.rule.role is not Role.ACTION
        self._looks_ahead = signal.rule.align is Align.LINEAR
        picked = signal.rule.align in (Align.HOLD, Align.LAST_VALID) or signal.rule.role is Role.ACTION
        plain = signal.rule.scale == 1 and signal.rule.offset == 0 and signal.signal.dtype == "int64"
        exact = plain and picked and np.dtype(part.channel.dtype).kind in "iu"  # a float64 would round a large count
        width = 2 if self._camera else len(part.kept)
        dtype = np.dtype(np.int64 if exact or self._camera else np.float64)
        self.samples = Samples(time=np.zeros(0), values=np.zeros((0, width), dtype), good=np.zeros(0, np.bool_))
        self._first: float | None = None
        self._waiting: _Batch | None = None  # the newest sample, until nothing can replace it
        self._watermark = -math.inf
        self._run: tuple[Values, float] | None = None  # newest values and since when they have been the same
        self._serial = 0
        self._faults: dict[str, str] = {}

    def add(self, stream: Stream | None, until: float) -> None:
        """Take the samples of one piece.

        Args:
            stream: Samples of the channel, or None when the piece has none.
            until: As `Piece.until`.

        Raises:
            BadTake: The samples are not of the shape that the format described.
        """
        batch = self._waiting
        self._waiting = None
        if stream is not None and len(stream):
            self.notes += SignalNotes(read=len(stream))
            read = self._timed(stream)
            read = read if batch is None else batch.before(read)
            batch = self._in_order(read, stream.where)
        self._watermark = max(self._watermark, until if math.isinf(until) else float(self._corrected(np.array([until]))[0]))
        if batch is None or not len(batch.time):
            return
        if not batch.time[-1] < self._watermark:
            self._waiting = batch.at(slice(len(batch.time) - 1, None))
            batch = batch.at(slice(len(batch.time) - 1))
        if len(batch.time):
            self.newest = float(batch.time[-1])
            self._keep(self._judged(batch))

    @property
    def known(self) -> float:
        """Time in seconds before which no later sample can change a value."""
        if self._watermark == math.inf or not self._looks_ahead:
            return max(self._watermark, self.newest)
        return max(self._watermark - self._oldest, float(self.samples.time[-1]) if len(self.samples.time) else -math.inf)

    def forget(self, before: float) -> None:
        """Drop the samples that no moment at or after `before` needs."""
        if before == -math.inf:
            return
        time = self.samples.time
        slack = float(tolerance(np.array([before]), self._period)[0])
        keep = int(np.searchsorted(time, before - slack, side="right")) - 1
        if self._averaged:
            keep = min(keep, int(np.searchsorted(time, before - self._period - slack)))
        if keep > 0:
            self.samples = Samples(time=time[keep:], values=self.samples.values[keep:], good=self.samples.good[keep:])
        if self._camera:
            needed = {int(number) for number in self.samples.values[:, 0]}
            needed |= set() if self._waiting is None else {int(self._waiting.values[0, 0])}
            self.frames = {number: frames for number, frames in self.frames.items() if number in needed}

    def _timed(self, stream: Stream) -> _Batch:
        """The samples of a stream that have a time stamp, on the corrected clock."""
        rows = np.arange(len(stream)) if stream.rows is None else stream.rows
        flagged = np.zeros(len(stream), np.bool_) if stream.valid is None else ~stream.valid
        logged = np.asarray(stream.time, np.float64)
        timed = np.isfinite(logged)
        if not timed.all():
            untimed = np.flatnonzero(~timed)
            fault = f"{stream.where}: row {rows[untimed[0]]} has the time stamp {logged[untimed[0]]}"
            self._leave_out("untimed", len(untimed), fault)
        if self._first is None and timed.any():
            self._first = float(logged[timed][0])
        values = self._references(stream) if self._camera else self._elements(stream)
        return _Batch(time=self._corrected(logged), values=values, flagged=flagged, logged=logged, rows=rows).at(timed)

    def _references(self, stream: Stream) -> Values:
        if isinstance(stream.values, np.ndarray):
            raise BadTake(f"{stream.where}: holds numbers, not the frames of camera {self.part.channel.name!r}")
        shape = stream.values.shape
        if shape[2] != self._signal.shape[2] or (self._rule.size is None and shape != self._signal.shape):
            raise BadTake(
                f"{stream.where}: its frames are {shape}, those of {self._signal.name!r} are {self._signal.shape} (height, width, "
                "channels); give the signal a size = [height, width], or leave the take out"
            )
        self._serial += 1
        self.frames[self._serial] = stream.values
        return np.stack([np.full(len(stream), self._serial), np.arange(len(stream))], axis=1)

    def _elements(self, stream: Stream) -> Values:
        if not isinstance(stream.values, np.ndarray) or stream.values.dtype.kind not in "buif":
            raise BadTake(f"{stream.where}: does not hold numbers")
        if (shape := stream.values.shape[1:]) != self.part.channel.shape:
            raise BadTake(f"{stream.where}: samples have the shape {shape} instead of {self.part.channel.shape}; leave the take out")
        kept = stream.values.reshape(len(stream), -1)[:, list(self.part.kept)]
        if self.samples.values.dtype == np.int64 and kept.dtype.kind == "f":
            return kept  # holes of an integer column; judged below, where they can still be seen
        return kept.astype(self.samples.values.dtype)

    def _corrected(self, time: Times) -> Times:
        delay = float(self._rule.delay)
        corrected = time - delay if delay else time
        if self._rule.drift and self._first is not None:
            corrected = corrected - self._rule.drift * (time - self._first)
        return corrected

    def _in_order(self, batch: _Batch, where: str) -> _Batch:
        """Samples without those that go back, and only the last of those at the same time."""
        seen = np.maximum.accumulate(np.concatenate([[self.newest], batch.time]))[:-1]
        back: Flags = batch.time < seen
        if back.any():
            i = int(np.flatnonzero(back)[0])
            fault = f"{where}: row {batch.rows[i]} goes back in time, to {float(batch.logged[i])} s"
            self._leave_out("backward", int(back.sum()), fault)
            batch = batch.at(~back)
        again = np.append(np.diff(batch.time) == 0, False) | (batch.time == np.float64(self.newest))
        if again.any():
            i = int(np.flatnonzero(again)[0])
            fault = f"{where}: row {batch.rows[i]} has the same time stamp as the next one, {float(batch.logged[i])} s"
            self._leave_out("repeated", int(again.sum()), fault)
            batch = batch.at(~again)
        return batch

    def _judged(self, batch: _Batch) -> Samples:
        """Samples in the store's unit, and which of them are good."""
        if self._camera:
            self.notes += SignalNotes(flagged=int(batch.flagged.sum()))
            return Samples(time=batch.time, values=batch.values, good=~batch.flagged)
        finite: Flags = np.logical_and.reduce(np.isfinite(batch.values), axis=1)
        stuck = self._stuck(batch)
        values = np.where(finite[:, None], batch.values, 0)
        with np.errstate(over="ignore"):  # what overflows is out of range
            values = values * self._rule.scale if self._rule.scale != 1 else values
            values = values + self._rule.offset if self._rule.offset else values
        if self._signal.dtype == "bool":
            values = (values != 0).astype(np.float64)
        elif self._signal.dtype[0] != "f" and values.dtype.kind == "f":
            values = np.rint(values)
        low, high = self._holds()
        inside = ((values >= low) & (values <= high)).all(axis=1)
        good: Flags = finite & ~batch.flagged & inside & ~stuck
        self.notes += SignalNotes(
            not_finite=int((~finite).sum()),
            flagged=int((finite & batch.flagged).sum()),
            out_of_range=int((finite & ~batch.flagged & ~inside).sum()),
            stuck=int((finite & ~batch.flagged & inside & stuck).sum()),
        )
        return Samples(time=batch.time, values=np.where(good[:, None], values, 0).astype(self.samples.values.dtype), good=good)

    def _holds(self) -> tuple[float, float]:
        """Smallest and largest value that is valid and that the stored dtype can hold."""
        low, high = -math.inf, math.inf
        kind = np.dtype(self._signal.dtype)
        if kind.kind == "f":
            low, high = float(np.finfo(kind).min), float(np.finfo(kind).max)
        elif kind.kind in "iu":
            low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
            high = math.nextafter(high, 0) if high > np.iinfo(kind).max else high
        return max(low, _or(self._rule.valid_low, -math.inf)), min(high, _or(self._rule.valid_high, math.inf))

    def _stuck(self, batch: _Batch) -> Flags:
        """Samples that end a stretch of exactly equal values which is at least as long as the mapping allows."""
        if self._rule.stuck_after is None:
            return np.zeros(len(batch.time), np.bool_)
        before = self._run[0] if self._run else np.full((1, batch.values.shape[1]), np.nan)
        changed = (batch.values != np.concatenate([before, batch.values[:-1]])).any(axis=1)
        begun = np.maximum.accumulate(np.where(changed, np.arange(len(changed)), -1))
        since = np.where(begun >= 0, batch.time[np.maximum(begun, 0)], self._run[1] if self._run else 0.0)
        self._run = (batch.values[-1:], float(since[-1]))
        stuck: Flags = batch.time - since >= self._rule.stuck_after - tolerance(batch.time, self._period)
        return stuck

    def _leave_out(self, kind: str, count: int, fault: str) -> None:
        self._faults.setdefault(kind, fault)
        faults = tuple(self._faults[k] for k in ("untimed", "repeated", "backward") if k in self._faults)
        self.notes = replace(replace(self.notes, faults=faults), **{kind: getattr(self.notes, kind) + count})

    def _keep(self, samples: Samples) -> None:
        if self._rule.align is not Align.HOLD:
            good = samples.good
            samples = Samples(time=samples.time[good], values=samples.values[good], good=good[good])
        own = self.samples
        self.samples = Samples(
            time=np.concatenate([own.time, samples.time]),
            values=np.concatenate([own.values, samples.values]),
            good=np.concatenate([own.good, samples.good]),
        )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
