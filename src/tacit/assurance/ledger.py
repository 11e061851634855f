"""The ledger of a machine: every decision with what it rests on, in a chain that shows any later change.

    with Ledger("line3.ledger", session) as ledger:
        controller = Recorded(run.controller_of(session), ledger)
        ...

`tacit.assurance.chain` has the format.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, final

import numpy as np
from numpy.typing import ArrayLike

from tacit.assurance.canonical import Array
from tacit.assurance.chain import Checked, Head, LedgerError, check, head_path, records
from tacit.assurance.entries import Began, Closed, Cut, Entry, Gap, Made, Opened, Reading, Retargeted, Supervising, Timing
from tacit.assurance.ledger_writer import Decided, Inputs, LedgerWriter
from tacit.assurance.session import Session
from tacit.assurance.supervision import Supervision
from tacit.atomic import atomic_write
from tacit.closing import close_after
from tacit.planning.decision import Decision

QUEUE_BYTES = 64 * 2**20
SYNC_SECONDS = 0.2
_OVERHEAD = 2_000  # bytes of an entry besides its inputs and its plan, roughly


@final
class Ledger:
    """Writes the decisions of one machine, one after another, so that none can be changed, lost or invented without a trace.

    An existing ledger is checked and gone on with. What a killed process left torn at its end goes to a file beside it, and a record says
    so. One process at a time writes.

    **Never in the way.** `begin` and `add` copy what they are given into a queue and return; a thread writes it. They never wait for the
    disk or for that thread. Where the queue is full, or the disk is broken, they return False, `lost` counts, and the next record that is
    kept stands behind a record that says how many are missing.

    **Crashes.** Records reach the system every 0.05 s, and the disk every `sync_seconds`, where `head` is what it was then: the records
    it counts outlive a power failure. A killed process loses what it decided in about the last twentieth of a second, or while the disk
    was busy.

    One thread calls the ledger.
    """

    def __init__(
        self,
        path: str | Path,
        session: Session,
        *,
        inputs: Inputs = "full",
        sync_seconds: float = SYNC_SECONDS,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """Begin a ledger, or go on with one.

        Args:
            path: The file; its folder must exist.
            session: What this process decides with.
            inputs: "full" keeps observations and goals, so that decisions can be made again; "digest" keeps what can prove them.
            sync_seconds: Seconds between two moments at which everything is brought to the disk.
            queue_bytes: Memory for what waits for the disk.

        Raises:
            LedgerError: The ledger does not verify, or another process writes it.
            OSError: The file cannot be written.
        """
        if inputs not in ("full", "digest"):
            raise ValueError(f'inputs must be "full" or "digest", not {inputs!r}')
        if not sync_seconds > 0:
            raise ValueError(f"sync_seconds must be positive, not {sync_seconds}")
        self.path = Path(path)
        self.lost = 0
        self._queue_bytes = queue_bytes
        self._missing: Gap | None = None  # what was lost since the last entry that was kept
        self._step = self._episode = 0
        self._is_closed = False
        file = _opened(self.path)
        try:
            self._writer = self._open(file, session, inputs, sync_seconds)
        except BaseException:
            file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        close_after(error, self.close, "ledger")

    @property
    def head(self) -> Head:
        """Of all that is safely on disk. Keep it where this machine cannot write, and it proves everything until now."""
        assert self._writer.synced is not None
        return self._writer.synced

    @property
    def fault(self) -> Exception | None:
        """Why the last try to bring something to the disk failed; None where it did not."""
        return self._writer.fault

    @property
    def steps(self) -> int:
        """Number of decisions until now, with those that were lost: the `step` of the next one."""
        return self._step

    def supervise(self, supervision: Supervision, *, monitor: str | None = None, fallback: str | None = None) -> bool:
        """Note that from now on a supervisor decides, around a new controller of the session.

        Args:
            supervision: Its settings.
            monitor: SHA-256 of what its monitor takes for usual, in hex (`Calibration.digest`); None without a monitor.
            fallback: What it does instead, in words, where that is not what the task says.

        Returns:
            False when it is not kept: see `lost` and `fault`.
        """
        entry = Supervising(time=time.time(), supervision=supervision, monitor=monitor, fallback=fallback)
        return self._put(entry, 0, decisions=0, episodes=0)

    def begin(self, goal: Mapping[str, ArrayLike] | None = None, applied: ArrayLike | None = None) -> bool:
        """Note that an episode begins, which the controller was reset for.

        Args:
            goal: What `reset` was given.
            applied: What `reset` was given.

        Returns:
            False when it is not kept: see `lost` and `fault`.
        """
        self._episode += 1
        kept = None if goal is None else {name: _copied(name, value) for name, value in goal.items()}
        before = None if applied is None else _copied("applied", applied)
        entry = Began(time=time.time(), episode=self._episode, goal=kept, applied=before)
        return self._put(entry, _size(kept or {}), decisions=0, episodes=1)

    def retarget(self, setpoints: Mapping[str, ArrayLike]) -> bool:
        """Note that setpoints were changed.

        Args:
            setpoints: What `retarget` of the controller was given.

        Returns:
            False when it is not kept: see `lost` and `fault`.
        """
        kept = {name: _copied(name, value) for name, value in setpoints.items()}
        return self._put(Retargeted(time=time.time(), setpoints=kept), _size(kept), decisions=0, episodes=0)

    def add(
        self,
        observation: Mapping[str, ArrayLike | None],
        decision: Decision,
        *,
        applied: ArrayLike | None = None,
        readings: Mapping[str, Reading | float] | None = None,
        timing: Timing | None = None,
    ) -> bool:
        """Note a decision.

        Args:
            observation: What `act` was given.
            decision: What it returned; its action is what was emitted.
            applied: What `act` was given.
            readings: Further numbers that the decision rests on, by name, such as those of a monitor.
            timing: When a supervisor made it; None where none did.

        Returns:
            False when it is not kept: see `lost` and `fault`.

        Raises:
            LedgerError: The ledger is closed.
            TypeError: A value is not made of numbers.
        """
        inputs = {name: None if value is None else _copied(name, value) for name, value in observation.items()}
        told = None if applied is None else _copied("applied", applied)
        numbers = {} if readings is None else {name: _reading(name, value) for name, value in readings.items()}
        decided = Decided(time.time(), self._step, self._episode, inputs, told, decision, decision.action.copy(), numbers, timing)
        self._step += 1
        plan = 0 if decision.plan is None else decision.plan.actions.nbytes + decision.plan.trajectory.nbytes
        return self._put(decided, _size(inputs) + plan, decisions=1, episodes=0)

    def sync(self) -> Head:
        """Wait until everything until now is safely on disk.

        Returns:
            The head of it.

        Raises:
            OSError: The disk failed, or is full; the queue keeps what it can, and writing is tried again.
        """
        self._writer.sync()
        return self.head

    def close(self) -> None:
        """Write everything, say that the end is in good order, and let others in; a second call does nothing.

        Raises:
            OSError: The disk failed, or is full. What `head` counts is safe.
        """
        if self._is_closed:
            return
        self._append_gap()
        self._writer.put(Closed(time=time.time()), _OVERHEAD)
        self._is_closed = True
        self._writer.close()

    def _put(self, entry: Entry | Decided, size: int, *, decisions: int, episodes: int) -> bool:
        if self._is_closed:
            raise LedgerError(f"{self.path} is closed: make a new Ledger, it goes on in the same file")
        size += _OVERHEAD
        if self._writer.is_over or self._writer.waiting + size > self._queue_bytes:
            gap = self._missing or Gap(time=entry.time, step=self._step - decisions, decisions=0, episodes=0)
            self._missing = replace(gap, decisions=gap.decisions + decisions, episodes=gap.episodes + episodes)
            self.lost += decisions
            return False
        self._append_gap()
        self._writer.put(entry, size)
        return True

    def _append_gap(self) -> None:
        if self._missing is not None:
            self._writer.put(self._missing, _OVERHEAD)
            self._missing = None

    def _open(self, file: BinaryIO, session: Session, inputs: Inputs, sync_seconds: float) -> LedgerWriter:
        """Take the file over: what is in it must verify, and what is torn at its end goes elsewhere."""
        end, head, was_closed, cut, ledger = file.seek(0, os.SEEK_END), None, None, None, os.urandom(8).hex()
        if end or head_path(self.path).exists():
            found = check(self.path)
            end, head, cut = found.bytes, found.head, _cut(self.path, found)
            for record in records(self.path):
                ledger, was_closed = record["ledger"], record["kind"] == Closed.kind
                self._count_on(record)
        writer = LedgerWriter(self.path, file, ledger=ledger, head=head, end=end, inputs=inputs, sync_seconds=sync_seconds)
        writer.start(Opened(time=time.time(), session=session, inputs=inputs, was_closed=was_closed, cut=cut))
        return writer

    def _count_on(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == Made.kind:
            self._step = record["step"] + 1
        elif record["kind"] == Began.kind:
            self._episode = record["episode"]
        elif record["kind"] == Gap.kind:
            self._step = record["step"] + record["decisions"]
            self._episode += record["episodes"]


def _opened(path: Path) -> BinaryIO:
    """The file, made if it is missing; nobody else writes it until it is closed or its process ends.

    Raises:
        LedgerError: Somebody else does.
    """
    path.touch()
    file = path.open("r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise LedgerError(f"another process writes {path}: end it first, or give each machine a ledger of its own") from error
    return file


def _cut(path: Path, found: Checked) -> Cut | None:
    """Bring what a killed process or a power failure left behind the last whole record into a file beside the ledger.

    Raises:
        LedgerError: What is wrong is not at the end, or nothing tells whether it is.
    """
    finding, synced = found.finding, found.synced
    was_just_made = synced is None and found.records == 1 and not found.torn_bytes  # killed before its first head was written
    is_behind = synced is not None and finding is not None and finding.record >= synced.count
    if finding is not None and not (was_just_made or is_behind):
        raise LedgerError(f"{path} does not verify: {finding.sentence}. Keep it and its head as they are, and begin a new ledger")
    with path.open("r+b") as file:
        file.seek(found.bytes)
        if not (torn := file.read()):
            return None
        kept = next(p for n in count() if not (p := path.with_name(f"{path.name}.torn-{n}")).exists())
        atomic_write(kept, torn)
        file.truncate(found.bytes)
        file.flush()
        os.fsync(file.fileno())
    return Cut(bytes=len(torn), sha256=hashlib.sha256(torn).hexdigest(), kept_as=kept.name)


def _copied(name: str, value: ArrayLike) -> Array:
    array = np.array(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name!r} is not made of numbers: {array.dtype}")
    return array


def _reading(name: str, value: Reading | float) -> Reading:
    """Checked here, where the caller hears of it: the thread that writes must never meet what it cannot write."""
    reading = value if isinstance(value, Reading) else Reading(value=value)
    if not all(isinstance(part, int | float | np.number | None) for part in (reading.value, reading.low, reading.high)):
        raise TypeError(f"the reading {name!r} is not made of numbers: {reading}")
    return reading


def _size(arrays: Mapping[str, Array | None]) -> int:
    return sum(a.nbytes for a in arrays.values() if a is not None)
