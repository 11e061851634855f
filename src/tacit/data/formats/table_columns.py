"""Which column of a table is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tacit.data.formats.table_cells import texts
from tacit.data.formats.table_options import UNITS, TableOptions
from tacit.data.formats.table_sheet import Heading, Sheet
from tacit.data.streams import BadTake, SourceError

_TIMES = ("timestamp", "time", "datetime", "date_time", "date time", "zeitstempel", "zeit", "ts", "t", "date", "datum")
_TAGS = ("tag", "tagname", "tag_name", "tag name", "point", "pointname", "signal", "name", "variable", "sensor", "channel", "item")
_VALUES = ("value", "val", "wert", "reading")
_QUALITIES = ("quality", "q", "status", "qualität", "opcquality")
_ISO = r"^\d{4}-\d{2}-\d{2}"
PEEK = 200  # rows to recognise a column by


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        time: Of the timestamps.
        time_unit: Of timestamps that are numbers.
        episode: Of the names of takes, or None.
        channels: Wide: the columns of values, by name, and the column of quality flags of each, or None. Empty for a long table.
        tag: Long: of the names of channels; None for a wide table.
        value: Long: of the values.
        quality: Long: of the quality flags, or None.
    """

    time: str
    time_unit: str
    episode: str | None
    channels: Mapping[str, str | None]
    tag: str | None = None
    value: str | None = None
    quality: str | None = None


def columns_of(sheet: Sheet, options: TableOptions) -> Columns:
    """Which column of a file is what: as the options say, else by their names and first cells.

    Raises:
        SourceError: The file lacks a column, or it cannot be told which one it is.
    """
    headings = {heading.name: heading for heading in sheet.headings if heading.name}
    time = _named(sheet, options.time, "time") or _time(sheet, headings)
    unit = options.time_unit or ((headings[time].unit or "") if headings[time].unit in UNITS else "s")
    episode = _named(sheet, options.episode, "episode")
    rest = [name for name in headings if name not in (time, episode) and headings[name].dtype not in ("", "datetime64")]
    tag = _named(sheet, options.tag, "tag") or _first(rest, _TAGS)
    value = _named(sheet, options.value, "value") or _first(rest, _VALUES)
    asked = options.layout == "long" or options.tag is not None or options.value is not None
    if options.layout != "wide" and (asked or (tag is not None and value is not None and headings[tag].dtype == "str")):
        if tag is None or value is None:
            raise SourceError(f"{sheet.path}: give the options tag and value, the columns of a long table; there are: {', '.join(rest)}")
        quality = _named(sheet, options.quality, "quality") or _first([n for n in rest if n not in (tag, value)], _QUALITIES)
        return Columns(time=time, time_unit=unit, episode=episode, channels={}, tag=tag, value=value, quality=quality)
    if options.quality is not None:
        raise SourceError('option quality: is for layout = "long"; a wide table has a column of flags for each channel: quality_suffix')
    suffix = options.quality_suffix
    flags = {name for name in rest if suffix and name.endswith(suffix) and name.removesuffix(suffix) in rest}
    channels = {name: name + suffix if name + suffix in flags else None for name in rest if name not in flags}
    if not channels:
        raise SourceError(f"{sheet.path}: has no column besides the time")
    return Columns(time=time, time_unit=unit, episode=episode, channels=channels)


def _named(sheet: Sheet, name: str | None, option: str) -> str | None:
    if name is None:
        return None
    for heading in sheet.headings:
        if heading.name and name in (heading.name, heading.raw):
            return heading.name
    found = ", ".join(heading.name for heading in sheet.headings if heading.name)
    raise SourceError(f"{sheet.path}: has no column {name!r}, which the option {option} names; there are: {found}")


def _first(names: list[str], known: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in known if name in lower), None)


def _time(sheet: Sheet, headings: Mapping[str, Heading]) -> str:
    if named := _first(list(headings), _TIMES):
        return named
    if stamped := [name for name, heading in headings.items() if heading.dtype == "datetime64"]:
        return stamped[0]
    first = next(iter(headings), "")
    if first and headings[first].dtype == "str" and _is_iso(sheet, first):
        return first
    raise SourceError(f"{sheet.path}: give the option time, the column of the timestamps; there are: {', '.join(headings)}")


def _is_iso(sheet: Sheet, name: str) -> bool:
    try:
        head: pa.Array = next((batch.cells[name] for batch in sheet.batches((name,), PEEK)), pa.array([], pa.string()))
    except BadTake:
        return False
    return len(head) > 0 and bool(pc.all(pc.match_substring_regex(texts(head), _ISO)).as_py())
