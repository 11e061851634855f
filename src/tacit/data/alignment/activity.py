"""The activity of a stream: one number per time, so that streams of any kind can be set against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.streams import SourceError, Stream

Series = NDArray[np.float64]

FRAME = (32, 32)  # height and width at which frames are compared


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """One number per time that tells how much happens, or what.

    Attributes:
        time: Seconds, (N,), strictly increasing.
        values: (N,), finite.
        is_change: True when the values are amounts of change and not what changes: of a camera, or of a vector.
        name: What messages call it.
    """

    time: Series
    values: Series
    is_change: bool = False
    name: str = "the series"


def activity(stream: Stream) -> Activity:
    """The activity of a stream.

    Args:
        stream: A scalar gives its own values; a vector the norm of its change per second, each element in units of its standard
            deviation; a camera the mean absolute difference between successive frames, per second. A change is timed at the middle of
            the two samples that it lies between. Samples that are bad, or not later than all before, are left out.

    Raises:
        SourceError: Fewer than three samples are left.
    """
    time = np.asarray(stream.time, np.float64)
    good = np.isfinite(time) if stream.valid is None else np.isfinite(time) & stream.valid
    camera = not isinstance(stream.values, np.ndarray)
    if isinstance(stream.values, np.ndarray):
        good &= np.isfinite(stream.values.reshape(len(time), -1)).all(axis=1)
    rows = np.flatnonzero(good)
    newest = np.maximum.accumulate(time[rows])
    rows = rows[np.diff(newest, prepend=-np.inf) > 0]
    if len(rows) < 3:
        raise SourceError(f"{stream.where}: {len(rows)} good samples are too few to tell its activity; choose another signal or take")
    time = time[rows]
    middle, seconds = (time[1:] + time[:-1]) / 2, np.diff(time)
    if camera:
        return Activity(time=middle, values=_frame_changes(stream, rows) / seconds, is_change=True, name=stream.where)
    values = np.asarray(stream.values, np.float64).reshape(len(stream), -1)[rows]
    if values.shape[1] == 1:
        return Activity(time=time, values=values[:, 0], name=stream.where)
    spread = values.std(axis=0)
    changes = np.linalg.norm(np.diff(values / np.where(spread > 0, spread, 1), axis=0), axis=1)
    return Activity(time=middle, values=changes / seconds, is_change=True, name=stream.where)


def _frame_changes(stream: Stream, rows: NDArray[np.int64]) -> Series:
    """Mean absolute difference of successive frames, grey values, (len(rows) - 1,)."""
    assert not isinstance(stream.values, np.ndarray)
    changes, last = [], None
    for start in range(0, len(rows), 256):
        frames = stream.values.read(rows[start : start + 256], FRAME).astype(np.float32)
        joined = frames if last is None else np.concatenate([last, frames])
        changes.append(np.abs(np.diff(joined, axis=0)).mean(axis=(1, 2, 3)))
        last = frames[-1:]
    return np.concatenate(changes).astype(np.float64)
