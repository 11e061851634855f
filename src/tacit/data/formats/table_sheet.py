"""Files of rows and columns, read as batches of raw cells: text files with a separator, and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tacit.data.formats.table_options import TableOptions
from tacit.data.streams import BadTake, SourceError

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt", ".txt.gz")

BLOCK = 4 * 2**20  # bytes of text that are parsed at once
CELLS = 1_000_000  # that are held at once
_HEAD = 2**20
_DELIMITERS = ("\t", ";", ",", "|")
_UNIT = re.compile(r"^(?P<name>.*\S)\s*(?:\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\))$")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above a column.

    Attributes:
        name: Unique in its file, without the unit.
        raw: As it is written.
        unit: Or None.
        dtype: numpy name, or `str` for text; empty for what is neither number nor text nor time.
    """

    name: str
    raw: str
    unit: str | None = None
    dtype: str = "str"


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        first: Number of the first one, as a person counts it.
        cells: By name of the column, each of the same length.
    """

    first: int
    cells: dict[str, pa.Array]


class Sheet(Protocol):
    """A file of rows and columns.

    Attributes:
        path: Of the file.
        headings: Of its columns.
        decimal: Decimal sign of numbers that are text.
    """

    @property
    def path(self) -> Path: ...
    @property
    def headings(self) -> tuple[Heading, ...]: ...
    @property
    def decimal(self) -> str: ...

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[Batch]:
        """Read some columns from the first row to the last, a few rows at a time.

        Args:
            columns: Their names.
            rows: Of a batch, at most.

        Raises:
            BadTake: The file is damaged; the message names the row where it is known.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TextSheet:
    """A text file with a separator.

    Attributes:
        path: Of the file.
        headings: Of its columns.
        first: Number of the first row of data, where the first line of the file is 1.
        delimiter: Between the cells of a row.
        decimal: Decimal sign.
        encoding: Of the text.
    """

    path: Path
    headings: tuple[Heading, ...]
    first: int
    delimiter: str
    decimal: str
    encoding: str

    @classmethod
    def open(cls, path: Path, options: TableOptions) -> TextSheet:
        """Look at the head of a file.

        Raises:
            SourceError: It is empty, or no table.
        """
        text, complete = _head(path, options.encoding)
        lines = text.splitlines()[options.skip_rows :]
        if not complete:
            lines = lines[:-1]
        if not lines or not lines[0].strip():
            raise SourceError(
                f"{path}: has no header in row {options.skip_rows + 1}; the option skip_rows leaves out rows above the header"
            )
        try:
            delimiter = options.delimiter or _delimiter(lines)
            rows = list(csv.reader(io.StringIO("\n".join(lines[:50])), delimiter=delimiter))
        except (csv.Error, TypeError, ValueError) as error:
            raise SourceError(f"{path}: is no table: {error}; see the option delimiter") from error
        raw = [cell.strip() for cell in rows[0]]
        if len(raw) < 2:
            raise SourceError(f"{path}: has only one column, {raw[0]!r}, as far as can be told; give the option delimiter")
        units: list[str] = []
        if options.units_row:
            units = [cell.strip() for cell in rows[1]] if len(rows) > 1 else []
            if len(units) != len(raw):
                raise SourceError(f"{path}: has {len(units)} units in row {options.skip_rows + 2} for {len(raw)} columns; see units_row")
        first = options.skip_rows + 2 + options.units_row
        decimal = options.decimal or _decimal(rows[1 + options.units_row :], delimiter)
        headings = _headings(path, raw, units, ["str"] * len(raw))
        return cls(path=path, headings=headings, first=first, delimiter=delimiter, decimal=decimal, encoding=options.encoding)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[Batch]:
        names = [heading.name or f"\0{place}" for place, heading in enumerate(self.headings)]
        wrong: list[pa_csv.InvalidRow] = []

        def note(row: pa_csv.InvalidRow) -> str:
            wrong.append(row)
            return "skip"

        read = pa_csv.ReadOptions(skip_rows=self.first - 1, column_names=names, block_size=BLOCK, use_threads=False, encoding=self.encoding)
        parse = pa_csv.ParseOptions(delimiter=self.delimiter, ignore_empty_lines=False, invalid_row_handler=note)
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=list(columns), strings_can_be_null=False
        )
        number = self.first
        try:
            reader = pa_csv.open_csv(str(self.path), read_options=read, parse_options=parse, convert_options=convert)
            for batch in _gathered(reader, rows):
                if wrong:
                    break
                for start in range(0, batch.num_rows, rows):
                    part = batch.slice(start, rows)
                    yield Batch(first=number, cells=dict(zip(part.schema.names, part.columns, strict=True)))
                    number += part.num_rows
        except (pa.ArrowException, OSError, EOFError) as error:
            if "Empty CSV" in str(error) and not wrong:
                return
            if not wrong:
                remedy = "; give the option encoding" if "UTF8" in str(error) or "UTF-8" in str(error) else ""
                raise BadTake(f"{self.path}, after row {number - 1}: cannot be read: {error}{remedy}") from error
        if wrong:
            bad = wrong[0]
            raise BadTake(
                f"{self.path}, row {bad.number}: has {bad.actual_columns} cells, but the header has {bad.expected_columns}; correct the "
                "row, or remove it where the recording broke off"
            )


@dataclass(frozen=True, kw_only=True)
class ParquetSheet:
    """A Parquet file; its rows are counted from 0, as in a data frame.

    Attributes:
        path: Of the file.
        headings: Of its columns.
        decimal: Decimal sign of numbers that are text.
    """

    path: Path
    headings: tuple[Heading, ...]
    decimal: str = "."

    @classmethod
    def open(cls, path: Path, options: TableOptions) -> ParquetSheet:
        """Look at the schema of a file.

        Raises:
            SourceError: It is damaged.
        """
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path}: cannot be read as Parquet: {error}") from error
        return cls(
            path=path,
            headings=_headings(path, schema.names, [], [_dtype(kind) for kind in schema.types]),
            decimal=options.decimal or ".",
        )

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[Batch]:
        raw = {heading.raw: heading.name for heading in self.headings if heading.name in columns}
        number = 0
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=2**16) as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(raw), use_threads=False):
                    cells = {raw[name]: cells for name, cells in zip(batch.schema.names, batch.columns, strict=True) if name in raw}
                    yield Batch(first=number, cells=cells)
                    number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise BadTake(f"{self.path}, after row {number - 1}: cannot be read: {error}; write the file again") from error


def open_sheet(path: Path, options: TableOptions) -> TextSheet | ParquetSheet:
    """Look at the head of a file.

    Raises:
        SourceError: It is empty, damaged or no table.
    """
    return ParquetSheet.open(path, options) if path.suffix.lower() in PARQUET else TextSheet.open(path, options)


def is_table(path: Path) -> bool:
    """Has the file the name of a table?"""
    return path.name.lower().endswith((*PARQUET, *TEXT)) and not path.name.startswith(".")


def _head(path: Path, encoding: str) -> tuple[str, bool]:
    """Text at the beginning of a file, and whether it is all of it."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            data = stream.read(_HEAD)
        decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)("strict")
        text = decoder.decode(data)
    except UnicodeDecodeError as error:
        raise SourceError(f'{path}: is not {encoding} text; give the option encoding, such as "cp1252" or "utf-16"') from error
    except LookupError as error:
        raise SourceError(f'option encoding: {encoding!r} is unknown; use a name such as "utf-8" or "cp1252"') from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    if not text.strip():
        raise SourceError(f"{path}: is empty; it needs a header and rows")
    if "\0" in text:
        raise SourceError(f'{path}: is not {encoding} text; give the option encoding, such as "utf-16"')
    return text, len(data) < _HEAD


def _gathered(reader: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of at least half of some number of rows: a wide table has few rows in a block, and each batch has its cost."""
    held: list[pa.RecordBatch] = []
    for batch in reader:
        held.append(batch)
        if 2 * sum(part.num_rows for part in held) >= rows:
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _delimiter(lines: list[str]) -> str:
    """The sign that cuts the first lines into most columns, the same number in each; where several do, the one less used otherwise."""
    best, most = ",", 1
    for sign in _DELIMITERS:
        counts = [len(row) for row in csv.reader(io.StringIO("\n".join(line for line in lines[:20] if line.strip())), delimiter=sign)]
        if counts[0] > most and all(a == b for a, b in pairwise(counts[:2])):
            best, most = sign, counts[0]
            if sign != ",":
                break
    return best


def _decimal(rows: list[list[str]], delimiter: str) -> str:
    """A comma only where it is sure: 1,234 may be a thousand."""
    cells = [cell.strip() for row in rows for cell in row]
    pointed = any(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", cell) for cell in cells)
    comma = any(re.fullmatch(r"[+-]?(\d+,(\d{1,2}|\d{4,})|0,\d+)([eE][+-]?\d+)?", cell) for cell in cells)
    return "," if comma and not pointed and delimiter != "," else "."


def _headings(path: Path, raw: Sequence[str], units: Sequence[str], dtypes: Sequence[str]) -> tuple[Heading, ...]:
    if doubled := sorted({name for name in raw if name and list(raw).count(name) > 1}):
        raise SourceError(f"{path}: has several columns {doubled[0]!r}; give each its own name")
    if units:
        return tuple(Heading(name=n, raw=n, unit=u or None, dtype=d) for n, u, d in zip(raw, units, dtypes, strict=True))
    split = [(match["name"], match["square"] or match["round"]) if (match := _UNIT.match(name)) else (name, None) for name in raw]
    short = [name for name, _ in split]
    headings = []
    for name, (stripped, unit), dtype in zip(raw, split, dtypes, strict=True):
        only = short.count(stripped) == 1  # else it is no unit that stands there: flow (in), flow (out)
        headings.append(Heading(name=stripped if only else name, raw=name, unit=(unit or None) if only else None, dtype=dtype))
    return tuple(headings)


def _dtype(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "str"
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "float64"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "datetime64"
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).name)
    return ""
