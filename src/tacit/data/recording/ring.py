"""The memory between a control thread, which must never wait, and the thread that writes a journal."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tacit.data.recording.journal import BLOCK_BYTES, record_type
from tacit.signals import Schema

FEWEST = 8  # moments, however large one is


@dataclass(frozen=True, kw_only=True, eq=False)
class End:
    """The end of an episode.

    Attributes:
        at: Count of all moments up to it.
        closed: Set when the episode is in the store, or had no step to put there.
    """

    at: int
    closed: threading.Event = field(default_factory=threading.Event)


class Ring:
    """Moments that wait to be written, in slots that are allocated, and touched, once.

    One thread fills the slot `scratch` and commits it; another takes runs of committed moments out. Neither takes a lock: each
    counter has one owner, and Python makes every assignment whole. The scratch slot is always free, so a sample can be put there
    before anybody knows whether it is good.

    Args:
        schema: Signals of a moment.
        nbytes: Bytes to allocate, at least `FEWEST` moments.
    """

    def __init__(self, schema: Schema, nbytes: int) -> None:
        kind = record_type(schema)
        self.capacity = max(FEWEST, nbytes // kind.itemsize)
        self._slots = self.capacity + 1
        self._bytes = np.empty((self._slots, kind.itemsize), np.uint8)
        self._bytes.fill(0)  # a page that was never touched would cost the control thread a fault
        self._view = self._bytes.data.cast("B")
        self._run = max(1, BLOCK_BYTES // kind.itemsize)
        records = self._bytes.view(kind)[:, 0]
        self.columns = {name: records[name] for name in kind.names or ()}
        self.ends: deque[End] = deque()
        self.committed = 0
        self.taken = 0

    @property
    def scratch(self) -> int:
        """Slot of the next moment, the row to fill in `columns`."""
        return self.committed % self._slots

    @property
    def room(self) -> int:
        """Moments that can be committed now."""
        return self.capacity - (self.committed - self.taken)

    def commit(self) -> None:
        """Hand the scratch slot over; there must be room."""
        self.committed += 1

    def repeat(self) -> None:
        """Commit the last moment once more; there must be room."""
        self._bytes[self.scratch] = self._bytes[(self.committed - 1) % self._slots]
        self.commit()

    def end(self) -> End:
        """Note that the moments committed so far end an episode."""
        end = End(at=self.committed)
        self.ends.append(end)
        return end

    def runs(self, stop: int) -> Iterator[memoryview]:
        """Bytes of committed moments up to the count `stop`, in runs; a run is free again when the next one is asked for."""
        size = self._bytes.shape[1]
        while (first := self.taken) < stop:
            slot = first % self._slots
            length = min(stop - first, self._slots - slot, self._run)
            yield self._view[slot * size : (slot + length) * size]
            self.taken = first + length
