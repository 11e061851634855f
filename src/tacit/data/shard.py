"""The bytes of a shard: an Arrow IPC file with one record batch per episode, addressed without copying.

A shard is `magic, schema message, record batch message ..., end of stream, footer`. Messages are written one by one as they
come; the footer, which plain Arrow readers need, is added when the shard is sealed. Tacit itself never needs the footer: the
index of the store says where each message lies, so a shard that was never sealed reads the same.

Columns of a batch of T+1 rows, in this order: `time` (float64 seconds), then the signals in storage order. A scalar is a plain
column, a vector a fixed-size list, everything else (images) fixed-size binary; `bool` is stored as `uint8`. Shape, dtype, role
and unit stand in the field's metadata. The last row of an action column is null, with zeros underneath.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from tacit.data.episode import Array, Episode, rows_of
from tacit.signals import Role, Schema, Signal

MAGIC = b"ARROW1"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
TIME = "time"
UNREADABLE = (pa.ArrowException, ValueError, OSError)  # what Arrow raises on bytes that are not its own


@dataclass(frozen=True, kw_only=True)
class Column:
    """Where one column of one episode lies, in bytes from the start of its message.

    Attributes:
        start: First byte of the column, validity bits included.
        stop: First byte after it, padding included: columns tile the message's body.
        data: First byte of the first sample.
    """

    start: int
    stop: int
    data: int


def arrow_schema(schema: Schema) -> Any:
    """The Arrow schema of every shard of a store with `schema`."""
    fields = [pa.field(TIME, pa.float64(), nullable=False, metadata={"unit": "s"})]
    for signal in schema.signals:
        metadata = {"role": str(signal.role), "shape": str(list(signal.shape)), "dtype": signal.dtype, "unit": signal.unit}
        fields.append(pa.field(signal.name, _arrow_type(signal), nullable=signal.role is Role.ACTION, metadata=metadata))
    return pa.schema(fields)


def _arrow_type(signal: Signal) -> Any:
    element = pa.uint8() if signal.dtype == "bool" else pa.from_numpy_dtype(np.dtype(signal.dtype))
    if signal.shape == ():
        return element
    if len(signal.shape) == 1:
        return pa.list_(pa.field("item", element, nullable=False), signal.shape[0])
    return pa.binary(signal.nbytes)


def header(schema: Schema) -> bytes:
    """The bytes before the first record batch."""
    return MAGIC + b"\0\0" + bytes(arrow_schema(schema).serialize().to_pybytes())


def message(episode: Episode, schema: Schema, fields: Any) -> Any:
    """An episode that fits `schema` as one encapsulated record batch message, a `pyarrow.Buffer`.

    Args:
        episode: The episode.
        schema: Of the store.
        fields: Its Arrow schema.
    """
    own = [_arrow_column(fields.field(s.name).type, s, episode.signals[s.name], episode.steps) for s in schema.signals]
    return pa.record_batch([pa.array(episode.time), *own], schema=fields).serialize()


def _arrow_column(kind: Any, signal: Signal, samples: Array, steps: int) -> Any:
    rows, validity, nulls = steps + 1, None, 0
    if signal.role is Role.ACTION:
        samples = np.concatenate([samples, np.zeros((1, *signal.shape), samples.dtype)])
        validity, nulls = pa.py_buffer(np.packbits(np.arange(rows) < steps, bitorder="little").tobytes()), 1
    data = pa.py_buffer(np.ascontiguousarray(samples))
    if pa.types.is_fixed_size_list(kind):
        child = pa.Array.from_buffers(kind.value_type, rows * signal.size, [None, data])
        return pa.Array.from_buffers(kind, rows, [validity], null_count=nulls, children=[child])
    return pa.Array.from_buffers(kind, rows, [validity, data], null_count=nulls)


def metadata_size(encapsulated: Any) -> int:
    """Bytes of a message before its body: the continuation mark, the length and the flatbuffer with its padding."""
    return 8 + int.from_bytes(memoryview(encapsulated)[4:8], "little")


def columns(encapsulated: Any, fields: Any) -> dict[str, Column]:
    """Find the columns inside one record batch message.

    Args:
        encapsulated: The message, a `pyarrow.Buffer`.
        fields: The Arrow schema of the shard.

    Returns:
        Places by column name. Together with the metadata in front they cover every byte of the message once.

    Raises:
        ValueError, OSError, pyarrow.ArrowException: The bytes are not such a message.
    """
    batch = pa.ipc.read_record_batch(encapsulated, fields)
    buffers = [[b.address - encapsulated.address for b in column.buffers() if b is not None] for column in batch.columns]
    starts = [metadata_size(encapsulated), *(own[0] for own in buffers[1:])]
    stops = [*starts[1:], encapsulated.size]
    places = zip(fields.names, starts, stops, buffers, strict=True)
    return {name: Column(start=start, stop=stop, data=own[-1]) for name, start, stop, own in places}


def samples(shard: Array, offset: int, column: Column, signal: Signal, steps: int) -> Array:
    """One signal of one episode as a read-only view of the shard.

    Args:
        shard: The mapped shard, uint8 (bytes,).
        offset: First byte of the episode's message.
        column: The signal's place in the message.
        signal: The signal.
        steps: T.

    Returns:
        Samples, (T, *shape) for an action and (T+1, *shape) otherwise; no byte is copied.
    """
    rows = rows_of(signal, steps)
    start = offset + column.data
    return shard[start : start + rows * signal.nbytes].view(signal.dtype).reshape(rows, *signal.shape)


def checksums(encapsulated: Any, fields: Any) -> tuple[int, ...]:
    """CRC-32 (zlib) of a message's metadata, then of each column in order."""
    data = memoryview(encapsulated)
    parts = [data[: metadata_size(encapsulated)], *(data[c.start : c.stop] for c in columns(encapsulated, fields).values())]
    return tuple(zlib.crc32(part) for part in parts)


def is_sealed(path: Path, batches: int) -> bool:
    """True when any Arrow reader can open the shard and finds `batches` episodes or more."""
    try:
        with pa.memory_map(str(path)) as file:
            return bool(pa.ipc.open_file(file).num_record_batches >= batches)
    except UNREADABLE:
        return False


def frame_damage(path: Path, end: int, batches: int, fields: Any) -> str | None:
    """What keeps other Arrow readers from the intact episodes of a shard, or None.

    Args:
        path: The shard.
        end: First byte after its last episode.
        batches: Number of its episodes.
        fields: Its Arrow schema.
    """
    copy = "the episodes are intact here, but other Arrow readers need a copy of the file"
    with pa.memory_map(str(path)) as file:
        whole = file.read_buffer()
        try:
            stream = pa.ipc.open_stream(whole.slice(len(MAGIC) + 2, end - len(MAGIC) - 2))
            if whole.slice(0, len(MAGIC)).to_pybytes() != MAGIC or not stream.schema.equals(fields, check_metadata=True):
                raise ValueError("another schema")
            walked = [batch.column(0).buffers()[-1].address for batch in stream]
        except UNREADABLE:
            return f"the schema at its start has changed: {copy}"
        try:
            sealed = pa.ipc.open_file(whole)
            same = sealed.schema.equals(fields, check_metadata=True)
            listed = [sealed.get_batch(i).column(0).buffers()[-1].address for i in range(sealed.num_record_batches)]
        except UNREADABLE:
            if bytes(memoryview(whole)[end : end + len(END_OF_STREAM)]) != END_OF_STREAM:
                return None  # never sealed: a writer is at work or was killed
            return f"its footer has changed: {copy}, or EpisodeWriter.append to write the footer anew"
    if len(listed) > batches:
        return f"it holds {len(listed)} episodes and the index names {batches}: the last lines of episodes.jsonl are lost"
    return None if same and listed == walked else f"its footer has changed: {copy}"


def seal(file: BinaryIO, end: int, fields: Any) -> bool:
    """Add the footer that plain Arrow readers need.

    The footer follows from what is already in the file, so the batches are replayed, one in memory at a time, into a sink that keeps
    nothing but what comes after them. A crash in the middle leaves an unsealed shard that can be sealed again.

    Args:
        file: The shard, open unbuffered for reading and writing.
        end: First byte after the last whole message; anything behind it is cut off.
        fields: The Arrow schema of the shard.

    Returns:
        False, with the file as it was, when the messages cannot be replayed because bytes are damaged.
    """
    sink = _Tail(end)
    try:
        with pa.PythonFile(_Messages(file, len(MAGIC) + 2, end), mode="r") as messages:
            batches = pa.ipc.open_stream(messages)
            if not batches.schema.equals(fields, check_metadata=True):
                return False
            with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), fields) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                replayed = sink.position
    except UNREADABLE:
        return False
    if replayed != end:
        return False
    file.truncate(end)
    file.seek(end)
    write_all(file, sink.kept)
    os.fsync(file.fileno())
    return True


def write_all(file: BinaryIO, data: Any) -> None:
    """Write every byte to an unbuffered file, which may take fewer at once than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


class _Messages:
    """The bytes of a file from `start` to `end`, to be read once; the file stays open."""

    closed = False

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self.file = file
        self.position = start
        self.end = end

    def read(self, count: int) -> bytes:
        self.file.seek(self.position)
        data = self.file.read(min(count, self.end - self.position))
        self.position += len(data)
        return data

    def close(self) -> None:
        """Nothing to release."""


class _Tail:
    """A sink that keeps only the bytes written past `end`."""

    closed = False

    def __init__(self, end: int) -> None:
        self.end = end
        self.position = 0
        self.kept = bytearray()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.kept += view[max(0, self.end - self.position) :]
        self.position += len(view)
        return len(view)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing to release."""
