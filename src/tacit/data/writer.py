"""Writing a store: whole episodes go in, and what is in stays in.

Order on disk: the bytes of an episode, then its line in the index, so the index never names bytes that were not written. A killed
process loses the episode it was adding and nothing else, because the operating system keeps what was written. Against a power
failure both files are synced together, the shard first, at most every half second of adding (a sync per small episode would cost
more than the episode); what was added after the last sync may then be lost or be reported as damage.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from tacit.atomic import atomic_write, sync_folder
from tacit.data import shard as shards
from tacit.data.description import StoreError, description, index_bytes, read_description, shard_files, shard_name
from tacit.data.episode import Episode, require_fitting
from tacit.data.index import Entry, ends, line_of, read_index
from tacit.signals import Schema, SchemaError

SHARD_BYTES = 256 * 2**20
SYNC_SECONDS = 0.5


class StoreBusy(StoreError):
    """Another writer is at work on the store."""


class StoreFull(StoreError):
    """An episode did not fit on the disk; it was rolled back and the store is as it was before."""


class EpisodeWriter:
    """Appends episodes to a store; made by `create` or `append`, used as a context manager.

    >>> with EpisodeWriter.create("two-rooms", schema, source={"world": "two-rooms", "seed": 0}) as writer:   # doctest: +SKIP
    ...     writer.add(episode)

    An exception inside the `with` block leaves every episode that was added. One writer at a time works on a store.

    Args:
        path: Folder of an existing store.
        shard_bytes: A shard that has reached this size is sealed and the next one begun.

    Raises:
        StoreError: The folder is not a store.
        StoreBusy: Another writer is at work on it.
    """

    def __init__(self, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.path = Path(path)
        self.schema, self.source = read_description(self.path)
        self._shard_bytes = shard_bytes
        self._columns = shards.arrow_schema(self.schema)
        self._lock = _locked(self.path)
        try:
            self._episodes, self._index_end = self._repair()
            self._index = (self.path / "episodes.jsonl").open("r+b", buffering=0)
        except BaseException:
            self._lock.close()
            raise
        self._shard: BinaryIO | None = None
        self._shard_number = 1 + max(shard_files(self.path), default=-1)
        self._shard_end = 0
        self._batches = 0
        self._synced = time.monotonic()

    @classmethod
    def create(cls, path: str | Path, schema: Schema, *, source: Mapping[str, Any] | None = None, shard_bytes: int = SHARD_BYTES) -> Self:
        """Make a new, empty store and open it for writing.

        Args:
            path: Folder to make; it must not exist, or be empty.
            schema: Signals of every episode.
            source: Where the episodes come from, as JSON values: the world and its settings, a seed, file names.
            shard_bytes: A shard that has reached this size is sealed and the next one begun.

        Raises:
            StoreError: The folder is in use, or `source` is not JSON.
            SchemaError: A signal has the name of the time column.
        """
        path = Path(path)
        if shards.TIME in schema.by_name:
            raise SchemaError(f"signal {shards.TIME!r}: the store keeps timestamps under this name; call the signal something else")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path} already exists; add to a store with EpisodeWriter.append, or choose a new folder")
        try:
            text = description(schema, source or {})
        except (TypeError, ValueError) as error:
            raise StoreError(f"source must hold JSON values only, to be readable anywhere: {error}") from error
        path.mkdir(parents=True, exist_ok=True)
        atomic_write(path / "episodes.jsonl", b"")
        atomic_write(path / "store.json", text)
        return cls(path, shard_bytes=shard_bytes)

    @classmethod
    def append(cls, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> Self:
        """Open an existing store for writing, first repairing what a killed writer left; new episodes go to a new shard.

        Args:
            path: Folder of the store.
            shard_bytes: A shard that has reached this size is sealed and the next one begun.

        Raises:
            StoreError: The folder is not a store.
            StoreBusy: Another writer is at work on it.
        """
        return cls(path, shard_bytes=shard_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of episodes in the store."""
        return self._episodes

    def add(self, episode: Episode) -> int:
        """Check an episode and put it in the store.

        Args:
            episode: Signals and timestamps; the arrays are copied.

        Returns:
            The number of the episode.

        Raises:
            EpisodeError: The episode does not fit the schema; the store is as it was.
            StoreFull: The disk is full; the store is as it was, and the episode can be added again once there is room.
            OSError: The disk failed otherwise; the store is as it was.
        """
        require_fitting(episode, self.schema)
        message = shards.message(episode, self.schema, self._columns)
        shard = self._open_shard(message.size)
        entry = Entry(
            episode=self._episodes,
            shard=self._shard_number,
            batch=self._batches,
            offset=self._shard_end,
            nbytes=message.size,
            steps=episode.steps,
            seconds=float(episode.time[-1] - episode.time[0]),
            crc32=shards.checksums(message, self._columns),
        )
        line = line_of(entry)
        self._write(shard, self._shard_end, message)
        self._write(self._index, self._index_end, line)
        # One assignment: an interrupt comes before it, and then the episode was never added, or after it.
        after = (self._episodes + 1, self._batches + 1, self._shard_end + message.size, self._index_end + len(line))
        self._episodes, self._batches, self._shard_end, self._index_end = after
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()
        if self._shard_end >= self._shard_bytes:
            self._seal()
        return entry.episode

    def sync(self) -> None:
        """Bring everything added so far to disk, safe from a power failure."""
        if self._shard is not None:
            os.fsync(self._shard.fileno())
        os.fsync(self._index.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Seal the last shard and let other writers in; a second call does nothing."""
        if self._lock.closed:
            return
        try:
            self._index.truncate(self._index_end)
            self._seal()
            self.sync()
        finally:
            self._index.close()
            self._lock.close()

    def _open_shard(self, needed: int) -> BinaryIO:
        if self._shard is None:
            path = self.path / shard_name(self._shard_number)
            start = shards.header(self.schema)
            file = path.open("x+b", buffering=0)
            try:
                self._write(file, 0, start, needed=len(start) + needed)
                sync_folder(self.path)
            except BaseException:
                file.close()
                path.unlink()
                raise
            self._shard, self._batches, self._shard_end = file, 0, len(start)
        return self._shard

    def _write(self, file: BinaryIO, start: int, data: Any, needed: int | None = None) -> None:
        """Write all of `data` from byte `start` on, or none of it; whatever stood there was never closed."""
        try:
            file.truncate(start)
            file.seek(start)
            shards.write_all(file, data)
        except BaseException as error:
            file.truncate(start)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise StoreFull(
                    f"{self.path} is out of room ({error.strerror}): episode {self._episodes} needs {needed or len(data):,} bytes, "
                    f"{shutil.disk_usage(self.path).free:,} are free. The {self._episodes} episodes before it are safe; "
                    "make room and add it again"
                ) from error
            raise

    def _seal(self) -> None:
        if self._shard is None:
            return
        file, self._shard = self._shard, None
        self._shard_number += 1
        with file:
            os.fsync(file.fileno())
            try:
                shards.seal(file, self._shard_end, self._columns)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                # No room for the footer, and nothing lost: the shard reads without it, and the next writer seals it.

    def _repair(self) -> tuple[int, int]:
        """Finish what a killed writer left; bytes that the index names are never touched.

        Returns:
            Number of episodes, and bytes of the index.
        """
        index = read_index(index_bytes(self.path))
        if not index.damaged_lines:  # a damaged line may name bytes that look like nobody's
            named = ends(index.entries)
            for number, path in shard_files(self.path).items():
                end, batches = named.get(number, (0, 0))
                if path.stat().st_size < end or shards.is_sealed(path, batches):
                    continue
                if not batches:
                    path.unlink()  # begun, but none of its episodes was ever closed
                    continue
                with path.open("r+b", buffering=0) as file:
                    shards.seal(file, end, self._columns)
        return len(index.entries), index.nbytes


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _locked(path: Path) -> BinaryIO:
    """The lock of the store, held until the file is closed or its process ends."""
    file = (path / "writer.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreBusy(f"another writer is at work on {path}; close it, or wait until it has ended") from error
    return file
