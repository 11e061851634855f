"""Takes as a format would give them, in any number of pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.data.alignment.align import Alignment, AlignmentNotes
from tacit.data.alignment.mapped import schema_of
from tacit.data.episode import Episode, require_fitting
from tacit.data.mapping import Cutting, LogMapping, SignalMapping
from tacit.data.streams import ArrayFrames, Channel, Piece, Stream

Log = tuple[Sequence[float] | npt.NDArray[np.float64], Any]  # times and values


@dataclass(frozen=True, kw_only=True)
class Take:
    """A take in memory.

    Attributes:
        logs: Times (N,) and values (N, ...) by channel; uint8 of four dimensions for a camera.
        valid: Flags by channel, where the source has some.
    """

    logs: Mapping[str, Log]
    valid: Mapping[str, Sequence[bool]] = field(default_factory=dict)

    @property
    def channels(self) -> dict[str, Channel]:
        found = {}
        for name, (_, values) in self.logs.items():
            array = np.asarray(values)
            found[name] = Channel(name=name, shape=array.shape[1:], dtype=str(array.dtype), camera=array.ndim == 4)
        return found

    def pieces(self, cuts: Sequence[float] = ()) -> Iterator[Piece]:
        """Pieces that end at `cuts`, in seconds, and one more."""
        edges = [*sorted(cuts), np.inf]
        for low, high in zip([-np.inf, *edges], edges, strict=False):
            streams = {}
            for name, (time, values) in self.logs.items():
                latest = np.fmax.accumulate(np.asarray(time, np.float64))  # what goes back comes with what it follows
                rows = np.flatnonzero((latest >= low) & (latest < high))
                if low == -np.inf:
                    rows = np.flatnonzero(~(latest >= high))
                if len(rows):
                    streams[name] = self._stream(name, rows, np.asarray(time, np.float64), np.asarray(values))
            yield Piece(streams=streams, until=high)

    def _stream(self, name: str, rows: npt.NDArray[np.int64], time: npt.NDArray[np.float64], values: npt.NDArray[Any]) -> Stream:
        some = ArrayFrames(images=values[rows]) if values.ndim == 4 else values[rows]
        valid = np.asarray(self.valid[name])[rows] if name in self.valid else None
        return Stream(time=time[rows], values=some, where=f"log.csv, column {name}", valid=valid, rows=rows + 2)


def align(
    take: Take,
    signals: Mapping[str, SignalMapping],
    *,
    period: float = 1.0,
    min_steps: int = 1,
    max_steps: int = 1000,
    cuts: Sequence[float] = (),
) -> tuple[list[Episode], AlignmentNotes]:
    """Episodes and notes of a take; every episode is checked against the schema."""
    mapping = LogMapping(signals=signals, period=period, episodes=Cutting(min_steps=min_steps, max_steps=max_steps))
    alignment = Alignment(mapping, take.channels)
    episodes = list(alignment.episodes(take.pieces(cuts)))
    for episode in episodes:
        require_fitting(episode, schema_of(mapping, take.channels))
    return episodes, alignment.notes
