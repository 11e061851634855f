"""Files of a robot's recorder (MCAP): which of them make a take, and their messages in order, up to a break if there is one."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from tacit.data.formats.names import natural_order
from tacit.data.streams import BadTake, SourceError
from tacit.extras import extra

if TYPE_CHECKING:
    from mcap.records import Channel, McapRecord, Message, Schema
    from mcap.summary import Summary

    Logged: TypeAlias = tuple[Schema | None, Channel, Message]

MAGIC = b"\x89MCAP0\r\n"
FIRST = 10  # messages of a topic that are looked at to tell what it holds
SCAN = 20_000  # messages that are looked through for them where a file has no index
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6
_END_OF_DATA = (2, 15)  # footer, data end


def require_library() -> None:
    """Import the libraries, or say how to get them.

    Raises:
        MissingExtra: The libraries are missing; the message names the extra.
    """
    with extra("formats", "reading MCAP files"):
        import mcap_ros2.decoder  # noqa: F401


@dataclass(frozen=True, kw_only=True)
class Bag:
    """One take.

    Attributes:
        name: As `Description.takes` has it.
        files: Files of one recording, in the order of time.
        lacking: Files that the recording lists and that are not there.
    """

    name: str
    files: tuple[Path, ...]
    lacking: tuple[str, ...] = ()


def is_mcap(path: Path) -> bool:
    """Does a file begin as MCAP does?"""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def candidates(path: Path) -> list[Path]:
    """Files with the ending .mcap in a folder and its direct subfolders, in the order of their numbers; or the file itself."""
    if not path.is_dir():
        return [path]
    found = [f for pattern in ("*.mcap", "*/*.mcap") for f in path.glob(pattern) if f.is_file()]
    return sorted(found, key=lambda f: natural_order(f.relative_to(path).as_posix()))


def bags(path: Path) -> tuple[Bag, ...]:
    """The takes of a source: the files beside a `metadata.yaml` are one take; elsewhere each file is one.

    Raises:
        SourceError: There is no MCAP file.
    """
    files = candidates(path)
    if not files or (not path.is_dir() and not is_mcap(path)):
        raise SourceError(f"{path}: {'has no .mcap file' if path.is_dir() else 'is not an MCAP file'}; is another format meant?")
    found: dict[Path, Bag] = {}
    for file in files:
        folder = file.parent
        if path.is_dir() and (folder / "metadata.yaml").is_file():
            name = path.resolve().name if folder == path else folder.relative_to(path).as_posix()
            if folder not in found:
                found[folder] = _recording(name, folder, [f for f in files if f.parent == folder])
        else:
            found[file] = Bag(name=file.relative_to(path).as_posix() if path.is_dir() else file.name, files=(file,))
    return tuple(found.values())


def _recording(name: str, folder: Path, files: list[Path]) -> Bag:
    text = (folder / "metadata.yaml").read_text(encoding="utf-8", errors="replace")
    listed = list(dict.fromkeys(Path(n).name for n in re.findall(r"^\s*-\s*[\"']?([^\s\"']+\.mcap[.\w]*)[\"']?\s*$", text, re.MULTILINE)))
    by_name = {f.name: f for f in files}
    ordered = [by_name[n] for n in listed if n in by_name]
    return Bag(
        name=name,
        files=(*ordered, *(f for f in files if f not in ordered)),
        lacking=tuple(n for n in listed if n not in by_name),
    )


def summary_of(file: Path) -> Summary | None:
    """The summary at the end of a file, or None when it has none or is damaged."""
    from mcap.exceptions import McapError
    from mcap.reader import make_reader

    if not _is_complete(file):
        return None
    try:
        with file.open("rb") as stream:
            return make_reader(stream).get_summary()
    except (McapError, ValueError, KeyError, OSError, StopIteration, struct.error):
        return None


def messages(file: Path, wanted: Callable[[str], bool], keep: bool) -> Iterator[Logged]:
    """Messages of some topics in the order of log time; in that of the file where it has no index.

    Args:
        file: MCAP file.
        wanted: True for the topics to read.
        keep: Of a broken file, read what is before the break.

    Raises:
        BadTake: The file is broken, and `keep` does not hold; names the byte, the last time and the remedy.
    """
    if not keep and not _is_complete(file):
        raise _broken(file)
    summary = _index_of(file)
    last = None
    try:
        for logged in _indexed(file, wanted, summary) if summary is not None else _streamed(file):
            if wanted(logged[1].topic):
                last = logged[2].log_time
                yield logged
    except Exception as error:  # a damaged chunk may raise whatever its decompressor or a record's parser has
        if keep:
            return
        read = "none of its messages could be read" if last is None else f"the last message before it was logged at {last / 1e9:.6f} s"
        raise BadTake(f"{file}: damaged: {error or type(error).__name__}; {read}. {_REMEDY}") from error


def first_messages(file: Path, wanted: Callable[[str], bool]) -> dict[str, list[Logged]]:
    """The first messages of each topic, as far as a broken file has them."""
    summary = _index_of(file)
    if summary is not None:
        topics = sorted({c.topic for c in summary.channels.values() if wanted(c.topic)})
        found = {t: list(islice(messages(file, t.__eq__, keep=True), FIRST)) for t in topics}
        return {topic: first for topic, first in found.items() if first}
    scanned: dict[str, list[Logged]] = defaultdict(list)
    for logged in islice(messages(file, wanted, keep=True), SCAN):
        if len(scanned[logged[1].topic]) < FIRST:
            scanned[logged[1].topic].append(logged)
    return dict(scanned)


_REMEDY = 'Set truncated = "keep" under [options] to use what is before the break, or mend the file with `mcap recover`'


def _is_complete(file: Path) -> bool:
    with file.open("rb") as stream:
        if stream.seek(0, 2) < 2 * len(MAGIC):
            return False
        stream.seek(-len(MAGIC), 2)
        return stream.read() == MAGIC


def _broken(file: Path) -> BadTake:
    size, end, last = file.stat().st_size, len(MAGIC), None
    with file.open("rb") as stream:
        for opcode, offset, length in _records(stream):
            end = offset + 9 + length
            if opcode in (_CHUNK, _MESSAGE) and length >= 22:
                fields = stream.read(16)
                last = struct.unpack("<QQ", fields)[1] if opcode == _CHUNK else struct.unpack_from("<Q", fields, 6)[0]
    until = "it holds no whole message" if last is None else f"the last whole one was logged at {last / 1e9:.6f} s"
    return BadTake(f"{file}: breaks off at byte {end} of {size}, as when a recorder is killed; {until}. {_REMEDY}")


def _records(stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Opcode, first byte and length of each whole record up to the end of the data; the stream stands at its contents."""
    size = _written(stream)
    offset = len(MAGIC)
    while offset + 9 <= size:
        stream.seek(offset)
        opcode, length = struct.unpack("<BQ", stream.read(9))
        if offset + 9 + length > size:
            return
        yield opcode, offset, length
        if opcode in _END_OF_DATA:
            return
        offset += 9 + length


def _written(stream: BinaryIO) -> int:
    """Bytes up to the last one that is not zero: a file system may leave zeros at the end after a power failure."""
    end = stream.seek(0, 2)
    while end:
        begin = max(0, end - (1 << 20))
        stream.seek(begin)
        if block := stream.read(end - begin).rstrip(b"\0"):
            return begin + len(block)
        end = begin
    return 0


def _index_of(file: Path) -> Summary | None:
    """The summary of a file, if messages can be found through it: some writers leave out parts of it."""
    summary = summary_of(file)
    if summary is None or not summary.chunk_indexes:
        return None
    counted = summary.statistics.channel_message_counts if summary.statistics is not None else {}
    declared = all(c.schema_id in summary.schemas or not c.schema_id for c in summary.channels.values())
    return summary if declared and summary.channels and set(counted) <= set(summary.channels) else None


def _indexed(file: Path, wanted: Callable[[str], bool], summary: Summary) -> Iterator[Logged]:
    from mcap.reader import make_reader

    topics = sorted({c.topic for c in summary.channels.values() if wanted(c.topic)})
    with file.open("rb") as stream:
        yield from make_reader(stream, validate_crcs=True).iter_messages(topics)


def _streamed(file: Path) -> Iterator[Logged]:
    from mcap.exceptions import McapError
    from mcap.records import Channel, Message, Schema

    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with file.open("rb") as stream:
        for opcode, _, length in _records(stream):
            if opcode not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                continue
            for record in _parsed(opcode, stream.read(length)):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    if record.channel_id not in channels:
                        raise McapError(f"a message is of channel {record.channel_id}, which is not declared")
                    channel = channels[record.channel_id]
                    yield schemas.get(channel.schema_id), channel, record


def _parsed(opcode: int, data: bytes) -> list[McapRecord]:
    from mcap.data_stream import ReadDataStream
    from mcap.records import Channel, Chunk, Message, Schema
    from mcap.stream_reader import breakup_chunk

    stream = ReadDataStream(BytesIO(data))
    if opcode == _CHUNK:
        return breakup_chunk(Chunk.read(stream), validate_crc=True)
    if opcode == _MESSAGE:
        return [Message.read(stream, len(data))]
    return [Schema.read(stream) if opcode == _SCHEMA else Channel.read(stream)]
