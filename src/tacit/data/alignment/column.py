"""A column: one signal of the store, resampled from the tracks of its channels.

Dimensions: M moments or steps, D elements of the flattened signal (2 for a camera: see `Track.samples`), P channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tacit.data.alignment import resample
from tacit.data.alignment.mapped import MappedSignal
from tacit.data.alignment.notes import SignalNotes
from tacit.data.alignment.resample import Flags, Times, Values
from tacit.data.alignment.track import Track
from tacit.data.mapping import Align, Missing
from tacit.data.streams import Frames, Stream
from tacit.signals import Role


class Column:
    """One signal of the store.

    Args:
        mapped: The signal and its channels.
        period: Control period in seconds.

    Attributes:
        mapped: The signal and its channels.
        cuts: True when no episode may lack the signal.
        action: True when the signal has a value per step rather than per moment.
        oldest: Age in seconds beyond which a sample is not used.
    """

    def __init__(self, mapped: MappedSignal, period: float) -> None:
        self.mapped = mapped
        self.cuts = mapped.rule.missing is Missing.CUT
        self.action = mapped.signal.role is Role.ACTION
        self.oldest = mapped.rule.oldest(period)
        self._period = period
        self._tracks = tuple(Track(mapped, part, period) for part in mapped.parts)

    @property
    def name(self) -> str:
        return self.mapped.signal.name

    @property
    def width(self) -> int:
        """Number of values at a moment, D."""
        return 2 if self.mapped.camera else self.mapped.signal.size

    @property
    def notes(self) -> SignalNotes:
        """What became of the samples of all channels so far."""
        return sum((track.notes for track in self._tracks), SignalNotes())

    @property
    def known(self) -> float:
        """Time in seconds before which no later sample can change a value."""
        return min(track.known for track in self._tracks)

    @property
    def newest(self) -> float:
        """Time of the newest sample of any channel so far, in seconds on the corrected clock."""
        return max(track.newest for track in self._tracks)

    @property
    def frames(self) -> Mapping[int, Frames]:
        """Images that the values of a camera refer to, by number."""
        return self._tracks[0].frames

    def add(self, streams: Mapping[str, Stream], until: float) -> None:
        """Take the samples of one piece; see `Track.add`."""
        for track in self._tracks:
            track.add(streams.get(track.part.channel.name), until)

    def forget(self, before: float) -> None:
        """Drop the samples that no moment at or after `before` needs."""
        for track in self._tracks:
            track.forget(before)

    def ahead(self, after: float, count: int) -> float:
        """Time of the `count`-th sample after `after`, of the channel where it comes first; infinite where none has so many."""
        later = (track.samples.time[np.searchsorted(track.samples.time, after, side="right") :] for track in self._tracks)
        return min((float(time[count - 1]) for time in later if len(time) >= count), default=math.inf)

    def good_times(self, after: float, until: float) -> Times:
        """Times of the good samples after `after` and up to `until`, of all channels, in no order."""
        times = []
        for samples in (track.samples for track in self._tracks):
            own = slice(*np.searchsorted(samples.time, [after, until], side="right"))
            times.append(samples.time[own][samples.good[own]])
        return np.concatenate(times)

    def there(self, at: Times) -> Flags:
        """Whether each moment has a value (a command in force, for an action), (M,)."""
        there: Flags = np.logical_and.reduce(self._points(at)[1], axis=1)
        return there

    def ticks(self, since: Times, at: Times) -> tuple[Values, Flags]:
        """Values of an observation at each moment, or of an action from one moment to the next.

        Args:
            since: Moments before those of `at`, in seconds, (M,).
            at: Moments in seconds, (M,).

        Returns:
            Values (M, D), and False where a channel has none, (M, P).
        """
        return self._steps(since, at) if self.action else self._points(at)

    def _points(self, at: Times) -> tuple[Values, Flags]:
        rule = self.mapped.rule.align
        if rule is Align.MEAN and self.action:
            rule = Align.LAST_VALID
        by_rule = {Align.LINEAR: resample.linear, Align.MEAN: resample.mean}
        found = by_rule.get(rule, resample.held)
        return self._joined([found(track.samples, at, period=self._period, oldest=self.oldest) for track in self._tracks])

    def _steps(self, since: Times, until: Times) -> tuple[Values, Flags]:
        found = resample.commanded_mean if self.mapped.signal.dtype[0] == "f" else resample.commanded_longest
        if self.mapped.rule.align is Align.LINEAR:
            found = resample.commanded_linear
        return self._joined([found(track.samples, since, until, period=self._period, oldest=self.oldest) for track in self._tracks])

    def _joined(self, parts: list[tuple[Values, Flags]]) -> tuple[Values, Flags]:
        present = np.stack([flags for _, flags in parts], axis=1)
        if len(parts) == 1 and (self.mapped.camera or self.mapped.parts[0].places == tuple(range(parts[0][0].shape[1]))):
            return parts[0][0], present
        values = np.empty((len(present), self.mapped.signal.size), np.result_type(*(v.dtype for v, _ in parts)))
        for part, (own, _) in zip(self.mapped.parts, parts, strict=True):
            values[:, list(part.places)] = own
        return values, present
