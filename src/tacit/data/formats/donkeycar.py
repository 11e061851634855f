"""Format `donkeycar`: the tubs (version 2) that a Donkey Car records.

    manifest.json            five lines of JSON: names, types, metadata, sessions, catalogs with the indexes that were deleted
    catalog_0.catalog        a line of JSON per record; beside it a .catalog_manifest, which only helps to seek
    images/*.jpg

A record holds a frame and the command that was chosen on seeing it, at one time. Each session is a take.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.data.images import ImageFrames
from tacit.data.streams import BadTake, Channel, Description, Piece, SourceError, Stream

WHOLE_TUB = "tub"  # the take of records that know no session
NUMBERS = {"float": "float64", "int": "int64", "boolean": "bool"}
VECTORS = ("vector", "list", "nparray")
MODE = "user/mode"
DRIVEN = {"user/angle": ("user",), "user/throttle": ("user", "local_angle")}  # modes in which the command was the person's
LINES = 5
REMEDY = "delete that line and note its index among deleted_indexes, or leave this session out"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a catalog.

    Attributes:
        values: By name.
        catalog: File that it stands in.
        line: There, from 1.
    """

    values: Mapping[str, Any]
    catalog: Path
    line: int


@dataclass(frozen=True, kw_only=True)
class Tub:
    """What stands in a tub.

    Attributes:
        types: Donkey's type of each input by name.
        sessions: Records that were not deleted, in order, by session.
        faults: What is wrong with a session, by session.
        cuts: For each session, how many of its records were deleted.
    """

    types: Mapping[str, str]
    sessions: Mapping[str, tuple[Record, ...]]
    faults: Mapping[str, str]
    cuts: Mapping[str, int]


class DonkeyCar:
    """Tubs of a Donkey Car, version 2."""

    name = "donkeycar"
    summary = "tub of a Donkey Car (version 2): manifest.json, catalogs and images; a take per session, without deleted records"
    extra: str | None = None

    def recognises(self, path: Path) -> bool:
        """Is it a folder with a Donkey Car's manifest?"""
        try:
            return path.is_dir() and (path / "manifest.json").is_file() and bool(_manifest(path))
        except (SourceError, OSError):
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Read the catalogs, and the header of one image per camera.

        Args:
            path: Folder of the tub.
            options: None are known.

        Raises:
            SourceError: The manifest is damaged, or no session can be read.
        """
        _require_no_options(options)
        tub = _tub(path)
        channels: list[Channel] = []
        for session in tub.sessions:
            try:
                channels = [_channel(path, tub, session, name) for name in tub.types if _is_channel(tub, session, name)]
            except BadTake:
                continue
            if channels:
                break
        if not channels:
            faults = "; ".join(tub.faults.values()) or "they are empty, or their first images are broken"
            raise SourceError(f"{path}: no session can be read: {faults}")
        seconds = 0.0
        for session, records in tub.sessions.items():
            with contextlib.suppress(BadTake):  # reading it tells why
                seconds += float(np.ptp(_times(records))) if records and session not in tub.faults else 0.0
        return Description(
            channels=tuple(channels),
            takes=tuple(tub.sessions),
            seconds=seconds,
            options={},
        )

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read a session as one piece; images are decoded later, when they are asked for.

        The commands `user/angle` and `user/throttle` are marked as not valid where `user/mode` says that the pilot gave them.

        Args:
            path: Folder of the tub.
            take: Name of a session.
            names: Inputs of the tub.
            options: None are known.

        Raises:
            BadTake: A line of this session is damaged, or a record lacks one of the inputs.
            SourceError: The tub lacks the session, or one of the inputs.
        """
        _require_no_options(options)
        tub = _tub(path)
        if take not in tub.sessions:
            raise SourceError(f"{path} has no session {take!r}; it has: {', '.join(tub.sessions)}")
        if take in tub.faults:
            raise BadTake(tub.faults[take])
        records = tub.sessions[take]
        if not records:
            raise BadTake(f"{path}: all {tub.cuts[take]} records of session {take} were deleted; leave it out, or restore them in the tub")
        for name in names:
            if tub.types.get(name) not in (*NUMBERS, *VECTORS, "image_array"):
                raise SourceError(f"{path}/manifest.json has no input {name!r} of numbers or images; it has: {', '.join(tub.types)}")
        time = _times(records)
        yield Piece(streams={name: _stream(path, tub, take, name, time) for name in names})


DONKEYCAR = DonkeyCar()


def _require_no_options(options: Mapping[str, object]) -> None:
    if options:
        raise SourceError(f"options.{next(iter(options))} is unknown: the format donkeycar has no options; delete the line")


def _manifest(path: Path) -> tuple[dict[str, str], list[str], frozenset[int]]:
    """Types by name, file names of the catalogs, deleted indexes."""
    file = path / "manifest.json"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        inputs, types, _, _, catalogs = (json.loads(line) for line in lines[:LINES])
        named = dict(zip((str(name) for name in inputs), (str(kind) for kind in types), strict=True))
        files = [str(name) for name in catalogs["paths"]]
        return named, files, frozenset(int(index) for index in catalogs["deleted_indexes"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f"{file} is not the manifest of a tub ({error}): it must have {LINES} lines of JSON, with the catalogs in the last; "
            "copy the tub again from the car"
        ) from error


def _tub(path: Path) -> Tub:
    _, files, _ = _manifest(path)
    stamps = tuple(
        file.stat().st_mtime_ns if file.is_file() else 0 for file in (path / Path(name).name for name in ("manifest.json", *files))
    )
    return _read_tub(path, stamps)


@functools.lru_cache(maxsize=2)
def _read_tub(path: Path, stamps: tuple[int, ...]) -> Tub:
    types, files, deleted = _manifest(path)
    sessions: dict[str, list[Record]] = {}
    faults: dict[str, str] = {}
    cuts: dict[str, int] = {}
    session, position, pending = "", 0, ""
    for name in files:
        catalog = path / Path(name).name
        try:
            lines = catalog.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            fault = (
                f"{catalog} cannot be read ({error.strerror}), so records from {position} on are missing; copy the tub again from the car"
            )
            raise SourceError(fault) from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
                index = int(values.get("_index", position))
                session = str(values.get("_session_id", WHOLE_TUB))
            except (ValueError, TypeError, AttributeError):
                if position not in deleted:
                    pending = pending or f"{catalog}, line {number} is not a record: {line[:40]!r}; {REMEDY}"
                    if session:
                        faults.setdefault(session, pending)
                        pending = ""
                position += 1
                continue
            if pending:  # no session came before the damaged line
                faults.setdefault(session, pending)
                pending = ""
            kept = sessions.setdefault(session, [])
            cuts.setdefault(session, 0)
            if index in deleted:
                cuts[session] += 1
            else:
                kept.append(Record(values=values, catalog=catalog, line=number))
            position = index + 1
    return Tub(types=types, sessions={name: tuple(records) for name, records in sessions.items()}, faults=faults, cuts=cuts)


def _is_channel(tub: Tub, session: str, name: str) -> bool:
    records = tub.sessions[session]
    return bool(records) and name in records[0].values and tub.types[name] in (*NUMBERS, *VECTORS, "image_array")


def _channel(path: Path, tub: Tub, session: str, name: str) -> Channel:
    records = tub.sessions[session]
    kind = tub.types[name]
    steps = np.diff(_times(records))
    rate = float(1 / np.median(steps[steps > 0])) if (steps > 0).any() else None
    if kind == "image_array":
        shape = _images(path, records, name).shape
        return Channel(name=name, shape=shape, dtype="uint8", rate=rate, camera=True, hint="observation")
    note = ""
    if name in DRIVEN:
        piloted = sum(str(record.values.get(MODE, "user")) not in DRIVEN[name] for rows in tub.sessions.values() for record in rows)
        note = f"in {piloted} records the pilot gave this command, not the person: they are not valid" if piloted else ""
    shape_of_value = np.shape(records[0].values[name])
    hint = "action" if name in DRIVEN else None
    return Channel(name=name, shape=shape_of_value, dtype=NUMBERS.get(kind, "float64"), rate=rate, hint=hint, note=note)


def _times(records: tuple[Record, ...]) -> NDArray[np.float64]:
    times = np.empty(len(records), np.float64)
    for row, record in enumerate(records):
        stamp = record.values.get("_timestamp_ms")
        if not isinstance(stamp, int | float) or isinstance(stamp, bool):
            raise BadTake(f"{record.catalog}, line {record.line}: _timestamp_ms is {stamp!r}, not a number of milliseconds; {REMEDY}")
        times[row] = stamp / 1000
    return times


def _images(path: Path, records: tuple[Record, ...], name: str) -> ImageFrames:
    files = [path / "images" / Path(str(_value(record, name))).name for record in records]
    return ImageFrames(files, remedy="restore the file, delete its record in the tub, or leave this session out")


def _value(record: Record, name: str) -> object:
    if name not in record.values:
        raise BadTake(f"{record.catalog}, line {record.line} has no {name!r}; {REMEDY}")
    return record.values[name]


def _stream(path: Path, tub: Tub, session: str, name: str, time: NDArray[np.float64]) -> Stream:
    records = tub.sessions[session]
    rows = np.array([record.values.get("_index", row) for row, record in enumerate(records)], np.int64)
    where = f"{path}, session {session}, {name}"
    if tub.types[name] == "image_array":
        return Stream(time=time, values=_images(path, records, name), where=where, rows=rows)
    values: list[NDArray[np.float64]] = []
    for record in records:
        value = record.values.get(name, math.nan) if tub.types[name] in NUMBERS else _value(record, name)
        try:
            values.append(np.asarray(value, np.float64))
        except (ValueError, TypeError) as error:
            raise BadTake(f"{record.catalog}, line {record.line}: {name} is {value!r}, not a number; {REMEDY}") from error
        if values[-1].shape != values[0].shape:
            raise BadTake(
                f"{record.catalog}, line {record.line}: {name} has shape {values[-1].shape}, at first {values[0].shape}; {REMEDY}"
            )
    valid = None
    if name in DRIVEN:
        valid = np.array([str(record.values.get(MODE, "user")) in DRIVEN[name] for record in records], np.bool_)
    return Stream(time=time, values=np.stack(values), where=where, valid=valid, rows=rows)
