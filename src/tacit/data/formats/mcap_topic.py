"""Topics of a robot's log: which channels the first messages show, and how the sample of a channel is taken from a message."""

from __future__ import annotations

import functools
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.stills import EncodedStill, RawStill, Still
from tacit.data.streams import UNREADABLE, Channel

if TYPE_CHECKING:
    from mcap.records import Schema

    from tacit.data.formats.mcap_file import Logged

LATE = 0.5  # seconds between stamp and arrival that are worth a note
Way = tuple[str, ...]


class Taker(Protocol):
    """Takes the sample of one channel from a decoded message."""

    def __call__(self, message: Any, /) -> NDArray[np.float64] | Still | None:
        """The sample; None where this message has none.

        Raises:
            ValueError: The message does not have what the first ones had; the message is the reason.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A channel and where its samples come from; no `take` where it cannot be read, as its note says."""

    channel: Channel
    take: Taker | None = None


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What the messages of a topic hold.

    Attributes:
        name: Of the topic.
        decode: Reads the bytes of a message.
        stamped: Its messages carry a time of their own.
        leading: The time stands in the first bytes, where it can be read without the rest.
        entries: By name of the channel.
    """

    name: str
    decode: Callable[[bytes], Any]
    stamped: bool
    leading: bool
    entries: Mapping[str, Entry]

    def stamp(self, data: bytes) -> float:
        """The time that a message carries, in seconds; NaN where it carries none."""
        return _leading_stamp(data) if self.leading else _stamp(self.decode(data))


def decoder(schema: Schema | None, encoding: str) -> Callable[[bytes], Any]:
    """What reads the messages of a channel.

    Raises:
        ValueError: Nothing here does; the message is the reason.
    """
    from mcap_ros2.decoder import DecoderFactory

    if encoding == "json":
        return _json
    if encoding == "cdr" and schema is not None and schema.encoding == "ros2msg":
        try:
            made: Callable[[bytes], Any] | None = DecoderFactory().decoder_for(encoding, schema)
        except Exception as error:  # the parser of message definitions has errors of many kinds
            raise ValueError(f"the definition of {schema.name} cannot be parsed: {error}") from error
        if made is not None:
            return made
    found = f"{encoding!r}" + (f" with definitions in {schema.encoding!r}" if schema is not None else " without definitions")
    raise ValueError(f"its messages are encoded as {found}; only 'cdr' with 'ros2msg' (ROS 2) and 'json' can be read, so convert the file")


def topic_of(name: str, first: Sequence[Logged], rate: float | None) -> Topic:
    """What a topic holds, told from its first messages.

    Args:
        name: Of the topic.
        first: Its first messages, at least one.
        rate: Messages per second, or None.
    """
    try:
        decode, entries, stamps = _understood(name, first)
    except ValueError as error:
        entry = Entry(channel=Channel(name=name, rate=rate, note=f"{UNREADABLE}{error}"))
        return Topic(name=name, decode=_undecodable, stamped=False, leading=False, entries={name: entry})
    stamped = [(message, stamp) for (_, _, message), stamp in zip(first, stamps, strict=True) if not math.isnan(stamp)]
    leading = first[0][1].message_encoding == "cdr" and all(_leading_stamp(message.data) == stamp for message, stamp in stamped)
    note = "" if stamped else "no stamp of its own"
    if stamped and abs(lag := float(np.median([message.log_time / 1e9 - stamp for message, stamp in stamped]))) > LATE:
        note = f"its stamps are {abs(lag):.3f} s {'before' if lag > 0 else 'after'} its arrival"
    noted = {
        e.channel.name: replace(e, channel=replace(e.channel, rate=rate, note="; ".join(n for n in (e.channel.note, note) if n)))
        for e in entries
    }
    return Topic(name=name, decode=decode, stamped=bool(stamped), leading=bool(stamped) and leading, entries=noted)


def _understood(topic: str, first: Sequence[Logged]) -> tuple[Callable[[bytes], Any], list[Entry], list[float]]:
    schema, channel, _ = first[0]
    decode = decoder(schema, channel.message_encoding)
    try:
        decoded = [decode(message.data) for _, _, message in first]
        kind = schema.name.replace("/msg/", "/") if schema is not None else ""
        return decode, list(_entries(topic, kind, decoded)), [_stamp(message) for message in decoded]
    except Exception as error:  # a message of another definition may fail anywhere
        raise ValueError(f"its messages do not fit their definition ({error})") from error


def _entries(topic: str, kind: str, decoded: Sequence[Any]) -> Iterator[Entry]:
    if kind == "sensor_msgs/CompressedImage":
        yield _picture(topic, decoded, _encoded)
    elif kind == "sensor_msgs/Image":
        yield _picture(topic, decoded, _raw)
    else:
        yield from _fields(topic, decoded)
        if kind == "sensor_msgs/JointState":
            yield from _joints(topic, decoded)


def _json(data: bytes) -> Any:
    return json.loads(data)


def _undecodable(data: bytes) -> Any:
    raise ValueError("the topic cannot be read")


def _parts(value: Any) -> Mapping[str, Any] | None:
    """The fields of a message, or None when it is not one."""
    if isinstance(value, dict):
        return value
    if isinstance(value, SimpleNamespace):  # what mcap_ros2 makes, with the names of its fields in slots
        return {name: getattr(value, name) for name in type(value).__slots__}  # type: ignore[attr-defined]
    return None


def _leading_stamp(data: bytes) -> float:
    if len(data) < 12:
        return math.nan
    seconds, nanoseconds = struct.unpack_from("<II" if data[1] & 1 else ">II", data, 4)
    return seconds + nanoseconds / 1e9 if seconds or nanoseconds else math.nan


def _stamp(message: Any) -> float:
    parts = _parts(message) or {}
    header = _parts(parts.get("header")) or {}
    stamp = _seconds(header.get("stamp", parts.get("timestamp")))
    return stamp or math.nan  # a stamp of zero was never set


def _seconds(value: Any) -> float | None:
    parts = _parts(value)
    if parts is None or len(parts) != 2 or "sec" not in parts:
        return None
    rest = parts.get("nanosec", parts.get("nsec"))
    return float(parts["sec"]) + float(rest) / 1e9 if rest is not None else None


def _leaves(value: Any, path: Way = ()) -> Iterator[tuple[Way, NDArray[np.float64]]]:
    """Numbers in a message by the way to them; text, and lists of messages, are left out."""
    if (seconds := _seconds(value)) is not None:
        yield path, np.asarray(seconds)
    elif (parts := _parts(value)) is not None:
        for name, part in parts.items():
            if path or not (name == "header" or (name == "timestamp" and _seconds(part) is not None)):
                yield from _leaves(part, (*path, name))
    elif (numbers := _numbers(value)) is not None:
        yield path, numbers


def _numbers(value: Any) -> NDArray[np.float64] | None:
    if value is None:
        return np.asarray(math.nan)
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8).astype(np.float64)
    if isinstance(value, bool | int | float) or (isinstance(value, list) and all(isinstance(v, bool | int | float) for v in value)):
        return np.asarray(value, np.float64)
    return None


def _at(message: Any, path: Way) -> Any:
    for name in path:
        parts = _parts(message)
        if parts is None or name not in parts:
            raise ValueError(f"it has no field {'.'.join(path)}")
        message = parts[name]
    return message


def _fields(topic: str, decoded: Sequence[Any]) -> Iterator[Entry]:
    shapes: dict[Way, set[tuple[int, ...]]] = {}
    for message in decoded:
        for path, numbers in _leaves(message):
            shapes.setdefault(path, set()).add(numbers.shape)
    for path, found in shapes.items():
        name = ".".join((topic, *path))
        if len(found) > 1:
            lengths = " and ".join(str(s[0]) if s else "a number" for s in sorted(found))
            yield Entry(channel=Channel(name=name, note=f"{UNREADABLE}its length changes from message to message ({lengths})"))
        elif 0 not in (shape := found.pop()):
            yield Entry(channel=Channel(name=name, shape=shape), take=functools.partial(_field, path=path, shape=shape))


def _field(message: Any, path: Way, shape: tuple[int, ...]) -> NDArray[np.float64]:
    value = _at(message, path)
    seconds = _seconds(value)
    numbers = _numbers(value) if seconds is None else np.asarray(seconds)
    if numbers is None or numbers.shape != shape:
        wanted = f"{shape[0]} numbers" if shape else "one number"
        raise ValueError(f"field {'.'.join(path)} has {'no numbers' if numbers is None else numbers.size} where the first have {wanted}")
    return numbers


def _joints(topic: str, decoded: Sequence[Any]) -> Iterator[Entry]:
    """Vectors in one order of the joints, whatever order a message has, and each joint by itself.

    They take the place of the plain vectors of the same name.
    """
    names = tuple(dict.fromkeys(name for message in decoded for name in _at(message, ("name",))))
    for part in ("position", "velocity", "effort"):
        channel = f"{topic}.{part}"
        if any(len(_at(message, (part,))) for message in decoded):
            note = f"joints, by name whatever their order in a message: {', '.join(names)}"
            take = functools.partial(_vector_of_joints, part=part, names=names)
            yield Entry(channel=Channel(name=channel, shape=(len(names),), note=note), take=take)
            for name in names:
                if any(_joint(message, part, name) is not None for message in decoded):
                    yield Entry(channel=Channel(name=f"{channel}.{name}"), take=functools.partial(_joint, part=part, name=name))


def _by_joint(message: Any, part: str) -> dict[str, float]:
    values, names = _at(message, (part,)), _at(message, ("name",))
    if values and len(values) != len(names):
        raise ValueError(f"{part} has {len(values)} values for {len(names)} joints")
    return dict(zip(names, values, strict=False))  # no values at all: this message has no such part


def _vector_of_joints(message: Any, part: str, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    values = _by_joint(message, part)
    return np.array([values.get(name, math.nan) for name in names]) if values else None


def _joint(message: Any, part: str, name: str) -> NDArray[np.float64] | None:
    values = _by_joint(message, part)
    return np.asarray(values[name], np.float64) if name in values else None


def _encoded(message: Any) -> Still:
    return EncodedStill(data=_bytes(message))


def _raw(message: Any) -> Still:
    height, width, step, encoding = (_at(message, (name,)) for name in ("height", "width", "step", "encoding"))
    return RawStill(data=_bytes(message), height=height, width=width, step=step, encoding=encoding)


def _bytes(message: Any) -> bytes:
    data = _at(message, ("data",))
    if not isinstance(data, bytes):
        raise ValueError("is not kept as bytes")
    return data


def _picture(topic: str, decoded: Sequence[Any], take: Callable[[Any], Still]) -> Entry:
    reason = ""
    for message in decoded:
        try:
            return Entry(channel=Channel(name=topic, shape=take(message).shape(), dtype="uint8", camera=True), take=take)
        except ValueError as error:
            reason = reason or str(error)
    return Entry(channel=Channel(name=topic, dtype="uint8", camera=True, note=f"{UNREADABLE}an image {reason}"))
