"""Recording a live machine from its control loop: no wait for the disk, and a crash costs less than a second."""

from __future__ import annotations

import math
import time as clock
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from warnings import warn

import numpy as np

from tacit.closing import close_after
from tacit.data.episode import EpisodeError
from tacit.data.recording.door import Door
from tacit.data.recording.journal import Recovered, record_type, recover, recover_into
from tacit.data.recording.ring import End, Ring
from tacit.data.recording.scribe import Scribe
from tacit.data.shard import TIME
from tacit.data.writer import EpisodeWriter
from tacit.signals import Schema, SchemaError

__all__ = ["Recorder", "RecordingWarning", "Recovered", "recover"]

RING_BYTES = 64 * 2**20
EPISODE_BYTES = 256 * 2**20
_KEPT = 100  # warnings


class RecordingWarning(UserWarning):
    """Something that a recorder met is not in the store, or not where it was expected."""


class Recorder:
    """Records episodes of a live machine into a store, one call per control cycle.

    >>> with Recorder(schema, "data/line3") as recorder:                         # doctest: +SKIP
    ...     seen = sensors()
    ...     recorder.begin(seen)
    ...     while running():
    ...         move = controller(seen)
    ...         drive(move)
    ...         seen = sensors()                          # one period later
    ...         recorder.step(action={"move": move}, then=seen)
    ...     recorder.end()

    A step is said when it is over: the action that was in force, and what was seen then. So no call can pair an action with the wrong
    moment. Give the action that the machine really carried out, if it tells.

    **Never in the way.** `begin` and `step` copy the sample into memory and return; threads write it. They raise `EpisodeError` for a
    sample that cannot be kept, and nothing else: a full or broken disk is seen in their result, in `fault` and `dropped`, and is raised
    by `end` and `close`, which do wait for the disk.

    **No holes.** When the disk does not keep up and the memory is full, the episode ends at the last moment that was kept, and a new one
    begins once half of the memory is free. The same happens after a refused step that is not given again, corrected, within half a
    control period. What is left out is counted in `dropped`, and `warnings` says why.

    **Crashes.** Moments go to a journal in the store's folder at least every 0.2 s while the disk keeps up, so a killed process loses
    that much of the open episode. The next `Recorder` on the store, or `recover`, closes what it left. An episode whose `end` has
    returned outlives a power failure too; the open journal is synced about every half second, as episodes are.

    Closed episodes can be read with `EpisodeStore` at any time. One thread calls the recorder.

    Args:
        schema: Signals of the machine; those of an existing store must be the same, labels included.
        path: Folder of the store; it is made when it does not exist or is empty, and added to otherwise.
        source: Where the episodes come from, as JSON values; for a new store, an existing one keeps its own.
        max_steps: An episode of this length is closed and goes on as a new one, whose first moment is the last of the one before. As
            many as fit into 256 MiB when left out.
        ring_bytes: Memory for moments that wait for the disk; at least eight moments are held.

    Raises:
        StoreError: The folder is in use for something else, or `source` is not JSON.
        SchemaError: The store has another schema, or a signal is called `time`.
        StoreBusy: Another recorder, or another writer, is at work on the store.
        StoreFull: There is no room to close an episode that a killed recorder left.
    """

    def __init__(
        self,
        schema: Schema,
        path: str | Path,
        *,
        source: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps {max_steps} must be at least 1")
        self.dropped = 0
        self._warnings: deque[str] = deque(maxlen=_KEPT)
        self._writer = _store(schema, Path(path), source)
        try:
            self.recovered = recover_into(self._writer)
            for found in self.recovered:
                warn(f"{self._writer.path}: {found}", RecordingWarning, stacklevel=2)
            self._ring = Ring(schema, ring_bytes)
            self._scribe = Scribe(self._ring, self._writer)
        except BaseException:
            self._writer.close()
            raise
        self._door = Door(schema, self._ring.columns)
        self._times = self._ring.columns[TIME]
        self._max_steps = max_steps or max(1, EPISODE_BYTES // record_type(schema).itemsize)
        self._period = schema.period
        self._epoch = clock.time() - clock.monotonic()
        self._is_open = False  # between begin and end, as the caller sees it
        self._is_cut = False  # nothing is recorded until there is room again
        self._is_closed = False
        self._has_own_time = False
        self._last = 0.0
        self._steps = 0  # of the piece of the episode that is being recorded
        self._kept = 0  # since begin
        self._refused: float | None = None  # when a step was refused, on the monotonic clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        close_after(error, self.close, "recorder")

    def __len__(self) -> int:
        """Number of closed episodes in the store."""
        return len(self._writer)

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self._writer.path

    @property
    def fault(self) -> Exception | None:
        """What has ended the recording, or None. Every later step is dropped; a new `Recorder` finds all that came before."""
        return self._scribe.fault

    @property
    def warnings(self) -> tuple[str, ...]:
        """The last hundred things that went wrong without ending the recording; `close` issues each as a `RecordingWarning`."""
        return tuple(self._warnings)

    def begin(self, seen: Mapping[str, Any], *, time: float | None = None) -> bool:
        """Begin an episode with its first moment. An episode that is open ends with its last moment and is closed meanwhile.

        Args:
            seen: One sample of every signal but the actions, in physical units: arrays of the signal's shape and dtype, or plain
                numbers and lists.
            time: Seconds at which it was seen, on any clock that is kept to for the whole episode. When left out, now: seconds since
                1970 on a clock that was set when the recorder was made and is never set back.

        Returns:
            False when it is not recorded, because the memory is full or there is a `fault`.

        Raises:
            EpisodeError: A sample does not fit its signal, with the remedy; all is as it was.
        """
        if self._is_closed:
            raise EpisodeError("the recorder is closed: make a new one, it goes on in the same store")
        now = self._seconds(time)
        slot = self._ring.scratch
        self._door.take_seen(seen, slot)
        if self._is_open:
            self._finish()
        self._is_open, self._refused, self._kept = True, None, 0
        self._has_own_time, self._last = time is None, now
        self._is_cut = True
        if self.fault is not None:
            return False
        if self._ring.room < 1:
            self._warnings.append(f"{_at(now)}: the disk does not keep up, so the episode begins later")
            return False
        self._start(slot)
        return True

    def step(self, *, action: Mapping[str, Any], then: Mapping[str, Any], time: float | None = None) -> bool:
        """Record one control period, when it is over.

        Args:
            action: One sample of every action signal: what was in force since the moment before.
            then: One sample of every other signal: what is seen now, after it.
            time: Seconds at which `then` was seen, on the clock of `begin`.

        Returns:
            False when the step is not recorded: see `warnings` and `fault`.

        Raises:
            EpisodeError: No episode is open, a sample does not fit its signal, or the time is not after that of the moment before.
                The episode is as it was, and the step can be given again.
        """
        if not self._is_open:
            raise EpisodeError("no episode is open: call begin() with what is seen before the first action")
        slot = self._ring.scratch
        try:
            now = self._later(time)
            self._door.take_action(action, slot)
            self._door.take_seen(then, slot)
        except EpisodeError:
            if self._refused is None:
                self._refused = clock.monotonic()
            raise
        gap, self._last = now - self._last, now
        if self._refused is not None:
            late = max(clock.monotonic() - self._refused, gap - self._period)  # of times that are given, only the gap tells
            if late > self._period / 2 and not self._is_cut:
                self._cut("a step was refused and not given again in time")
            self._refused = None
        if self._scribe.fault is not None:
            return self._drop()
        if self._is_cut:
            if 2 * self._ring.room >= self._ring.capacity:
                self._start(slot)
            return self._drop()
        if self._ring.room < 1:
            self._cut("the disk did not keep up")
            return self._drop()
        self._times[slot] = now
        self._ring.commit()
        self._steps += 1
        self._kept += 1
        if self._steps == self._max_steps:
            self._roll()
        return True

    def end(self) -> None:
        """End the episode, and wait until it is closed and safe in the store. An episode without a step is left out.

        Raises:
            EpisodeError: No episode is open.
            StoreFull, OSError: The recording has failed (`fault`). What came before is safe, if not in the store then in a journal.
        """
        if not self._is_open:
            raise EpisodeError("no episode is open: begin() opens one")
        end = self._finish()
        self._scribe.wake()
        while self.fault is None and not end.closed.wait(0.05):
            pass
        if self.fault is not None:
            raise self.fault

    def close(self) -> None:
        """End the open episode, wait until everything is safe, and let other writers in; a second call does nothing.

        Raises:
            StoreFull, OSError: The recording has failed (`fault`). What came before is safe, if not in the store then in a journal.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_open:
            self._finish()
        self._scribe.close()
        self._writer.close()
        if self.dropped:
            self._warnings.append(f"steps that were not recorded: {self.dropped}")
        try:
            for text in self._warnings:
                warn(f"{self.path}: {text}", RecordingWarning, stacklevel=2)
        finally:  # also where warnings are errors
            if self.fault is not None:
                raise self.fault

    def _seconds(self, time: float | None) -> float:
        if time is None:
            return self._epoch + clock.monotonic()
        if not isinstance(time, int | float | np.number) or not math.isfinite(time):
            raise EpisodeError(f"time is {time!r}; give a finite number of seconds, or leave it out to have it taken now")
        return float(time)

    def _later(self, time: float | None) -> float:
        if (time is None) is not self._has_own_time:
            habit = "without a time" if self._has_own_time else "with a time"
            raise EpisodeError(f"the episode was begun {habit}, and goes on so: two clocks in one episode say nothing about its steps")
        now = self._seconds(time)
        if now <= self._last:
            raise EpisodeError(
                f"time {now} s is not after the moment before, at {self._last} s; leave a doubled sample out, and end() the episode "
                "where its clock was set back"
            )
        return now

    def _start(self, slot: int) -> None:
        """Commit the moment in the scratch slot as the first of a piece."""
        self._times[slot] = self._last
        self._ring.commit()
        self._steps, self._is_cut = 0, False

    def _roll(self) -> None:
        """Go on in a new episode that shares the last moment."""
        if self._ring.room < 1:
            self._cut("the disk did not keep up")
            return
        self._ring.end()
        self._ring.repeat()
        self._steps = 0

    def _cut(self, why: str) -> None:
        self._warnings.append(f"{_at(self._last)}: {why}; the episode was cut here and goes on as a new one")
        self._ring.end()
        self._is_cut = True

    def _drop(self) -> bool:
        self.dropped += 1
        return False

    def _finish(self) -> End:
        """End the episode as the caller sees it."""
        if not self._kept:
            self._warnings.append(f"{_at(self._last)}: the episode had no recorded step and was left out")
        end = self._ring.end()
        self._is_open = False
        return end


def _at(seconds: float) -> str:
    return f"{seconds:.3f} s"


def _store(schema: Schema, path: Path, source: Mapping[str, Any] | None) -> EpisodeWriter:
    """The store in `path`, made when there is none, open for writing."""
    if not (path / "store.json").exists():
        return EpisodeWriter.create(path, schema, source=source)
    writer = EpisodeWriter.append(path)
    try:
        writer.schema.require_same(schema, f"the schema to record into {path}")
        if writer.schema != schema:
            raise SchemaError(f"the schema to record into {path} has other labels than the store: give those of EpisodeStore(...).schema")
    except SchemaError:
        writer.close()
        raise
    return writer
