"""Samples in the order of their time: late rows are put in place, and those too late are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.table_cells import texts
from tacit.data.formats.table_rows import Rows, Samples, TimedRows, joined
from tacit.data.streams import BadTake, Piece


def ordered(files: Sequence[TimedRows], names: tuple[str, ...]) -> Iterator[Piece]:
    """The samples of files that continue each other as pieces in the order of time.

    Rows may be late by `disorder` seconds: samples are held back for so long and sorted, so that what comes out does not depend on how
    many rows are read at once, but for where the pieces are cut. Between two files nothing is held back.

    Args:
        files: Rows of each file.
        names: Channels.

    Raises:
        BadTake: There are no rows, they are not in the order of time, or one of them cannot be read.
    """
    newest: int | None = None
    for number, timed in enumerate(files):
        disorder = round(timed.options.disorder * 1e9)
        where = {name: f"{timed.sheet.path}: {name}" for name in names}
        held: dict[str, list[Samples]] = {}
        for rows in timed.read(timed.value_columns(names)):
            newest = _advanced(timed, rows, newest, disorder)
            for name, samples in timed.samples(rows, names).items():
                held.setdefault(name, []).append(samples)
            if released := _released(held, newest - disorder):
                yield Piece(streams={n: s.stream(where[n]) for n, s in released.items()}, until=(newest - disorder) / 1e9)
        if newest is None:
            if number + 1 < len(files):
                continue
            raise BadTake(f"{timed.sheet.path}: has no rows of data")
        rest = {name: _sorted(joined(parts)) for name, parts in held.items()}
        until = (newest - disorder) / 1e9 if number + 1 < len(files) else math.inf
        yield Piece(streams={n: s.stream(where[n]) for n, s in rest.items() if len(s)}, until=until)


def _advanced(timed: TimedRows, rows: Rows, newest: int | None, disorder: int) -> int:
    """Time of the newest row so far; a row that is too late is refused."""
    before = np.maximum.accumulate(np.append(rows.ns[0] if newest is None else newest, rows.ns))
    late = before[:-1] - rows.ns
    if (late > disorder).any():
        place = int(np.argmax(late > disorder))
        what = f"goes back by {late[place] / 1e9:g} s behind a row before"
        remedy = f"sort the rows by time, or give the option disorder if rows may be that late (it is {timed.options.disorder:g} s)"
        if timed.options.time_zone is None and abs(late[place] / 1e9 - 3600) < 900:
            remedy += "; if these are local times and summer time ends here, give the option time_zone"
        raise BadTake(f"{timed.sheet.path}, row {rows.numbers[place]}: {what}; {remedy}")
    return int(before[-1])


def _released(held: dict[str, list[Samples]], before: int) -> dict[str, Samples]:
    """Take the samples before a time out of those that are held."""
    released = {}
    for name in list(held):
        samples = _sorted(joined(held[name]))
        count = int(np.searchsorted(samples.ns, before))
        held[name] = [samples.at(slice(count, None))]
        if count:
            released[name] = samples.at(slice(0, count))
    return released


def _sorted(samples: Samples) -> Samples:
    return samples if (np.diff(samples.ns) >= 0).all() else samples.at(np.argsort(samples.ns, kind="stable"))


def is_by_tag(timed: TimedRows) -> bool:
    """Has a long table one block of rows for each tag, one after the other? Reads until a tag comes back after another one."""
    over: set[str] = set()
    current: str | None = None
    for cells, _ in timed.raw((str(timed.columns.tag),)):
        tags = texts(cells[str(timed.columns.tag)]).dictionary_encode()
        codes = tags.indices.to_numpy()
        starts = np.flatnonzero(np.append(True, np.diff(codes) != 0))
        for code in codes[starts]:
            tag = tags.dictionary[int(code)].as_py()
            if tag == current:
                continue
            if tag in over:
                return False
            current = tag
            over.add(tag)
    return len(over) > 1


def by_tag(timed: TimedRows, names: tuple[str, ...], piece_rows: int) -> Iterator[Piece]:
    """The samples of a file that is sorted by tag before time, all read into memory, as pieces in the order of time.

    Args:
        timed: Rows of the channels.
        names: Channels.
        piece_rows: Samples of a piece, about.

    Raises:
        BadTake: The rows of a tag are not in the order of time, there are more than fit, or one of them cannot be read.
    """
    parts: dict[str, list[Samples]] = {}
    newest: dict[str, int] = {}
    total = 0
    for tag, rows in timed.read_tags(timed.value_columns(names)):
        newest[tag] = _advanced(timed, rows, newest.get(tag), round(timed.options.disorder * 1e9))
        total += len(rows.ns)
        if total > timed.options.max_rows:
            raise BadTake(
                f"{timed.sheet.path}: is sorted by tag before time and has more than {timed.options.max_rows} samples of the mapped tags, "
                "too many to be sorted in memory; sort the file by time, or map fewer tags, or give the option max_rows"
            )
        for name, samples in timed.samples(rows, (tag,)).items():
            parts.setdefault(name, []).append(samples)
    found = {name: _sorted(joined(parts.pop(name))) for name in list(parts)}
    yield from _cut(found, {name: f"{timed.sheet.path}: {name}" for name in found}, piece_rows)


def _cut(found: Mapping[str, Samples], where: Mapping[str, str], piece_rows: int) -> Iterator[Piece]:
    done = dict.fromkeys(found, 0)
    while True:
        bound = _bound(found, done, piece_rows)
        streams = {}
        for name, samples in found.items():
            end = len(samples) if bound is None else int(np.searchsorted(samples.ns, bound))
            if end > done[name]:
                streams[name] = samples.at(slice(done[name], end)).stream(where[name])
                done[name] = end
        yield Piece(streams=streams, until=math.inf if bound is None else bound / 1e9)
        if bound is None:
            return


def _bound(found: Mapping[str, Samples], done: Mapping[str, int], piece_rows: int) -> int | None:
    """Time before which there are about as many samples as a piece may have; None when all that are left fit."""
    share = max(1, piece_rows // max(1, len(found)))
    ahead: Iterable[NDArray[np.int64]] = (samples.ns[done[name] + share :] for name, samples in found.items())
    return min((int(ns[0]) for ns in ahead if len(ns)), default=None)
