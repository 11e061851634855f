"""MCAP: what the recorders of robots write (ROS 2 bags, and messages in JSON)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.mcap_file import Bag, bags, candidates, first_messages, is_mcap, messages, require_library, summary_of
from tacit.data.formats.mcap_topic import Entry, Taker, Topic, decoder, topic_of
from tacit.data.formats.names import suggestion
from tacit.data.formats.stills import Still, Stills
from tacit.data.streams import BadTake, Description, Piece, SourceError, Stream

if TYPE_CHECKING:
    from mcap.records import Message

    from tacit.data.formats.mcap_file import Logged

PIECE_MESSAGES = 2_000
PIECE_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class McapOptions:
    """The table `[options]`.

    Attributes:
        time: `header`: the stamp that a message carries, and the publish time where it carries none. `publish`: when it was sent, as
            the sender's middleware says. `log`: when it arrived at the recorder, which is later by the transport and the queue.
        truncated: `refuse` a file that breaks off, or `keep` what is before the break.
    """

    time: str = "header"
    truncated: str = "refuse"

    def __post_init__(self) -> None:
        for name, allowed in (("time", ("header", "publish", "log")), ("truncated", ("refuse", "keep"))):
            if (value := getattr(self, name)) not in allowed:
                raise SourceError(f"options.{name}: {value!r} is none of: {', '.join(allowed)}")

    @classmethod
    def read(cls, options: Mapping[str, object]) -> McapOptions:
        """The options as a mapping file has them.

        Raises:
            SourceError: An option is unknown, or its value is.
        """
        known = [f.name for f in fields(cls)]
        if unknown := [name for name in options if name not in known]:
            raise SourceError(f"options.{unknown[0]}: unknown; the format mcap has: {', '.join(known)}")
        return cls(**{name: str(value) for name, value in options.items()})


class Mcap:
    """Reads bags. A file is a take; so is a folder with a `metadata.yaml`, whose files are read one after the other.

    Every number in a topic's messages is a channel, `/topic.field.part`; an array that had the same length in the first messages is a
    vector, and a camera has the name of its topic. The joints of a `JointState` are told apart by their names, as vectors in one order
    (`/joint_states.position`, NaN for a joint that a message lacks) and each by itself (`/joint_states.position.elbow`). Lists of
    messages, and text, are left out.

    A take larger than a piece is read twice: stamps may be in any order, and a piece has to say what no later one holds.
    """

    name: str = "mcap"
    summary: str = "ROS 2 bags and JSON messages in MCAP files: numbers, joints, raw and compressed images"
    extra: str | None = "formats"

    def recognises(self, path: Path) -> bool:
        try:
            return any(is_mcap(file) for file in candidates(path)[:3])
        except OSError:
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        require_library()
        chosen = McapOptions.read(options)
        takes = bags(path)
        topics, seconds = _survey(takes)
        if not topics:
            raise SourceError(f"{path}: none of {len(takes)} takes has a message that can be found; is the recording empty or damaged?")
        return Description(
            channels=tuple(entry.channel for topic in topics.values() for entry in topic.entries.values()),
            takes=tuple(bag.name for bag in takes),
            seconds=seconds,
            options={f.name: getattr(chosen, f.name) for f in fields(chosen)},
        )

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        require_library()
        chosen = McapOptions.read(options)
        takes = {bag.name: bag for bag in bags(path)}
        if take not in takes:
            raise SourceError(f"{path}: there is no take {take!r}{suggestion(take, takes)}")
        bag = takes[take]
        if bag.lacking:
            raise BadTake(f"{bag.files[0].parent}: metadata.yaml lists {', '.join(bag.lacking)}, not there as .mcap; copy or decompress it")
        topics = _topics(path, tuple(takes.values()), names)
        yield from _Take(bag=bag, topics=topics, names=names, options=chosen).pieces()


MCAP = Mcap()


def _survey(takes: tuple[Bag, ...]) -> tuple[dict[str, Topic], float | None]:
    """Every topic, and the recorded time as far as the files have a summary of it."""
    first: dict[str, list[Logged]] = {}
    counts: dict[str, int] = {}
    seconds: float | None = 0.0

    def unseen(topic: str) -> bool:
        return topic not in first

    for file in (file for bag in takes for file in bag.files):
        first |= first_messages(file, unseen)
        summary = summary_of(file)
        if summary is None or summary.statistics is None:
            seconds = None
            continue
        statistics = summary.statistics
        if seconds is not None:
            seconds += (statistics.message_end_time - statistics.message_start_time) / 1e9
        for channel, count in statistics.channel_message_counts.items():
            topic = summary.channels[channel].topic if channel in summary.channels else ""
            counts[topic] = counts.get(topic, 0) + count
    rates = {topic: counts[topic] / seconds if seconds and counts.get(topic, 0) > 1 else None for topic in first}
    return {topic: topic_of(topic, found, rates[topic]) for topic, found in sorted(first.items())}, seconds


def _topics(path: Path, takes: tuple[Bag, ...], names: tuple[str, ...]) -> dict[str, Topic]:
    """The topics of some channels, as the first take that has them tells, so that all takes are read alike."""
    found: dict[str, Topic] = {}
    entries: dict[str, Entry] = {}

    def wanted(topic: str) -> bool:
        return topic not in found and any(name == topic or name.startswith(topic + ".") for name in names)

    for file in (file for bag in takes for file in bag.files):
        for topic, first in first_messages(file, wanted).items():
            found[topic] = topic_of(topic, first, rate=None)
            entries |= found[topic].entries
        if all(name in entries for name in names):
            break
    for name in names:
        unreadable = [t.entries[t.name] for t in found.values() if t.name in t.entries and name.startswith(t.name + ".")]
        entry = entries.get(name) or next((e for e in unreadable if e.take is None), None)
        if entry is None:
            known = [e.channel.name for topic in _survey(takes)[0].values() for e in topic.entries.values()]
            raise SourceError(f"{path}: there is no channel {name!r}{suggestion(name, known)}")
        if entry.take is None:
            raise SourceError(f"{path}: topic {entry.channel.name} {entry.channel.note}")
    return found


@dataclass(kw_only=True)
class _Samples:
    """Samples of one channel, gathered for a piece."""

    time: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class _Take:
    """One take while it is read."""

    bag: Bag
    topics: dict[str, Topic]
    names: tuple[str, ...]
    options: McapOptions
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    decoders: dict[tuple[str | bytes, ...], Callable[[bytes], Any]] = field(default_factory=dict)

    def pieces(self) -> Iterator[Piece]:
        wanted = [(name, self._topic_of(name)) for name in dict.fromkeys(self.names)]
        takers = {topic: [(name, self.topics[topic].entries[name].take) for name, of in wanted if of == topic] for _, topic in wanted}
        rows = dict.fromkeys(takers, 0)
        samples: dict[str, _Samples] = {}
        bounds: NDArray[np.float64] | None = None
        total, since, size = 0, 0, 0
        some = False
        for file, logged in self._messages():
            if total - since >= PIECE_MESSAGES or size >= PIECE_BYTES:
                bounds = self._earliest_from() if bounds is None else bounds
                yield Piece(streams=self._streams(samples), until=float(bounds[total]))
                samples, since, size = {}, total, 0
            topic, message = self.topics[logged[1].topic], logged[2]
            time, row = self._time(topic, message), rows[topic.name]
            for name, value in self._taken(logged, takers[topic.name], f"{file}, topic {topic.name}: message {row}, at {time:.6f} s,"):
                gathered = samples.setdefault(name, _Samples())
                gathered.time.append(time)
                gathered.rows.append(row)
                gathered.values.append(value)
                some = True
            rows[topic.name] += 1
            total, size = total + 1, size + len(message.data)
        if not some:
            raise BadTake(f"{self.bag.files[0]}: take {self.bag.name} has no sample of {', '.join(self.names)}")
        yield Piece(streams=self._streams(samples), until=math.inf)

    def _taken(self, logged: Logged, takers: list[tuple[str, Taker | None]], where: str) -> list[tuple[str, NDArray[np.float64] | Still]]:
        schema, channel, message = logged
        key = (channel.message_encoding, *((schema.name, schema.data) if schema is not None else ()))
        try:
            if key not in self.decoders:
                self.decoders[key] = decoder(schema, channel.message_encoding)
            decoded = self.decoders[key](message.data)
            taken = [(name, take(decoded)) for name, take in takers if take is not None]
        except Exception as error:  # a damaged message may fail anywhere in its decoder
            reason = str(error) if isinstance(error, ValueError) else f"it does not fit its definition ({type(error).__name__}: {error})"
            raise BadTake(f"{where} cannot be read: {reason}") from error
        return [(name, value) for name, value in taken if value is not None]

    def _topic_of(self, name: str) -> str:
        return next(topic.name for topic in self.topics.values() if name in topic.entries)

    def _messages(self) -> Iterator[tuple[Path, Logged]]:
        topics = {self._topic_of(name) for name in self.names}
        for file in self.bag.files:
            for logged in messages(file, topics.__contains__, keep=self.options.truncated == "keep"):
                yield file, logged

    def _time(self, topic: Topic, message: Message) -> float:
        if self.options.time == "header" and topic.stamped:
            try:
                return topic.stamp(message.data)
            except Exception as error:  # as any other field of a damaged message
                at = f"logged at {message.log_time / 1e9:.6f} s"
                raise BadTake(f"{self.bag.files[0]}, topic {topic.name}: the message {at} cannot be read: {error}") from error
        published = message.publish_time if self.options.time != "log" else 0
        return (published or message.log_time) / 1e9  # writers without a publish time set it to 0

    def _earliest_from(self) -> NDArray[np.float64]:
        """For every message of the take, the earliest time of it and those after, so that a piece can say what no later one holds."""
        times = np.array([self._time(self.topics[channel.topic], message) for _, (_, channel, message) in self._messages()])
        earliest = np.fmin.accumulate(times[::-1])[::-1]
        return np.where(np.isnan(earliest), np.inf, earliest)

    def _streams(self, samples: Mapping[str, _Samples]) -> dict[str, Stream]:
        streams = {}
        for name, gathered in samples.items():
            time = np.array(gathered.time, np.float64)
            where = f"{self.bag.files[0] if len(self.bag.files) == 1 else self.bag.files[0].parent}, topic {self._topic_of(name)}"
            numbers = isinstance(gathered.values[0], np.ndarray)
            values = np.stack(gathered.values) if numbers else self._frames(name, gathered.values, time, where)
            streams[name] = Stream(time=time, values=values, where=where, rows=np.array(gathered.rows, np.int64))
        return streams

    def _frames(self, name: str, stills: list[Still], time: NDArray[np.float64], where: str) -> Stills:
        reason = ""
        for still in stills:
            if name in self.shapes:
                break
            try:
                self.shapes[name] = still.shape()
            except ValueError as error:
                reason = reason or str(error)
        if name not in self.shapes:
            raise BadTake(f"{where}: the image at {time[0]:.6f} s {reason}, and so for the {len(stills) - 1} after it")
        return Stills(stills=tuple(stills), shape=self.shapes[name], where=where, time=time)
