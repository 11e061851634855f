"""The table beside a video: a text file of rows with time stamps."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from tacit.data.streams import BadTake

TIME_NAMES = ("time", "timestamp", "t", "ts", "stamp", "datetime", "date_time", "seconds", "time_s")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
NOTHING = ("", "nan", "na", "n/a", "null", "none", "-nan", "#n/a")
STAMPS = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))  # dates without and with a zone
HEADER_ROWS = 1
FIRST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Table:
    """A CSV file whose first line names its columns; separated by comma, semicolon or tab.

    Attributes:
        path: The file.
        names: Of its columns.
        separator: Between two cells.
    """

    path: Path
    names: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, path: Path) -> Table:
        """Read the header.

        Raises:
            BadTake: The file cannot be read, is empty, or its header names a column twice.
        """
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                line = file.readline()
        except (OSError, UnicodeDecodeError) as error:
            raise BadTake(f"{path} cannot be read: {error}; save it as CSV in UTF-8") from error
        if not line.strip():
            raise BadTake(f"{path} is empty; row 1 must name the columns")
        separator = max(",;\t", key=line.count)
        names = tuple(name.strip() for name in next(csv.reader([line], delimiter=separator)))
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise BadTake(f"{path}: row 1 names column {doubled[0]!r} twice; give each column its own name")
        return cls(path=path, names=names, separator=separator)

    def time_name(self, wanted: str | None) -> str:
        """Name of the column of time stamps: the one that is wanted, or the one that is called like it.

        Raises:
            BadTake: There is none.
        """
        if wanted is not None:
            self.require(wanted, "time")
            return wanted
        for name in self.names:
            if name.lower() in TIME_NAMES or name.lower().startswith(("time_", "timestamp_")):
                return name
        raise BadTake(
            f'{self.path}: no column is called like a time ({", ".join(TIME_NAMES[:4])}); set time = "..." to one of: {self._all}'
        )

    def require(self, name: str, what: str) -> None:
        """Refuse the name of a column that is not there.

        Raises:
            BadTake: The message lists the columns that there are.
        """
        if name not in self.names:
            raise BadTake(f"{self.path} has no column {name!r} ({what}); it has: {self._all}")

    @property
    def _all(self) -> str:
        return ", ".join(self.names)

    def first_rows(self) -> pa.Table:
        """The rows of the first megabyte, as text.

        Raises:
            BadTake: A row has too many or too few cells.
        """
        return self._cells(self.names, is_start=True)

    def read(self, names: tuple[str, ...]) -> pa.Table:
        """Some columns, all rows, as text.

        Raises:
            BadTake: A row has too many or too few cells, or there is no row; with its number.
        """
        return self._cells(names, is_start=False)

    def _cells(self, names: tuple[str, ...], *, is_start: bool) -> pa.Table:
        options = {
            "read_options": pacsv.ReadOptions(
                column_names=list(self.names), skip_rows=HEADER_ROWS, use_threads=False, block_size=FIRST_BYTES, encoding="utf8"
            ),
            "parse_options": pacsv.ParseOptions(delimiter=self.separator),
            "convert_options": pacsv.ConvertOptions(column_types={name: pa.string() for name in names}, include_columns=list(names)),
        }
        try:
            if is_start:
                with pacsv.open_csv(self.path, **options) as reader:
                    rows = pa.Table.from_batches([reader.read_next_batch()])
            else:
                rows = pacsv.read_csv(self.path, **options)
        except StopIteration as error:
            raise self._empty() from error
        except (pa.ArrowException, OSError) as error:
            if "Empty CSV" in str(error):
                raise self._empty() from error
            raise BadTake(f"{self.path} cannot be read as a table: {error}; correct or delete that row") from error
        if not rows.num_rows:
            raise self._empty()
        return rows

    def _empty(self) -> BadTake:
        return BadTake(f"{self.path} has no row below the names of its columns; leave this take out")

    def numbers(self, rows: pa.Table, name: str) -> NDArray[np.float64]:
        """A column as numbers, (rows,); NaN where a cell is empty.

        Raises:
            BadTake: A cell is not a number; with its row.
        """
        cells = _cleaned(rows[name])
        try:
            return _float64(pc.cast(cells, pa.float64()))
        except pa.ArrowException:
            pass
        try:
            return _float64(pc.cast(pc.cast(cells, pa.bool_()), pa.float64()))
        except pa.ArrowException as error:
            row, value = _first_bad(cells)
            raise BadTake(
                f"{self.path}: row {row}, column {name!r} is {value!r}, not a number; empty the cell or correct it, or leave the column out"
            ) from error

    def times(self, rows: pa.Table, name: str, unit: str | None) -> NDArray[np.float64]:
        """The column of time stamps in seconds, (rows,): numbers in a unit, or dates (ISO 8601; without a zone they are taken as UTC).

        Args:
            rows: What was read.
            name: Of the column.
            unit: `s`, `ms`, `us` or `ns`; None for the one that the name ends with, or seconds.

        Raises:
            BadTake: A cell is neither; with its row.
        """
        cells = _cleaned(rows[name])
        ending = name.lower().rsplit("_", 1)[-1]
        scale = UNITS[unit or (ending if ending in UNITS else "s")]
        try:
            return _float64(pc.cast(cells, pa.float64())) * scale
        except pa.ArrowException:
            pass
        for kind in STAMPS:
            try:
                stamps = pc.cast(cells, kind)
            except pa.ArrowException:
                continue
            whole = pc.cast(stamps, pa.int64())
            return _float64(pc.cast(whole, pa.float64(), safe=False)) / 1e9
        row, value = _first_bad(cells)
        raise BadTake(
            f"{self.path}: row {row}, column {name!r} is {value!r}, neither a number nor a date (2024-05-01T12:00:00.5); correct it"
        )


def row_numbers(count: int) -> NDArray[np.int64]:
    """Where the rows of a table stand in its file, counted from 1 and with the header, int64 (count,)."""
    return np.arange(count, dtype=np.int64) + HEADER_ROWS + 1


def dtype_of(cells: pa.ChunkedArray) -> str | None:
    """What a column of text holds: `int64`, `float64` or `bool`; None for text."""
    cleaned = _cleaned(cells)
    for kind, name in ((pa.int64(), "int64"), (pa.float64(), "float64"), (pa.bool_(), "bool")):
        try:
            pc.cast(cleaned, kind)
        except pa.ArrowException:
            continue
        return "float64" if cleaned.null_count else name
    return None


def _cleaned(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(cells)
    is_nothing = pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(NOTHING))
    return pc.if_else(is_nothing, pa.scalar(None, pa.string()), trimmed)


def _float64(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(pc.fill_null(column, math.nan).to_numpy(), np.float64)


def _is_time(cell: str) -> bool:
    for kind in (pa.float64(), *STAMPS):
        try:
            pc.cast(pa.scalar(cell), kind)
        except pa.ArrowException:
            continue
        return True
    return False


def _first_bad(cells: pa.ChunkedArray) -> tuple[int, str]:
    for row, cell in enumerate(cells.to_pylist()):
        if cell is not None and not _is_time(cell):
            return row + HEADER_ROWS + 1, cell
    return HEADER_ROWS + 1, str(cells[0].as_py())
