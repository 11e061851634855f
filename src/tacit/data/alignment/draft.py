"""A draft: the episode in the making. It fills in what is masked, and decodes frames once it is long enough to be kept.

Dimensions: M moments that are added together, T steps, D elements of a flattened signal, P channels of a signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tacit.data.alignment.column import Column
from tacit.data.alignment.resample import Flags, Times, Values
from tacit.data.episode import Array, Episode
from tacit.data.streams import BadTake, Frames

NO_FRAME = -1  # number of the frames where a camera has had none so far


class Draft:
    """An episode that grows at its end.

    Args:
        columns: Signals, in storage order.
        min_steps: Steps from which on the episode is kept, whatever comes.
    """

    def __init__(self, columns: Sequence[Column], min_steps: int) -> None:
        self._columns, self._min_steps = columns, min_steps
        self._time: list[Times] = []
        signals = (signal for c in columns for signal in (c.mapped.signal, c.mapped.mask) if signal is not None)
        self._stored: dict[str, list[Array]] = {signal.name: [] for signal in signals}
        self._last: dict[str, Values] = {}  # by signal, (1, D): what stands where it is missing
        self._waiting: dict[str, list[Values]] = {c.name: [] for c in columns if c.mapped.camera}  # references to frames
        self._frames: dict[str, dict[int, Frames]] = {name: {} for name in self._waiting}
        self._whole = True  # False while moments are being added, and after that failed

    @property
    def moments(self) -> int:
        """Number of moments so far."""
        return sum(len(t) for t in self._time)

    @property
    def steps(self) -> int:
        """Number of actions so far, T."""
        return max(self.moments - 1, 0)

    @property
    def kept(self) -> bool:
        """True when the episode is long enough to be kept, and no frame in it was found damaged."""
        return self._whole and self.steps >= self._min_steps

    @property
    def end(self) -> float:
        """Last moment so far, in seconds."""
        return float(self._time[-1][-1])

    def extend(self, at: Times, found: Mapping[str, tuple[Values, Flags]]) -> None:
        """Add moments, and the steps that lead to them.

        Args:
            at: Moments in seconds, (M,), M > 0.
            found: Of each signal, values (M, D), and False where a channel has none, (M, P); no step leads to the first moment of all.

        Raises:
            BadTake: A frame cannot be decoded, or is not of the size that was asked for.
        """
        first, self._whole = not self._time, False
        self._time.append(at)
        for column in self._columns:
            values, present = found[column.name]
            if column.action:
                self._stored[column.name].append(_stored(column, values[1:] if first else values))
                continue
            filled = self._filled(column, values, present)
            self._last[column.name] = filled[-1:]
            if (mask := column.mapped.mask) is not None:
                self._stored[mask.name].append(_validity(column, present))
            if column.mapped.camera:
                self._waiting[column.name].append(filled)
                needed = np.unique(filled[:, 0])
                self._frames[column.name] |= {int(n): column.frames[int(n)] for n in needed if int(n) in column.frames}
            else:
                self._stored[column.name].append(_stored(column, filled))
        if self.steps >= self._min_steps:
            for column in self._columns:
                if column.mapped.camera:
                    self._decode(column)
        self._whole = True

    def following(self) -> Draft:
        """The draft of an episode that begins with the last moment of this one, which must be kept."""
        after = Draft(self._columns, self._min_steps)
        after._time = [self._time[-1][-1:]]
        after._last = dict(self._last)
        after._frames = self._frames
        actions = {column.name for column in self._columns if column.action}
        after._stored = {name: [] if name in actions else [parts[-1][-1:].copy()] for name, parts in self._stored.items()}
        return after

    def episode(self) -> Episode:
        """The episode, which must be kept."""
        return Episode(
            signals={name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in self._stored.items()},
            time=np.concatenate(self._time),
        )

    def _filled(self, column: Column, values: Values, present: Flags) -> Values:
        """Values with the last good one where a channel has none; zero, or no frame, before the first."""
        if column.cuts:
            return values
        none = NO_FRAME if column.mapped.camera else 0
        last = self._last.get(column.name, np.full((1, values.shape[1]), none, values.dtype))
        filled = np.concatenate([last, values])
        newest = np.where(present, np.arange(1, len(values) + 1)[:, None], 0)
        newest = np.maximum.accumulate(newest, axis=0)
        for part, rows in zip(column.mapped.parts, newest.T, strict=True):
            places = slice(None) if column.mapped.camera else list(part.places)
            filled[1:, places] = filled[:, places][rows]
        return filled[1:]

    def _decode(self, column: Column) -> None:
        name, shape = column.name, column.mapped.signal.shape
        frames = self._frames[name]
        for references in self._waiting[name]:
            images = np.zeros((len(references), *shape), np.uint8)
            for number in np.unique(references[:, 0][references[:, 0] != NO_FRAME]):
                mine = references[:, 0] == number
                read = frames[int(number)].read(references[mine, 1].astype(np.int64), (shape[0], shape[1]))
                if read.shape[1:] != shape:
                    raise BadTake(
                        f"frames of {column.mapped.parts[0].channel.name!r} came as {read.shape[1:]} instead of {shape}; leave the take out"
                    )
                images[mine] = read
            self._stored[name].append(images)
        self._waiting[name] = []
        last = int(self._last[name][0, 0])
        self._frames[name] = {number: read_later for number, read_later in frames.items() if number == last}


def _stored(column: Column, values: Values) -> Array:
    """Values (M, D) in the dtype and shape of the store."""
    signal = column.mapped.signal
    if signal.dtype[0] != "f" and values.dtype.kind == "f":
        values = np.rint(values)
    return np.ascontiguousarray(values).astype(signal.dtype).reshape(len(values), *signal.shape)


def _validity(column: Column, present: Flags) -> NDArray[np.bool_]:
    """Which elements have a value, from which channels (M, P) have one."""
    mask = column.mapped.mask
    assert mask is not None
    if column.mapped.signal.is_image:
        return present[:, 0]
    valid = np.empty((len(present), column.mapped.signal.size), np.bool_)
    for part, flags in zip(column.mapped.parts, present.T, strict=True):
        valid[:, list(part.places)] = flags[:, None]
    return valid.reshape(len(present), *mask.shape)
