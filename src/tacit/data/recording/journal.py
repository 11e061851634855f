"""The journal of an episode that is being recorded: every moment so far, on disk before the episode is closed.

    open-episode.journal       the episode in progress
    ended-NNNNNN.journal       an episode that has ended and is not in the store yet
    unreadable-NNNNNN.journal  what was found in place of a journal and is not one; it is kept, and nothing reads it

A journal is a head (format, digest of the schema, number that the episode will have in the store, bytes of a record, CRC-32) and then
blocks, each with a mark, its length and a CRC-32. A block holds whole records, one per moment: the time, what was seen, and the action
that was in force until then (of the first moment it means nothing). What a killed process leaves is whole blocks and a torn one.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tacit.atomic import sync_folder
from tacit.data.description import StoreError
from tacit.data.episode import Episode
from tacit.data.shard import TIME, write_all
from tacit.data.store import DamagedEpisode, EpisodeStore
from tacit.data.writer import EpisodeWriter
from tacit.signals import Role, Schema

OPEN = "open-episode.journal"
BLOCK_BYTES = 1 << 20  # largest block, unless one record is larger
_MAGIC = b"TACITJ1\n"
_HEAD = struct.Struct("<8s32sQII")
_BLOCK = struct.Struct("<4sII")
_MARK = b"STEP"
_BREATH = 16  # blocks between two pauses of a reader: some tens of microseconds of Python


class NotAJournal(StoreError):
    """A file is not a journal of this store: its head is damaged, or it was written for another schema."""


def record_type(schema: Schema) -> np.dtype[np.void]:
    """The bytes of one moment: its time in seconds, then every signal in storage order, each at a multiple of eight bytes."""
    formats: list[object] = [np.float64, *((np.dtype(s.dtype), s.shape) for s in schema.signals)]
    ends = list(accumulate((-(-s.nbytes // 8) * 8 for s in schema.signals), initial=8))
    layout = {"names": [TIME, *schema.by_name], "formats": formats, "offsets": [0, *ends[:-1]], "itemsize": ends[-1]}
    return np.dtype(layout)  # type: ignore[call-overload,no-any-return]


class JournalFile:
    """A journal being written.

    Args:
        folder: The store's folder, without an `open-episode.journal`.
        schema: The store's schema.
        number: Number that the episode will have in the store.

    Raises:
        OSError: The disk failed, or is full.
    """

    def __init__(self, folder: Path, schema: Schema, number: int) -> None:
        self.number = number
        self.moments = 0
        self._record_bytes = record_type(schema).itemsize
        self._file = (folder / OPEN).open("xb", buffering=0)
        self._end = 0
        try:
            self._write(_sealed_head(schema, number, self._record_bytes))
        except BaseException:
            self.discard()
            raise

    def append(self, records: memoryview) -> None:
        """Write one block, whole or not at all.

        Args:
            records: Bytes of whole records.

        Raises:
            OSError: The disk failed, or is full; the blocks before are intact.
        """
        length = len(records).to_bytes(4, "little")
        self._write(_BLOCK.pack(_MARK, len(records), zlib.crc32(records, zlib.crc32(length))), records)
        self.moments += len(records) // self._record_bytes

    def end(self) -> Path:
        """Close the file and give it the name of an ended episode's journal, which is returned."""
        self._file.close()
        path = Path(self._file.name)
        return path.rename(path.with_name(f"ended-{self.number:06d}.journal"))

    def discard(self) -> None:
        """Close and remove the file."""
        self._file.close()
        Path(self._file.name).unlink()

    def close(self) -> None:
        """Close the file and leave it."""
        self._file.close()

    def _write(self, *parts: bytes | memoryview) -> None:
        try:
            for part in parts:
                write_all(self._file, part)
        except BaseException:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise
        self._end += sum(len(part) for part in parts)


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What is intact in a journal.

    Attributes:
        number: Number of the episode in the store.
        columns: Rows of all moments (N, *shape), by signal and for `time`.
        lost_bytes: Bytes behind the last intact block.
    """

    number: int
    columns: dict[str, npt.NDArray[np.generic]]
    lost_bytes: int

    @property
    def steps(self) -> int:
        """Number of actions; -1 when there is no moment."""
        return len(self.columns[TIME]) - 1

    def episode(self, schema: Schema) -> Episode:
        """The moments as an episode: the action that stands with a moment was in force before it."""
        signals = {s.name: self.columns[s.name][1 if s.role is Role.ACTION else 0 :] for s in schema.signals}
        return Episode(signals=signals, time=np.asarray(self.columns[TIME], np.float64))


def read_journal(path: Path, schema: Schema) -> Journal:
    """Copy the intact part of a journal out of its file.

    A control loop may be running beside: no stretch of Python here holds the interpreter for more than some tens of microseconds.

    Args:
        path: The file.
        schema: The store's schema.

    Raises:
        NotAJournal: It is no journal of a store with this schema.
    """
    kind = record_type(schema)
    size = path.stat().st_size
    if size < _HEAD.size:  # killed before the first moment was written
        return Journal(number=-1, columns={name: np.empty(0, kind[name].base) for name in kind.names or ()}, lost_bytes=size)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        number = _HEAD.unpack_from(view)[2]
        if bytes(view[: _HEAD.size]) != _sealed_head(schema, number, kind.itemsize):
            raise NotAJournal(f"{path} is not a journal of this store: its head is damaged, or it was written for another schema")
        blocks = list(_breathing(_blocks(view, kind.itemsize)))
        columns = {name: np.empty((sum(n for _, n in blocks), *kind[name].shape), kind[name].base) for name in kind.names or ()}
        row, end = 0, _HEAD.size
        for start, length in _breathing(iter(blocks)):
            records = np.frombuffer(view, kind, length, start)
            for name, column in columns.items():
                column[row : row + length] = records[name]
            row, end = row + length, start + length * kind.itemsize
            del records  # it holds the map open
    return Journal(number=number, columns=columns, lost_bytes=size - end)


def put_in_store(path: Path, writer: EpisodeWriter) -> Journal:
    """Bring what is intact in a journal into the store, safely on disk, and remove the journal.

    Args:
        path: The journal.
        writer: The open store. An episode that is in it already, because a process was killed in between, is not added again.

    Returns:
        What the journal held.

    Raises:
        NotAJournal: It is no journal of this store; it stays.
        StoreFull, OSError: The disk is full or failed; the journal stays.
    """
    journal = read_journal(path, writer.schema)
    if journal.steps > 0 and not _is_stored(journal, writer):
        writer.add(journal.episode(writer.schema))
        writer.sync()
    path.unlink()
    return journal


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What became of a journal that a killed recorder left.

    Attributes:
        journal: File name of the journal.
        steps: Steps of the episode that is now closed; 0 when none was intact.
        seconds: Time from its first moment to its last.
        lost_bytes: Bytes that were not intact and are dropped.
        kept_as: Name that an unreadable file now has, or None.
    """

    journal: str
    steps: int = 0
    seconds: float = 0.0
    lost_bytes: int = 0
    kept_as: str | None = None

    def __str__(self) -> str:
        if self.kept_as is not None:
            return f"{self.journal} is not a journal of this store (damaged, or of another schema); it is kept as {self.kept_as}"
        what = f"{self.steps} steps, {self.seconds:.3f} s, are now a closed episode" if self.steps else "it held no whole step"
        lost = f"; {self.lost_bytes} bytes behind them were torn and are dropped" if self.lost_bytes else ""
        return f"{self.journal} was left by a recorder that was killed: {what}{lost}"


def recover(path: str | Path) -> tuple[Recovered, ...]:
    """Close the episodes that a killed recorder left open in a store; a new `Recorder` does the same when it starts.

    Args:
        path: Folder of the store.

    Returns:
        One value per journal that was found, in the order of recording; `str` of it is a sentence.

    Raises:
        StoreError: The folder is not a store.
        StoreBusy: A recorder, or another writer, is at work on it.
        StoreFull: There is no room for the episode; the journal stays, so make room and try again.
    """
    with EpisodeWriter.append(path) as writer:
        return recover_into(writer)


def recover_into(writer: EpisodeWriter) -> tuple[Recovered, ...]:
    """`recover` for a store that is open already."""
    left = [*sorted(writer.path.glob("ended-*.journal")), *writer.path.glob(OPEN)]
    found = []
    for path in left:
        try:
            journal = put_in_store(path, writer)
        except NotAJournal:
            kept = next(p for n in count() if not (p := path.with_name(f"unreadable-{n:06d}.journal")).exists())
            found.append(Recovered(journal=path.name, lost_bytes=path.stat().st_size, kept_as=path.rename(kept).name))
            continue
        steps, times = max(journal.steps, 0), np.asarray(journal.columns[TIME], np.float64)
        seconds = float(times[-1] - times[0]) if steps else 0.0
        found.append(Recovered(journal=path.name, steps=steps, seconds=seconds, lost_bytes=journal.lost_bytes))
    if left:
        sync_folder(writer.path)
    return tuple(found)


def _sealed_head(schema: Schema, number: int, record_bytes: int) -> bytes:
    head = _HEAD.pack(_MAGIC, bytes.fromhex(schema.digest()), number, record_bytes, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little")


def _blocks(view: memoryview, record_bytes: int) -> Iterator[tuple[int, int]]:
    """First byte and number of records of each block, up to the first that is not intact."""
    place = _HEAD.size
    while place + _BLOCK.size <= len(view):
        mark, length, checksum = _BLOCK.unpack_from(view, place)
        start = place + _BLOCK.size
        place = start + length
        if mark != _MARK or not length or length % record_bytes or place > len(view):
            return
        if zlib.crc32(view[start:place], zlib.crc32(length.to_bytes(4, "little"))) != checksum:
            return
        yield start, length // record_bytes


def _breathing(blocks: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same, with pauses that let a control thread have the interpreter."""
    for number, block in enumerate(blocks):
        if number % _BREATH == _BREATH - 1:
            time.sleep(5e-5)
        yield block


def _is_stored(journal: Journal, writer: EpisodeWriter) -> bool:
    if journal.number >= len(writer):
        return False
    try:
        stored = EpisodeStore(writer.path)[journal.number]
    except DamagedEpisode:
        return False
    ours = journal.episode(writer.schema)
    same = np.array_equal(stored.time, ours.time)
    return same and all(np.array_equal(stored.signals[name], values) for name, values in ours.signals.items())
