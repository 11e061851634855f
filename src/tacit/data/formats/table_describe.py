"""What a table holds, told by its first rows and its last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tacit.data.formats.table_cells import good, numbers, texts
from tacit.data.formats.table_order import is_by_tag
from tacit.data.formats.table_rows import Rows, TimedRows
from tacit.data.formats.table_sheet import CELLS, TextSheet
from tacit.data.streams import Channel, SourceError

HEAD = 20_000  # rows of a wide table that are looked at
LONG_HEAD = 200_000  # rows of a long one
TAG_HEAD = 2_000  # samples of a tag
_TAIL = 2**16  # bytes


@dataclass
class _Head:
    """The first samples of a channel, and how many cells were what."""

    ns: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    count: int = 0
    empty: int = 0
    wrong: str = ""
    flag: str = ""
    is_good: bool = False

    def add(self, ns: NDArray[np.int64], cells: pa.Array, flags: pa.Array | None, timed: TimedRows) -> None:
        read = numbers(cells, timed.options, timed.sheet.decimal)
        self.count += len(ns)
        self.empty += int((~read.present).sum())
        if read.wrong.any() and not self.wrong:
            self.wrong = str(cells[int(np.argmax(read.wrong))].as_py()).strip()
        if flags is not None and len(flags):
            self.is_good |= bool(good(flags, timed.options).any())
            self.flag = self.flag or texts(flags)[0].as_py()
        self.ns.append(ns[read.present])
        self.values.append(read.values[read.present])

    def channel(self, name: str, dtype: str, unit: str | None) -> Channel:
        ns = np.sort(np.concatenate(self.ns)) if self.ns else np.empty(0, np.int64)
        values = np.concatenate(self.values) if self.values else np.empty(0)
        known = values[~np.isnan(values)]
        interval = float(np.median(np.diff(ns))) / 1e9 if len(ns) > 1 else 0.0
        notes = []
        if self.wrong:
            notes.append(f"text such as {self.wrong!r}: give numbers for words with the option booleans, or list them in nulls")
        if self.empty and round(100 * self.empty / self.count):
            notes.append(f"about {100 * self.empty / self.count:.0f} % empty")
        if len(values) and round(100 * (len(values) - len(known)) / len(values)) and not self.wrong:
            notes.append(f"about {100 * (len(values) - len(known)) / len(values):.0f} % without a number")
        if len(known) > 1 and (known == known[0]).all():
            notes.append(f"always {known[0]:g} in the first rows")
        if self.flag and not self.is_good:
            notes.append(f"no quality flag is good, such as {self.flag!r}: see the option good")
        if dtype == "str" and (len(known) or not self.wrong):
            dtype = "float64"
        return Channel(name=name, dtype=dtype, unit=unit, rate=1 / interval if interval > 0 else None, note="; ".join(notes))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at a file tells.

    Attributes:
        channels: That it has.
        seconds: From its first row to its last, or None.
    """

    channels: tuple[Channel, ...]
    seconds: float | None


def look(timed: TimedRows) -> Look:
    """Look at the first rows of a file and its last one; at all rows only of a long table that is sorted by tag before time.

    Raises:
        SourceError: The file has no rows, or a time in its first rows cannot be read.
    """
    parts = _long_parts(timed) if timed.columns.tag is not None else _wide_parts(timed)
    heads: dict[str, _Head] = {}
    first, last, complete = None, None, True
    for part in parts:
        if part is None:
            complete = False
            break
        for name, cells, flags in part.columns:
            head = heads.setdefault(name, _Head())
            if timed.columns.tag is None or head.count < TAG_HEAD:
                head.add(part.rows.ns, cells, flags, timed)
        first = int(part.rows.ns.min()) if first is None else min(first, int(part.rows.ns.min()))
        last = int(part.rows.ns.max()) if last is None else max(last, int(part.rows.ns.max()))
    if first is None or last is None:
        raise SourceError(f"{timed.sheet.path}: has no rows of data below the header")
    end = last if complete else _last(timed)
    headings = {heading.name: heading for heading in timed.sheet.headings}
    value = headings[timed.columns.value or timed.columns.time]
    found = []
    for name, head in heads.items():
        own = headings[name] if timed.columns.tag is None else replace(value, unit=None)
        found.append(head.channel(name, own.dtype, own.unit))
    return Look(channels=tuple(found), seconds=None if end is None else max(0.0, (end - first) / 1e9))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    rows: Rows
    columns: list[tuple[str, pa.Array, pa.Array | None]]


def _wide_parts(timed: TimedRows) -> Iterator[_Part | None]:
    """The head of a wide table; None in the end when there is more."""
    channels = timed.columns.channels
    limit, seen = max(100, min(HEAD, CELLS // len(channels))), 0
    for rows in replace(timed, batch_rows=min(limit, timed.batch_rows)).read(timed.value_columns(tuple(channels))):
        if seen >= limit:
            yield None
            return
        yield _Part(rows=rows, columns=[(n, rows.cells[n], None if q is None else rows.cells[q]) for n, q in channels.items()])
        seen += len(rows.ns)


def _long_parts(timed: TimedRows) -> Iterator[_Part | None]:
    """The head of a long table, or all of it when it is sorted by tag; None in the end when there is more."""
    tags, value, quality = str(timed.columns.tag), str(timed.columns.value), timed.columns.quality
    blocks, seen = is_by_tag(timed), 0
    names = timed.value_columns(())
    split = timed.read_tags(names) if blocks else ((tag, rows) for every in timed.read(names) for tag, rows in every.by_value(tags))
    for tag, rows in split:
        if seen >= LONG_HEAD and not blocks:
            yield None
            return
        yield _Part(rows=rows, columns=[(tag, rows.cells[value], None if quality is None else rows.cells[quality])])
        seen += len(rows.ns)


def _last(timed: TimedRows) -> int | None:
    """Time of the last row, or None when it cannot be found without reading everything."""
    cells = _text_tail(timed) if isinstance(timed.sheet, TextSheet) else _parquet_tail(timed)
    try:
        return None if cells is None else int(timed.reader().read(cells, np.zeros(len(cells), np.int64)).max())
    except SourceError:
        return None


def _text_tail(timed: TimedRows) -> pa.Array | None:
    sheet = timed.sheet
    if not isinstance(sheet, TextSheet) or sheet.path.suffix == ".gz":
        return None
    place = next(i for i, heading in enumerate(sheet.headings) if heading.name == timed.columns.time)
    try:
        with sheet.path.open("rb") as file:
            file.seek(max(0, sheet.path.stat().st_size - _TAIL))
            lines = file.read().decode(sheet.encoding, errors="replace").splitlines()
    except (OSError, UnicodeError):
        return None
    whole = [cells for line in lines[1:] if len(cells := line.split(sheet.delimiter)) == len(sheet.headings) and cells[place].strip()]
    return pa.array([whole[-1][place].strip().strip('"')]) if whole else None


def _parquet_tail(timed: TimedRows) -> pa.Array | None:
    raw = next(heading.raw for heading in timed.sheet.headings if heading.name == timed.columns.time)
    try:
        with pq.ParquetFile(timed.sheet.path) as file:
            filled = [group for group in range(file.num_row_groups) if file.metadata.row_group(group).num_rows]
            cells = file.read_row_group(filled[-1], columns=[raw])[raw].combine_chunks()
            return cells.slice(len(cells) - 1)
    except (pa.ArrowException, OSError, IndexError):
        return None


def episodes(timed: TimedRows) -> tuple[str, ...]:
    """Values of the episode column in the order of the file; one pass through this column.

    Raises:
        SourceError: The rows of an episode do not stand together.
    """
    column = str(timed.columns.episode)
    found: list[str] = []
    for cells, rows in timed.raw((column,)):
        coded = pc.dictionary_encode(texts(cells[column]))
        codes = coded.indices.to_numpy()
        starts = np.append(0, 1 + np.flatnonzero(np.diff(codes)))
        for start in starts:
            name = coded.dictionary[int(codes[start])].as_py()
            if not name or (found and name == found[-1]):
                continue
            if name in found:
                raise SourceError(f"{timed.sheet.path}, row {rows[start]}: episode {name!r} begins again; sort the file by {column!r}")
            found.append(name)
    return tuple(found)
