"""The two threads behind a recorder: one writes the journal, one closes episodes.

They share the interpreter with a control thread, so each does little Python at a time and waits in the system for the rest: a block of
the journal is one checksum and two writes however many moments it holds. Closing has its own thread because it syncs, which may take a
second on a slow disk, and the journal of the next episode must not wait for that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tacit.atomic import sync_folder
from tacit.data.description import StoreError
from tacit.data.recording.journal import OPEN, JournalFile, put_in_store
from tacit.data.recording.ring import End, Ring
from tacit.data.writer import SYNC_SECONDS, EpisodeWriter, StoreFull

FLUSH_SECONDS = 0.4
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ended:
    journal: Path | None  # None when it had no step
    end: End


class Scribe:
    """Writes what a ring holds to the store's journal, and brings each ended episode into the store.

    Attributes:
        fault: The first error of a thread, or None. After it nothing more is accepted; what was accepted before stays on disk.

    Args:
        ring: Where moments come from.
        writer: The open store, without journals; nobody else uses it from now on.
    """

    def __init__(self, ring: Ring, writer: EpisodeWriter) -> None:
        self.fault: Exception | None = None
        self._ring = ring
        self._writer = writer
        self._turn = min(FLUSH_SECONDS, ring.capacity * writer.schema.period / 4)  # a small ring must not fill between two turns
        self._number = len(writer)
        self._journal: JournalFile | None = None
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[_Ended | None] = queue.SimpleQueue()
        self._synced: tuple[int, int] | None = None  # number and moments of the journal that was synced last
        self._threads = [
            threading.Thread(target=self._write, name="tacit-journal", daemon=True),
            threading.Thread(target=self._keep, name="tacit-closing", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Write what the ring holds now rather than at the next turn."""
        self._bell.put(True)

    def close(self) -> None:
        """Write what the ring still holds, close every ended episode, and stop."""
        self._bell.put(False)
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        """The thread of the journal."""
        is_on = True
        try:
            while is_on:
                with contextlib.suppress(queue.Empty):
                    is_on = self._bell.get(timeout=self._turn)
                self._drain()
        except Exception as error:  # noqa: BLE001 (it is raised again where an episode is ended)
            self._fail(error)
        finally:
            if self._journal is not None:
                self._journal.close()
            self._ended.put(None)

    def _drain(self) -> None:
        committed = self._ring.committed  # read first: an end is noted before any moment behind it is committed
        while True:
            end = self._ring.ends[0] if self._ring.ends else None
            stop = committed if end is None else min(committed, end.at)
            for run in self._ring.runs(stop):
                if self._journal is None:
                    self._journal = JournalFile(self._writer.path, self._writer.schema, self._number)
                self._journal.append(run)
            if end is None or self._ring.taken < end.at:
                return
            self._ring.ends.popleft()
            self._end(end)

    def _end(self, end: End) -> None:
        journal, self._journal = self._journal, None
        path = None
        if journal is not None and journal.moments < 2:
            journal.discard()
        elif journal is not None:
            path = journal.end()
            self._number += 1
        self._ended.put(_Ended(journal=path, end=end))  # in any case: it is closed when all before it are

    def _keep(self) -> None:
        """The thread that closes episodes and syncs the journal."""
        synced = time.monotonic()
        try:
            while True:
                try:
                    ended = self._ended.get(timeout=SYNC_SECONDS)
                    if ended is None:
                        return
                    if ended.journal is not None:
                        lost = put_in_store(ended.journal, self._writer).lost_bytes
                        if lost:
                            raise StoreError(
                                f"{ended.journal} has changed on disk: {lost:,} bytes of an episode were not intact and are lost, the "
                                "steps before them are in the store; check the disk, and make a new Recorder"
                            )
                    ended.end.closed.set()
                except queue.Empty:
                    pass
                if time.monotonic() - synced >= SYNC_SECONDS:
                    self._sync()
                    synced = time.monotonic()
        except Exception as error:  # noqa: BLE001 (it is raised again where an episode is ended)
            self._fail(error)

    def _sync(self) -> None:
        """Bring the open journal to disk."""
        journal = self._journal
        if journal is None or (state := (journal.number, journal.moments)) == self._synced:
            return
        try:
            handle = os.open(self._writer.path / OPEN, os.O_RDONLY)
        except FileNotFoundError:
            return  # it has just ended; closing syncs it
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if self._synced is None or self._synced[0] != journal.number:
            sync_folder(self._writer.path)
        self._synced = state

    def _fail(self, error: Exception) -> None:
        if self.fault is not None:
            return
        if isinstance(error, OSError) and error.errno in _FULL:
            full = StoreFull(
                f"{self._writer.path} is out of room ({error.strerror}), so recording has stopped. What was recorded before is safe, the "
                "open episode in its journal; make room, and the next Recorder on this store closes it"
            )
            full.__cause__ = error
            error = full
        self.fault = error
