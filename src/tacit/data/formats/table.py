"""Format `table`: exports of historians and loggers as CSV or Parquet, wide (a column per channel) or long (a row per sample).

Files are read a few thousand rows at a time, whatever their size. Empty cells of a wide table are no samples, so that channels of
different rates may share a table; words for "no value", and every sample whose quality flag is not a good one, are bad samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tacit.data.formats.names import natural_order
from tacit.data.formats.table_columns import Columns, columns_of
from tacit.data.formats.table_describe import Look, episodes, look
from tacit.data.formats.table_options import TableOptions
from tacit.data.formats.table_order import by_tag, is_by_tag, ordered
from tacit.data.formats.table_rows import TimedRows
from tacit.data.formats.table_sheet import Sheet, TextSheet, is_table, open_sheet
from tacit.data.streams import BadTake, Description, Piece, SourceError

_OTHERS = (".mp4", ".mkv", ".avi", ".mov", ".h5", ".hdf5", ".mcap", ".bag", ".db3", ".npz", ".npy", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class Table:
    """The format `table`.

    Attributes:
        batch_rows: Rows that are held at once, at most; fewer where there are many columns.
    """

    name: str = "table"
    summary: str = "CSV (also .gz) and Parquet: one column per channel, or rows of time, tag and value"
    extra: str | None = None
    batch_rows: int = 65_536

    def recognises(self, path: Path) -> bool:
        try:
            if path.is_dir() and any(p.name.lower().endswith(_OTHERS) for p in path.iterdir()):
                return False
            files = _files(path)
            return is_table(files[0]) and bool(self._timed(files[0], TableOptions()).columns.time)
        except (SourceError, OSError):
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Look at the first rows of each file, and its last one.

        All rows are gone through only where takes are the values of an episode column, and of a long table that is sorted by tag. The
        channels are those of the first file that can be read; of a long table, those in its first rows: a rarer tag may be mapped too.

        Raises:
            SourceError: No file can be read, a column cannot be told, or an option is unknown or wrong.
        """
        chosen = TableOptions.parse(options)
        files = _files(path)
        looks: list[Look] = []
        faults: list[SourceError] = []
        timed: TimedRows | None = None
        takes: list[str] = []
        for file in files:
            try:
                one = self._timed(file, chosen)
                found = look(one)
                own = episodes(one) if chosen.episode is not None else ()
            except SourceError as error:
                faults.append(error)
                own = ()
            else:
                looks.append(found)
                timed = timed or one
            takes += [f"{file.name}:{name}" if path.is_dir() else name for name in own] if chosen.episode is not None else [file.name]
        if timed is None:
            raise SourceError(str(faults[0]))
        known = [one.seconds for one in looks if one.seconds is not None]
        return Description(
            channels=looks[0].channels,
            takes=(path.name,) if chosen.join and path.is_dir() else tuple(takes),
            seconds=sum(known) if len(known) == len(files) else None,
            options=_options(timed.sheet, timed.columns, options),
        )

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read channels of one take, a few thousand rows at a time.

        Raises:
            BadTake: A row or cell cannot be read, rows are not in the order of time, or a channel is missing in this file.
            SourceError: The source lacks a take or a channel, or an option is unknown or wrong.
        """
        chosen = TableOptions.parse(options)
        files = _files(path)
        if chosen.join and path.is_dir():
            own, episode = files, None
        else:
            own, episode = _of_take(path, files, take, chosen)
        timed = [replace(one, episode=episode) for one in (self._readable(file, chosen) for file in own)]
        for one in timed:
            self._require(one, names, files[0], chosen)
        if timed[0].columns.tag is None:
            yield from ordered(timed, names)
            return
        only = [replace(one, tags=names) for one in timed]
        blocks = len(names) > 1 and len(timed) == 1 and is_by_tag(timed[0])
        pieces = by_tag(only[0], names, self.batch_rows) if blocks else ordered(only, names)
        missing = set(names)
        for piece in pieces:
            missing -= set(piece.streams)
            if piece.until == math.inf and missing:
                raise BadTake(f"{own[-1]}: has no row with the tag {min(missing)!r} in this take")
            yield piece

    def _timed(self, file: Path, options: TableOptions) -> TimedRows:
        sheet = open_sheet(file, options)
        return TimedRows(sheet=sheet, columns=columns_of(sheet, options), options=options, batch_rows=self.batch_rows)

    def _readable(self, file: Path, options: TableOptions) -> TimedRows:
        try:
            return self._timed(file, options)
        except SourceError as error:
            raise BadTake(str(error)) from error

    def _require(self, timed: TimedRows, names: tuple[str, ...], first: Path, options: TableOptions) -> None:
        """Refuse a wide file that lacks a channel: as a bad source when the first one lacks it too."""
        lacking = [name for name in names if timed.columns.tag is None and name not in timed.columns.channels]
        if not lacking:
            return
        message = f"{timed.sheet.path}: has no column {lacking[0]!r}; there are: {', '.join(timed.columns.channels)}"
        try:
            everywhere = timed.sheet.path == first or lacking[0] not in self._timed(first, options).columns.channels
        except SourceError:
            everywhere = False
        raise SourceError(message) if everywhere else BadTake(message)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise SourceError(f"{path} does not exist")
        return [path]
    files = sorted((file for file in path.iterdir() if file.is_file() and is_table(file)), key=lambda file: natural_order(file.name))
    if not files:
        raise SourceError(f"{path}: has no .csv, .csv.gz, .tsv, .txt or .parquet file")
    return files


def _of_take(path: Path, files: list[Path], take: str, options: TableOptions) -> tuple[list[Path], str | None]:
    """Files of a take, and the value of the episode column in them."""
    for file in files:
        if options.episode is None and take == file.name:
            return [file], None
        if options.episode is not None and path.is_dir() and take.startswith(file.name + ":"):
            return [file], take.removeprefix(file.name + ":")
    if options.episode is not None and not path.is_dir():
        return files, take
    raise SourceError(f"{path}: has no take {take!r}; there are: {', '.join(file.name for file in files)}")


def _options(sheet: Sheet, columns: Columns, given: Mapping[str, object]) -> dict[str, object]:
    """What was taken for the options that can be recognised, beside those that were given."""
    found: dict[str, object] = {"time": columns.time, "layout": "wide" if columns.tag is None else "long"}
    found |= {name: value for name in ("tag", "value", "quality") if (value := getattr(columns, name)) is not None}
    if columns.time_unit != "s":
        found["time_unit"] = columns.time_unit
    if isinstance(sheet, TextSheet):
        found |= {"delimiter": sheet.delimiter, "decimal": sheet.decimal}
    return {**found, **given}


TABLE = Table()
