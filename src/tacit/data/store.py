"""The episode store: an append-only folder of episodes, read by memory map without copying or decoding.

    store.json       format name and version, the schema, where the episodes came from, and a CRC-32 of it all
    episodes.jsonl   one line per closed episode: where it lies, its length, checksums; each line has its own checksum
    NNNNN.arrow      shards: uncompressed Arrow IPC files, one record batch per episode (layout in `tacit.data.shard`)
    writer.lock      locked while a writer is at work

Time is that of the whole house: an episode of T actions has T+1 moments, so a batch has T+1 rows and the last row of each action
column is null. Observations, disturbances and labels have a sample at every moment.

Any Arrow reader opens a sealed shard (`pyarrow.ipc.open_file`). This reader asks the index where each message lies, so it opens a
store of 100,000 episodes without touching a shard, and reads a shard that a killed writer never sealed. An episode whose bytes
are gone or whose index line is damaged is reported as damage; all others stay readable under their own numbers.
"""

from __future__ import annotations

import copy
import mmap
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tacit.data import shard as shards
from tacit.data.description import StoreError, index_bytes, read_description, shard_files, shard_name
from tacit.data.episode import Array, Episode
from tacit.data.index import Entry, ends, read_index
from tacit.signals import Schema, SchemaError


class DamagedEpisode(StoreError):
    """The bytes of one episode are missing or changed; the rest of the store is readable."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something on disk that is not what was written.

    Attributes:
        episode: Number of the episode that is hit, or None when every episode of the shard is still intact.
        shard: File name of the shard, or `episodes.jsonl`.
        reason: What is wrong and what it means.
    """

    episode: int | None
    shard: str
    reason: str


class EpisodeStore:
    """A store, open for reading: the episodes that were closed when it was opened.

    Episodes are numbered from 0 in the order they were added; the number of an episode never changes. Arrays are read-only views of
    the memory map. A store may be read from several threads and from forked processes. Each shard stays mapped, with one file
    handle, once it has been read.

    >>> store = EpisodeStore("runs/data/two-rooms")           # doctest: +SKIP
    >>> store[0].signals["camera"].shape                      # doctest: +SKIP
    (91, 64, 64, 3)

    Args:
        path: The store's folder.

    Raises:
        StoreError: The folder is not a store, its `store.json` or index is missing or damaged, or a newer version wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.schema, self.source = read_description(self.path)
        index = read_index(index_bytes(self.path))
        self._entries = index.entries
        self._columns = shards.arrow_schema(self.schema)
        self._maps: dict[int, Array] = {}
        self._unreadable = {
            episode: Damage(
                episode=episode,
                shard="episodes.jsonl",
                reason=f"line {line} of the index is damaged, so nothing says where the episode lies",
            )
            for episode, line in index.damaged_lines.items()
        }
        self._unreadable.update(self._cut_off())
        self._damage = dict(self._unreadable)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """T of each episode, int64 (episodes,); 0 where the index line is damaged."""
        return np.array([0 if entry is None else entry.steps for entry in self._entries], np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of all episodes on disk."""
        return sum(entry.nbytes for entry in self._entries if entry is not None)

    @property
    def seconds(self) -> float:
        """Recorded time of all episodes."""
        return sum(entry.seconds for entry in self._entries if entry is not None)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Hit episodes found so far: when the store was opened and by `verify`."""
        return tuple(self._damage[episode] for episode in sorted(self._damage))

    def healthy(self) -> npt.NDArray[np.int64]:
        """Numbers of the episodes without known damage, ascending int64."""
        return np.array([i for i in range(len(self)) if i not in self._damage], np.int64)

    def require_healthy(self, episodes: npt.ArrayLike) -> None:
        """Refuse episodes that do not exist or are known to be damaged.

        Args:
            episodes: Numbers of episodes.

        Raises:
            IndexError: There is no such episode.
            DamagedEpisode: One of them is damaged.
        """
        for number in np.asarray(episodes, np.int64).reshape(-1).tolist():
            if not 0 <= number < len(self):
                raise IndexError(f"episode {number} of {len(self)} in {self.path}")
            if number in self._damage:
                raise self._damaged(self._damage[number])

    def __getitem__(self, episode: int) -> Episode:
        """Episode by number, as views of the memory map.

        Raises:
            IndexError: There is no such episode.
            DamagedEpisode: Its bytes are missing or its metadata has changed.
        """
        number = operator.index(episode)
        if not -len(self) <= number < len(self):
            raise IndexError(f"episode {number} of {len(self)} in {self.path}")
        number %= len(self)
        if number in self._damage:
            raise self._damaged(self._damage[number])
        entry = self._entry(number)
        try:
            places = self._places(entry)
        except shards.UNREADABLE as error:
            raise self._damaged(Damage(episode=number, shard=shard_name(entry.shard), reason=str(error))) from error
        mapped = self._map(entry.shard)
        signals = {
            signal.name: shards.samples(mapped, entry.offset, places[signal.name], signal, entry.steps) for signal in self.schema.signals
        }
        start = entry.offset + places[shards.TIME].data
        time = mapped[start : start + 8 * (entry.steps + 1)].view(np.float64)
        return Episode(signals=MappingProxyType(signals), time=time)

    def __iter__(self) -> Iterator[Episode]:
        return (self[i] for i in range(len(self)))

    def view(self, names: Iterable[str]) -> Self:
        """The same store with fewer signals: it never returns, reads or verifies any other column.

        Args:
            names: Signals to keep; their order stays that of the schema.

        Raises:
            SchemaError: The store has no such signal.
        """
        kept = set(names)
        if unknown := sorted(kept - set(self.schema.by_name)):
            raise SchemaError(f"{self.path} has no signal {unknown[0]!r}; it has {', '.join(self.schema.by_name)}")
        view = copy.copy(self)
        view.schema = Schema(signals=tuple(s for s in self.schema.signals if s.name in kept), period=self.schema.period)
        view._damage = dict(self._unreadable)
        for number in set(self._damage) - set(self._unreadable):
            view._check(number)  # what hit only a column left out does not hit the view
        return view

    def without_labels(self) -> Self:
        """The view that a model may know: every signal but the labels."""
        return self.view(self.schema.without_labels().by_name)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> tuple[Damage, ...]:
        """Compare every checksum of this store's signals with the bytes on disk.

        Episodes found damaged are left out of `healthy` from now on.

        Args:
            progress: Called with the number of episodes done and the number of all.

        Returns:
            All damage, that found when the store was opened included; empty when every byte is as it was written.
        """
        for number in range(len(self)):
            if number not in self._damage:
                self._check(number)
            if progress is not None:
                progress(number + 1, len(self))
        return (*self.damage, *self._closed_to_others())

    def _entry(self, number: int) -> Entry:
        entry = self._entries[number]
        assert entry is not None, "an episode without an entry is in the damage"
        return entry

    def _damaged(self, damage: Damage) -> DamagedEpisode:
        return DamagedEpisode(
            f"episode {damage.episode} in {self.path / damage.shard} is damaged: {damage.reason}. "
            "Skip it (EpisodeStore.healthy() lists the others), or restore the file from a copy"
        )

    def _cut_off(self) -> dict[int, Damage]:
        """Episodes that lie beyond the end of their shard."""
        sizes = {number: file.stat().st_size for number, file in shard_files(self.path).items()}
        found = {}
        for number, entry in enumerate(self._entries):
            if entry is not None and (end := entry.offset + entry.nbytes) > sizes.get(entry.shard, 0):
                state = f"the file ends at byte {sizes[entry.shard]}" if entry.shard in sizes else "the file is missing"
                reason = f"it lies in bytes {entry.offset} to {end}, and {state}"
                found[number] = Damage(episode=number, shard=shard_name(entry.shard), reason=reason)
        return found

    def _map(self, number: int) -> Array:
        """A whole shard, uint8 (bytes,), mapped once."""
        mapped = self._maps.get(number)
        if mapped is None:
            with (self.path / shard_name(number)).open("rb") as file:
                mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
            mapped = self._maps.setdefault(number, mapped)
        return mapped

    def _message(self, entry: Entry) -> Any:
        return pa.py_buffer(self._map(entry.shard)).slice(entry.offset, entry.nbytes)

    def _places(self, entry: Entry) -> dict[str, shards.Column]:
        """Columns of one episode; the metadata is checked first, since Arrow should parse no foreign bytes."""
        message = self._message(entry)
        size = shards.metadata_size(message)
        if zlib.crc32(memoryview(message)[:size]) != entry.crc32[0]:
            raise ValueError("the metadata in front of it has changed")
        return shards.columns(message, self._columns)

    def _check(self, number: int) -> None:
        entry = self._entry(number)
        if reason := self._changed(entry):
            self._damage[number] = Damage(episode=number, shard=shard_name(entry.shard), reason=reason)

    def _changed(self, entry: Entry) -> str | None:
        """What is wrong with one episode, or None."""
        try:
            places = self._places(entry)
        except shards.UNREADABLE as error:
            return str(error)
        data = memoryview(self._message(entry))
        sums = dict(zip(places, entry.crc32[1:], strict=True))
        changed = [
            name for name in (shards.TIME, *self.schema.by_name) if zlib.crc32(data[places[name].start : places[name].stop]) != sums[name]
        ]
        return f"the bytes of {', '.join(changed)} have changed" if changed else None

    def _closed_to_others(self) -> list[Damage]:
        """Shards whose frame has changed around intact episodes: this reader does not need it, other Arrow readers do."""
        hit = {damage.shard for damage in self.damage}
        return [
            Damage(episode=None, shard=shard_name(number), reason=reason)
            for number, (end, batches) in ends(self._entries).items()
            if shard_name(number) not in hit
            and (reason := shards.frame_damage(self.path / shard_name(number), end, batches, self._columns))
        ]
