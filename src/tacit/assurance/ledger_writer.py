"""The thread that writes a ledger: whoever decides leaves an entry in a queue, and never waits for the disk."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, final

from tacit.assurance.canonical import Array, ArrayDigest, digest_of_array
from tacit.assurance.chain import Head, LedgerError, head_path, line_of
from tacit.assurance.entries import Began, Entry, Made, Reading, Retargeted, Timing, made_of, to_json
from tacit.atomic import atomic_write, sync_folder
from tacit.planning.decision import Decision

Inputs = Literal["full", "digest"]

WRITE_SECONDS = 0.05
_BATCH_BYTES = 4 * 2**20  # brought to the file at once
_BREATH = 5e-5  # seconds between two entries in which a control thread can have the interpreter


@dataclass(slots=True)
class Decided:
    """What `Ledger.add` was given. To make an entry of it takes ten times as long as to copy it, so that is left to the thread that writes.

    The tensors of a plan are not copied: nobody writes into a plan that was returned, which a controller relies on too.
    """

    time: float
    step: int
    episode: int
    inputs: Mapping[str, Array | None]
    applied: Array | None
    decision: Decision
    action: Array
    readings: Mapping[str, Reading]
    timing: Timing | None

    def made(self) -> Made:
        return made_of(
            self.decision,
            time=self.time,
            step=self.step,
            episode=self.episode,
            inputs=self.inputs,
            applied=self.applied,
            action=self.action,
            readings=self.readings,
            timing=self.timing,
        )


@final
class LedgerWriter:
    """Brings entries into a ledger's file, one after another, and now and then to the disk.

    The control thread calls `put`, `sync` and `close`; all else belongs to the thread that `start` begins.

    Args:
        path: The ledger.
        file: The same, opened; nobody else writes it.
        ledger: Its own name.
        head: Of the records that are in it; None where there are none.
        end: Its length in bytes.
        inputs: Whether inputs are kept, or digests of them.
        sync_seconds: Seconds between two moments at which everything is brought to the disk.

    Attributes:
        synced: The head of all that is safely on disk; None before the first record is.
        fault: Why the last try failed; None where it did not.
        is_over: Whether the thread has ended.
    """

    def __init__(
        self, path: Path, file: BinaryIO, *, ledger: str, head: Head | None, end: int, inputs: Inputs, sync_seconds: float
    ) -> None:
        self.synced: Head | None = None
        self.fault: Exception | None = None
        self.is_over = False
        self._path = path
        self._file = file
        self._ledger = ledger
        self._head = head  # of all lines
        self._end = end
        self._inputs = inputs
        self._sync_seconds = sync_seconds
        self._queue: deque[tuple[Entry | Decided, int]] = deque()
        self._pending: list[bytes] = []  # lines that are not in the file yet
        self._accepted = self._accepted_bytes = 0  # by the control thread, into the queue
        self._drawn = self._drawn_bytes = 0  # by the writing thread, out of it
        self._stored_bytes = 0  # of the queue, that are in the file
        self._settled = 0  # entries that are on disk
        self._failures = 0
        self._is_closed = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._write, name="tacit-ledger", daemon=True)

    def start(self, first: Entry) -> None:
        """Bring a first entry to the disk, and begin to write what is put into the queue.

        Raises:
            OSError: The file cannot be written.
        """
        self._chain(to_json(first))
        self._store()
        sync_folder(self._path.parent)
        self._sync()
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that were put into the queue and are not in the file yet."""
        return self._accepted_bytes - self._stored_bytes

    def put(self, entry: Entry | Decided, size: int) -> None:
        """Leave an entry of about so many bytes in the queue."""
        self._accepted_bytes += size
        self._accepted += 1
        self._queue.append((entry, size))

    def sync(self) -> None:
        """Wait until everything until now is safely on disk.

        Raises:
            OSError: The disk failed, or is full; the queue keeps what it can, and writing is tried again.
        """
        wanted, failures = self._accepted, self._failures
        while self._settled < wanted and self._failures == failures and not self.is_over:
            self._wake.set()
            time.sleep(0.002)
        if self._settled < wanted and self.fault is not None:
            raise self.fault

    def close(self) -> None:
        """Write everything that waits, and end.

        Raises:
            OSError: The disk failed, or is full.
        """
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        self._file.close()
        if self.fault is not None:
            raise self.fault

    def _write(self) -> None:
        """The thread that writes."""
        synced = time.monotonic()
        try:
            while not self.is_over:
                is_wanted = self._wake.wait(min(WRITE_SECONDS, self._sync_seconds))
                self._wake.clear()
                is_last = self._is_closed  # read before the queue: nothing comes after it
                try:
                    self._drain()
                    if is_last or is_wanted or time.monotonic() - synced >= self._sync_seconds:
                        self._sync()
                        synced = time.monotonic()
                    self.fault = None
                except OSError as error:
                    self._fail(error)
                self.is_over = is_last
        except Exception as error:  # noqa: BLE001 (it is raised again where somebody waits for the disk)
            self._fail(error)
        finally:
            self.is_over = True

    def _fail(self, error: Exception) -> None:
        self.fault = error
        self._failures += 1

    def _drain(self) -> None:
        """Write all that waits."""
        self._store()
        while self._queue:
            full = self._drawn_bytes + _BATCH_BYTES
            while self._queue and self._drawn_bytes < full:
                entry, size = self._queue.popleft()
                self._chain(to_json(self._kept(entry)))
                self._drawn += 1
                self._drawn_bytes += size
                time.sleep(_BREATH)
            self._store()

    def _chain(self, values: Mapping[str, Any]) -> None:
        line, self._head = line_of(values, ledger=self._ledger, head=self._head)
        self._pending.append(line)

    def _store(self) -> None:
        """Bring the pending lines into the file. After a failure they are written again, over what the failure left."""
        rest, place = memoryview(b"".join(self._pending)), self._end
        while rest:
            written = os.pwrite(self._file.fileno(), rest, place)
            rest, place = rest[written:], place + written
        self._end = place
        self._pending.clear()
        self._stored_bytes = self._drawn_bytes

    def _sync(self) -> None:
        """Bring what is in the file to the disk, and then its head."""
        if self.synced != self._head:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:  # the system may forget what it could not write: a second try would succeed, and prove nothing
                raise LedgerError(f"{self._path}: the disk failed ({error}), so the ledger ends; what `head` counts is safe") from error
            atomic_write(head_path(self._path), f"{self._head}\n")
            self.synced = self._head
        self._settled = self._drawn

    def _kept(self, entry: Entry | Decided) -> Entry:
        """An entry as it is kept, with digests in the place of inputs if that is wanted."""
        entry = entry.made() if isinstance(entry, Decided) else entry
        if self._inputs == "full":
            return entry
        if isinstance(entry, Made):
            return replace(entry, inputs={name: None if v is None else _digest(v) for name, v in entry.inputs.items()})
        if isinstance(entry, Began) and entry.goal is not None:
            return replace(entry, goal={name: _digest(v) for name, v in entry.goal.items()})
        if isinstance(entry, Retargeted):
            return replace(entry, setpoints={name: _digest(v) for name, v in entry.setpoints.items()})
        return entry


def _digest(value: Array | ArrayDigest) -> ArrayDigest:
    return value if isinstance(value, ArrayDigest) else digest_of_array(value)
