"""The index of a store: one line of JSON per closed episode, each with its own checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_START = b'{"episode":'
_SEAL = b',"crc":'


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One closed episode.

    Attributes:
        episode: Number of the episode in the store, from 0.
        shard: Number of the shard.
        batch: Number of the record batch in the shard.
        offset: First byte of the batch's message in the shard.
        nbytes: Bytes of the message.
        steps: T, the number of actions.
        seconds: Time from the first moment to the last.
        crc32: CRC-32 of the message's metadata, then of each column in order.
    """

    episode: int
    shard: int
    batch: int
    offset: int
    nbytes: int
    steps: int
    seconds: float
    crc32: tuple[int, ...]


def line_of(entry: Entry) -> bytes:
    """The entry as a line that ends with the CRC-32 of what stands before it."""
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    text = json.dumps(values, separators=(",", ":")).encode().removesuffix(b"}")
    return text + _SEAL + str(zlib.crc32(text)).encode() + b"}\n"


def entry_of(line: bytes) -> Entry | None:
    """Read what `line_of` wrote, or None when a byte of the line has changed."""
    text, found, checksum = line.rpartition(_SEAL)
    if not found or checksum != str(zlib.crc32(text)).encode() + b"}":
        return None
    values: dict[str, Any] = json.loads((text + b"}").decode())
    values["crc32"] = tuple(values["crc32"])
    return Entry(**values)


@dataclass(frozen=True, kw_only=True)
class Index:
    """What `episodes.jsonl` says.

    Attributes:
        entries: One per episode in order; None where the line is damaged.
        damaged_lines: Line number, from 1, by episode number of each entry that is None.
        nbytes: Bytes of whole lines; what follows is the torn end of a line that was being written.
    """

    entries: tuple[Entry | None, ...]
    damaged_lines: dict[int, int]
    nbytes: int


def read_index(contents: bytes) -> Index:
    """Read `episodes.jsonl`.

    Lines carry their episode's number, so a damaged line, even one whose newline is lost, moves no other episode.

    Args:
        contents: The whole file.
    """
    entries: list[Entry | None] = []
    damaged: dict[int, int] = {}
    nbytes = contents.rfind(b"\n") + 1
    unclaimed: list[int] = []  # damaged lines since the last good one
    for number, line in enumerate(contents[:nbytes].split(b"\n")[:-1], start=1):
        entry = entry_of(line) or entry_of(line[line.rfind(_START) :])  # a lost newline takes one line with it, not two
        if entry is None or entry.episode < len(entries):
            unclaimed.append(number)
            continue
        for missing in range(len(entries), entry.episode):
            damaged[missing] = unclaimed.pop(0) if unclaimed else number
            entries.append(None)
        unclaimed.clear()
        entries.append(entry)
    for number in unclaimed:
        damaged[len(entries)] = number
        entries.append(None)
    return Index(entries=tuple(entries), damaged_lines=damaged, nbytes=nbytes)


def ends(entries: Iterable[Entry | None]) -> dict[int, tuple[int, int]]:
    """Per shard: the first byte after its last episode, and its number of batches, as far as the index says."""
    found: dict[int, tuple[int, int]] = {}
    for entry in entries:
        if entry is not None:
            end, batches = found.get(entry.shard, (0, 0))
            found[entry.shard] = (max(end, entry.offset + entry.nbytes), max(batches, entry.batch + 1))
    return found
