"""Rows of a table as samples of its channels: timed, as numbers, and good or bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.data.formats.table_cells import good, numbers, numpy_bool, texts
from tacit.data.formats.table_columns import Columns
from tacit.data.formats.table_options import TableOptions
from tacit.data.formats.table_sheet import CELLS, Sheet
from tacit.data.formats.table_time import TimeReader
from tacit.data.streams import BadTake, Stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of one channel.

    Attributes:
        ns: Nanoseconds since 1970 in UTC, int64 (N,).
        values: float64 (N,).
        valid: False where the source says that a sample is bad, bool (N,).
        rows: Of each in its file, int64 (N,).
    """

    ns: NDArray[np.int64]
    values: NDArray[np.float64]
    valid: NDArray[np.bool_]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ns)

    def at(self, index: slice | NDArray[np.generic]) -> Samples:
        """Some of the samples."""
        return Samples(ns=self.ns[index], values=self.values[index], valid=self.valid[index], rows=self.rows[index])

    def stream(self, where: str) -> Stream:
        """The samples as a format gives them."""
        return Stream(time=self.ns / 1e9, values=self.values, where=where, valid=self.valid, rows=self.rows)


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Samples(
        ns=np.concatenate([p.ns for p in parts]),
        values=np.concatenate([p.values for p in parts]),
        valid=np.concatenate([p.valid for p in parts]),
        rows=np.concatenate([p.rows for p in parts]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Some rows of a file.

    Attributes:
        ns: Nanoseconds since 1970 in UTC, int64 (N,).
        numbers: Of the rows, as a person counts them, int64 (N,).
        cells: By name of the column, each (N,).
    """

    ns: NDArray[np.int64]
    numbers: NDArray[np.int64]
    cells: dict[str, pa.Array]

    def by_value(self, column: str) -> Iterator[tuple[str, Rows]]:
        """The rows of each value of a column."""
        for value, index in _split(self.cells[column]):
            place = pa.array(index)
            cells = {name: cells.take(place) for name, cells in self.cells.items()}
            yield value, Rows(ns=self.ns[index], numbers=self.numbers[index], cells=cells)


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedRows:
    """The rows of one file, or of one episode in it, with their times.

    Attributes:
        sheet: The file.
        columns: What its columns are.
        options: As a person gave them.
        episode: Only the rows of this one; None for all.
        tags: Long: only the rows of these channels; None for all.
        batch_rows: Rows that are held at once, at most.
    """

    sheet: Sheet
    columns: Columns
    options: TableOptions
    episode: str | None = None
    tags: tuple[str, ...] | None = None
    batch_rows: int = 65_536

    def read(self, names: Sequence[str]) -> Iterator[Rows]:
        """Go through the rows from the first to the last.

        Args:
            names: Columns to read besides those that tell which rows to take.

        Raises:
            BadTake: A row has no time, or none that can be read; the message names it.
        """
        reader = self.reader()
        for cells, rows in self.raw(names):
            ns = reader.read(cells[self.columns.time], rows)
            yield Rows(ns=ns, numbers=rows, cells=cells)

    def read_tags(self, names: Sequence[str]) -> Iterator[tuple[str, Rows]]:
        """As `read`, for a long table that is sorted by tag before time: the rows of each tag have an order of their own."""
        readers: dict[str, TimeReader] = {}
        for cells, rows in self.raw(names):
            for tag, index in _split(cells[str(self.columns.tag)]):
                if tag not in readers:
                    readers[tag] = replace(self, tags=(tag,)).reader()
                own = {name: column.take(pa.array(index)) for name, column in cells.items()}
                ns = readers[tag].read(own[self.columns.time], rows[index])
                yield tag, Rows(ns=ns, numbers=rows[index], cells=own)

    def reader(self) -> TimeReader:
        """Reader of the timestamps of these rows."""
        return TimeReader(
            self.options, unit=self.columns.time_unit, decimal=self.sheet.decimal, where=str(self.sheet.path), again=self._times
        )

    def _times(self) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
        for cells, rows in self.raw(()):
            yield cells[self.columns.time], rows

    def raw(self, names: Sequence[str]) -> Iterator[tuple[dict[str, pa.Array], NDArray[np.int64]]]:
        """Cells by column, and numbers of their rows; names as for `read`."""
        wanted = [self.columns.time, self.columns.episode, self.columns.tag if self.tags is not None else None, *names]
        columns = tuple(dict.fromkeys(name for name in wanted if name is not None))
        begun = False
        for batch in self.sheet.batches(columns, max(1, min(self.batch_rows, CELLS // len(columns)))):
            keep = self._kept(batch.cells)
            if keep.any():
                rows = batch.first + np.flatnonzero(keep)
                begun = True
                mask = pa.array(keep)
                yield (batch.cells if keep.all() else {name: cells.filter(mask) for name, cells in batch.cells.items()}), rows
            if begun and self.episode is not None and self._over(batch.cells):
                return

    def _kept(self, cells: dict[str, pa.Array]) -> NDArray[np.bool_]:
        """Which rows are of the episode and channels, and not blank in all columns that are read."""
        time = cells[self.columns.time]
        keep = np.ones(len(time), np.bool_)
        if pa.types.is_string(time.type):
            keep = numpy_bool(pc.not_equal(pc.fill_null(time, ""), ""))
            if not keep.all():
                for other in cells.values():
                    keep |= numpy_bool(pc.not_equal(texts(other), ""))
        if self.episode is not None and self.columns.episode is not None:
            keep &= numpy_bool(pc.equal(texts(cells[self.columns.episode]), self.episode))
        if self.tags is not None and self.columns.tag is not None:
            keep &= numpy_bool(pc.is_in(texts(cells[self.columns.tag]), value_set=pa.array(self.tags, pa.string())))
        return keep

    def _over(self, cells: dict[str, pa.Array]) -> bool:
        last = texts(cells[str(self.columns.episode)].slice(len(cells[self.columns.time]) - 1))[0].as_py()
        return last not in (self.episode, "")

    def value_columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Columns that hold the values and flags of channels, and the tags that tell them apart."""
        if self.columns.tag is not None:
            return tuple(c for c in (self.columns.tag, self.columns.value, self.columns.quality) if c is not None)
        return tuple(c for name in names for c in (name, self.columns.channels[name]) if c is not None)

    def samples(self, rows: Rows, names: Sequence[str]) -> dict[str, Samples]:
        """Samples of channels; one without any is left out.

        Args:
            rows: With the columns that `value_columns` names.
            names: Channels.

        Raises:
            BadTake: A cell is no number and no word that the options name; the message names row and column.
        """
        if self.columns.tag is None:
            found = {name: self._samples(rows, name, self.columns.channels[name]) for name in names}
            return {name: samples for name, samples in found.items() if len(samples)}
        every = self._samples(rows, str(self.columns.value), self.columns.quality, sparse=False)
        return {name: every.at(index) for name, index in _split(rows.cells[self.columns.tag]) if name in names}

    def _samples(self, rows: Rows, column: str, flags: str | None, *, sparse: bool = True) -> Samples:
        """Samples of one column; where it is sparse, an empty cell is none, else a bad one."""
        cells = rows.cells[column]
        read = numbers(cells, self.options, self.sheet.decimal)
        if read.wrong.any():
            place = int(np.argmax(read.wrong))
            raise self._no_number(int(rows.numbers[place]), column, cells[place].as_py())
        valid = ~np.isnan(read.values)
        if flags is not None:
            valid &= good(rows.cells[flags], self.options)
        samples = Samples(ns=rows.ns, values=read.values, valid=valid, rows=rows.numbers)
        return samples if read.present.all() or not sparse else samples.at(read.present)

    def _no_number(self, row: int, column: str, cell: str) -> BadTake:
        remedy = f"give its number with the option booleans, such as {{{cell.strip()!r} = 1}}, or list it in nulls if it means no value"
        if any(c.isdigit() for c in cell) and set(cell.strip()) <= set("+-0123456789.,eE' "):
            remedy = f"numbers here have the decimal sign {self.sheet.decimal!r} and no other; see the option decimal"
        return BadTake(f"{self.sheet.path}, row {row}, column {column!r}: {cell!r} is not a number; {remedy}")


def _split(tags: pa.Array) -> list[tuple[str, NDArray[np.int64]]]:
    """Each tag and the places where it stands, in their order."""
    coded = texts(tags).dictionary_encode()
    codes = coded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(coded.dictionary) + 1))
    return [(str(tag), order[ends[code] : ends[code + 1]]) for code, tag in enumerate(coded.dictionary.to_pylist())]
