"""Arrays of one length as a log: which one holds the time, which rows are an episode, and what may be a channel."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.npz_arrays import Arrays, Header, is_number, require_numbers
from tacit.data.streams import SourceError

_TIMES = ("time", "timestamp", "timestamps", "times", "t")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, kw_only=True)
class NpzOptions:
    """The table `[options]` of a mapping for the format `npz`.

    Attributes:
        time: Array of the timestamps; else one called time, timestamp, timestamps, times or t.
        time_unit: `s`, `ms`, `us` or `ns`, where the timestamps are numbers.
        period: Seconds from one row to the next, where there are no timestamps; each take then begins at 0.
        episode: Array that cuts a file into takes: the number of the episode of each row, or the row at which each episode ends, as
            `episode_ends` = [100, 250] for two.

    Raises:
        SourceError: An option is out of its domain.
    """

    time: str | None = None
    time_unit: str = "s"
    period: float | None = None
    episode: str | None = None

    def __post_init__(self) -> None:
        if self.time_unit not in _SECONDS:
            raise SourceError(f"option time_unit: {self.time_unit!r} is none of: {' '.join(_SECONDS)}")
        if self.period is not None and not (math.isfinite(self.period) and self.period > 0):
            raise SourceError(f"option period: must be a positive number of seconds, not {self.period}")
        if self.period is not None and self.time is not None:
            raise SourceError("option period: is for arrays without timestamps; give either time or period")

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> NpzOptions:
        """Read the table `[options]`.

        Raises:
            SourceError: An option is unknown, of the wrong type or out of its domain.
        """
        known = [f.name for f in fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise SourceError(f"unknown option {name!r} of the format npz; use one of: {', '.join(known)}")
            kind, what = ((int, float), "a number") if name == "period" else (str, "text")
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SourceError(f"option {name}: must be {what}, not {value!r}")
        return cls(**options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Log:
    """The arrays of one file or folder, with their roles.

    Attributes:
        arrays: Of a file or folder.
        rows: Length of the arrays, N.
        time: Array of the timestamps, or None.
        channels: Arrays of N or N - 1 rows of numbers.
    """

    arrays: Arrays
    rows: int
    time: str | None
    channels: Mapping[str, Header]

    @classmethod
    def open(cls, path: Path, options: NpzOptions) -> Log:
        """Tell the roles of the arrays by their headers.

        Raises:
            SourceError: The file is damaged or lacks an array that an option names, or no array fits.
        """
        arrays = Arrays.open(path)
        found = ", ".join(arrays.headers)
        for option, name in (("time", options.time), ("episode", options.episode)):
            if name is not None and name not in arrays.headers:
                raise SourceError(f"{path}: has no array {name!r}, which the option {option} names; there are: {found}")
        time = options.time
        if time is None and options.period is None:
            time = next((name for name in _TIMES if name in arrays.headers), None)
            if time is None:
                raise SourceError(f"{path}: give the option time, an array of timestamps, or period in seconds; there are: {found}")
        if time is not None:
            require_numbers(arrays.headers[time].dtype, arrays.where(time))
            if len(arrays.headers[time].shape) != 1:
                raise SourceError(f"{arrays.where(time)}: has the shape {arrays.headers[time].shape}; timestamps need one axis")
        candidates = {n: h for n, h in arrays.headers.items() if n not in (time, options.episode) and is_number(h.dtype) and h.shape}
        rows = arrays.headers[time].length if time is not None else _common([h.length for h in candidates.values()])
        channels = {name: header for name, header in candidates.items() if header.length in (rows, rows - 1)}
        if not channels:
            for name, header in arrays.headers.items():
                require_numbers(header.dtype, arrays.where(name))
            raise SourceError(f"{path}: has no array of {rows} rows of numbers; there are: {found}")
        return cls(arrays=arrays, rows=rows, time=time, channels=channels)

    def spans(self, episode: str | None) -> dict[str, slice]:
        """Rows of each episode, by its name.

        Args:
            episode: Array that tells them; None for one of the name "".

        Raises:
            SourceError: The array tells no episodes.
        """
        if episode is None:
            return {"": slice(0, self.rows)}
        marks = np.asarray(self.arrays.array(episode))
        where = self.arrays.where(episode)
        if marks.ndim != 1 or not np.issubdtype(marks.dtype, np.integer):
            raise SourceError(f"{where}: must be one axis of whole numbers: the episode of each row, or the row at which each one ends")
        if len(marks) == self.rows:
            starts = np.append(0, 1 + np.flatnonzero(np.diff(marks)))[: self.rows]
            names = [str(number) for number in marks[starts]]
            if doubled := sorted({name for name in names if names.count(name) > 1}):
                raise SourceError(f"{where}: the rows of episode {doubled[0]} do not stand together; sort them")
            ends = np.append(starts[1:], self.rows)
        else:
            ends = marks.astype(np.int64)
            starts = np.append(0, ends[:-1])
            names = [str(number) for number in range(len(ends))]
            if not len(ends) or (ends < starts).any() or ends[-1] != self.rows:
                raise SourceError(
                    f"{where}: must ascend to {self.rows}, the number of rows, as the ends of episodes do, or have one number per row"
                )
        return {name: slice(int(a), int(b)) for name, a, b in zip(names, starts, ends, strict=True)}

    @functools.cached_property
    def _stamps(self) -> NDArray[np.generic]:
        """All timestamps, read once for all episodes of the file."""
        assert self.time is not None
        return np.asarray(self.arrays.array(self.time))

    def times(self, span: slice, options: NpzOptions) -> NDArray[np.float64]:
        """Timestamps of some rows in seconds, (N,).

        Raises:
            BadTake: The array of timestamps is damaged.
        """
        if self.time is None:
            return np.arange(span.stop - span.start) * float(options.period or math.nan)
        times = self._stamps[span]
        if times.dtype.kind == "M":
            seconds: NDArray[np.float64] = times.astype("datetime64[ns]").astype(np.int64) / 1e9
            return np.where(np.isnat(times), np.nan, seconds)
        return times.astype(np.float64) * _SECONDS[options.time_unit]


def _common(lengths: list[int]) -> int:
    """The length that most arrays have, or have one less than; of several, the longest."""
    return max(sorted(set(lengths), reverse=True), key=lambda rows: sum(n in (rows, rows - 1) for n in lengths), default=0)
