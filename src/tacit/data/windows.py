"""Windows of episodes as batches: read by contiguous copies, and read ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tacit.data.description import StoreError
from tacit.data.episode import Array
from tacit.data.store import EpisodeStore
from tacit.signals import Role

Batch = Mapping[str, Array]


class WindowReader:
    """Copies windows of a fixed number of frames out of a store.

    Episodes too short for one window are skipped and counted. The reader numbers the ones it keeps from 0: `starts` speaks of these
    numbers, `lengths` lists their T, and `episodes` says which episode of the store each one is.

    Args:
        store: Where the episodes are; give a view to make labels unreachable.
        length: L, frames per window.
        episodes: Numbers of episodes in the store; all healthy ones when left out.
        names: Signals to read; every signal but the labels when left out.

    Attributes:
        episodes: Kept episodes as numbered in the store, int64 (kept,).
        lengths: T of each kept episode, int64 (kept,).
        skipped: How many episodes were too short.

    Raises:
        StoreError: No episode is long enough for one window.
        DamagedEpisode: A listed episode is known to be damaged.
        SchemaError: The store has no signal of that name.
    """

    def __init__(
        self, store: EpisodeStore, *, length: int, episodes: npt.ArrayLike | None = None, names: Iterable[str] | None = None
    ) -> None:
        if length < 1:
            raise ValueError(f"a window has at least one frame, not {length}")
        self._store = store.without_labels() if names is None else store.view(names)
        self.schema = self._store.schema
        self.length = length
        wanted = store.healthy() if episodes is None else np.asarray(episodes, np.int64).reshape(-1)
        self._store.require_healthy(wanted)
        lengths = store.lengths[wanted]
        fits = lengths >= length - 1
        if not fits.any():
            longest = f"the longest of {len(wanted)} has {lengths.max() + 1} frames" if len(wanted) else "there are no episodes"
            raise StoreError(f"{store.path}: no episode holds a window of {length} frames: {longest}; shorten the window or record more")
        self.episodes = wanted[fits]
        self.lengths = lengths[fits]
        self.skipped = int(np.count_nonzero(~fits))
        self._frames = {s.name: length - 1 if s.role is Role.ACTION else length for s in self.schema.signals}
        self._arrays: dict[int, tuple[Array, ...]] = {}

    def buffers(self, batch: int) -> dict[str, Array]:
        """New arrays for `batch` windows, to be given to `read` again and again.

        Returns:
            By signal name: (batch, L, *shape), for actions (batch, L-1, *shape), in the signal's dtype.
        """
        return {s.name: np.empty((batch, self._frames[s.name], *s.shape), s.dtype) for s in self.schema.signals}

    def read(self, starts: npt.NDArray[np.int64], out: dict[str, Array] | None = None) -> dict[str, Array]:
        """Copy windows out of the store.

        Args:
            starts: Rows (episode as numbered in this reader, first frame), (B, 2).
            out: Arrays from `buffers(B)` to write to; new ones when left out.

        Returns:
            By signal name: (B, L, *shape), for actions (B, L-1, *shape): action t leads from frame t to frame t+1.

        Raises:
            IndexError: A window leaves its episode.
            DamagedEpisode: The bytes of an episode are found missing or changed.
        """
        self._require_inside(starts)
        batch = self.buffers(len(starts)) if out is None else out
        rows = starts.tolist()
        sources = [self._arrays.get(episode) or self._open(episode) for episode, _ in rows]
        for column, (name, frames) in enumerate(self._frames.items()):
            target = batch[name]
            for place, (_, first) in enumerate(rows):
                target[place] = sources[place][column][first : first + frames]
        return batch

    def _open(self, episode: int) -> tuple[Array, ...]:
        signals = self._store[int(self.episodes[episode])].signals
        arrays = self._arrays[episode] = tuple(signals[name] for name in self._frames)
        return arrays

    def _require_inside(self, starts: npt.NDArray[np.int64]) -> None:
        episode, first = starts[:, 0], starts[:, 1]
        known = (episode >= 0) & (episode < len(self.episodes))
        last = self.lengths[np.where(known, episode, 0)] + 1 - self.length
        if len(bad := np.flatnonzero(~(known & (first >= 0) & (first <= last)))):
            raise IndexError(
                f"window {bad[0]} starts at frame {first[bad[0]]} of episode {episode[bad[0]]}: {self.length} frames from there are not "
                f"inside one of this reader's {len(self.episodes)} episodes"
            )


class Prefetcher:
    """Reads the next batches in one background thread while the last one is being used.

    Use it as a context manager and iterate. A batch may be used until the next one is asked for; then its arrays are filled again.
    An error in the thread is raised where the batch was asked for.

    Args:
        reader: Where windows come from.
        batch_at: Step -> starts (B, 2), with the same B at every step; `WindowSampler.batch_at` goes here.
        steps: Steps to read, in order, for example `range(resumed, last)`.
        ahead: How many batches may wait ready.
    """

    def __init__(
        self, reader: WindowReader, batch_at: Callable[[int], npt.NDArray[np.int64]], steps: Iterable[int], *, ahead: int = 2
    ) -> None:
        if ahead < 1:
            raise ValueError(f"ahead {ahead} must be at least 1")
        self._reader = reader
        self._batch_at = batch_at
        self._steps = steps
        self._free: queue.SimpleQueue[dict[str, Array] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[dict[str, Array] | BaseException | None] = queue.SimpleQueue()
        for _ in range(ahead + 1):  # one more, in the consumer's hands
            self._free.put({})
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tacit-prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread after the batch it is reading; a second call does nothing."""
        self._stopped.set()
        self._free.put(None)
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        """Batches in the order of the steps; one pass only."""
        while (batch := self._ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            try:
                yield batch
            finally:
                self._free.put(batch)
        self._ready.put(None)  # whoever asks again is told the same

    def _work(self) -> None:
        try:
            for step in self._steps:
                batch = self._free.get()
                if batch is None or self._stopped.is_set():
                    return
                starts = self._batch_at(step)
                self._ready.put(self._reader.read(starts, batch or self._reader.buffers(len(starts))))
        except BaseException as error:  # noqa: BLE001 (it is raised again in the consumer)
            self._ready.put(error)
        finally:
            self._ready.put(None)
