"""Timestamps of a table as nanoseconds since 1970 in UTC: ISO 8601, a format as for `strptime`, or numbers; local times made UTC.

The hour that comes twice in autumn is told by the order of the rows: those before the clock goes back are in summer time and those
after it in winter time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tacit.data.formats.table_cells import numpy_bool, plain, texts
from tacit.data.formats.table_options import UNITS, TableOptions
from tacit.data.formats.table_strptime import Unreadable, formatted
from tacit.data.streams import BadTake, SourceError

Rows = NDArray[np.int64]
Again = Callable[[], Iterable[tuple[pa.Array, Rows]]]

_SECOND = UNITS["s"]
_DAY = 86_400 * _SECOND
_LAST = 9_000_000_000  # seconds; about the year 2255, where nanoseconds in 64 bits end
_OFFSET = r"\d{1,2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stamps:
    """Timestamps as they are written.

    Attributes:
        ns: Nanoseconds since 1970 in UTC, or on a local clock, int64 (N,).
        local: True where the text has no offset, bool (N,); None when they are numbers, of which none is local.
    """

    ns: NDArray[np.int64]
    local: NDArray[np.bool_] | None = None


class TimeReader:
    """Reads the time column of one file, batch by batch in the order of its rows.

    Args:
        options: For format, zone and tolerance.
        unit: Of numbers.
        decimal: Decimal sign of numbers that are text.
        where: The file, for messages.
        again: Gives the cells and row numbers of the whole column from its beginning: it is gone through once, and only if the file
            has times that come twice in autumn, to learn where the clock goes back.

    Raises:
        SourceError: The time zone is unknown.
    """

    def __init__(self, options: TableOptions, *, unit: str, decimal: str, where: str, again: Again) -> None:
        self._options, self._unit, self._decimal, self._where, self._again = options, unit, decimal, where, again
        self._numeric: bool | None = None
        self._seen: dict[bool, int] = {}  # first row with a local time, and with another
        self._borders: dict[int, int] | None = None
        if options.time_zone is not None:
            _in_utc(np.zeros(1, np.int64), options.time_zone)

    def read(self, cells: pa.Array, rows: Rows) -> NDArray[np.int64]:
        """Nanoseconds since 1970 in UTC of the next cells, int64 (N,).

        Raises:
            BadTake: A cell is empty or no time, or it cannot be told which moment it means; the message names the row.
        """
        stamps = self._stamps(cells, rows)
        if stamps.local is None:
            return stamps.ns
        zone = self._options.time_zone
        for kind in (True, False):
            if zone is None and kind not in self._seen and (stamps.local == kind).any():
                self._seen[kind] = int(rows[np.argmax(stamps.local == kind)])
        if len(self._seen) == 2:
            raise self._bad(
                self._seen[True], f"has no offset from UTC, but the time in row {self._seen[False]} has one; give the option time_zone"
            )
        if zone is None or not stamps.local.any():
            return stamps.ns
        return self._in_utc(stamps.ns, stamps.local, zone, rows)

    def _stamps(self, cells: pa.Array, rows: Rows) -> _Stamps:
        cells = plain(cells)
        if pa.types.is_date(cells.type):
            cells = pc.cast(cells, pa.timestamp("ms"))
        empty = numpy_bool(pc.is_null(cells))
        if pa.types.is_string(cells.type):
            cells = texts(cells)
            empty = numpy_bool(pc.equal(cells, ""))
        if empty.any():
            raise self._bad(int(rows[np.argmax(empty)]), "has no time; fill it in, or remove the row")
        if pa.types.is_timestamp(cells.type):
            ticks = pc.cast(cells, pa.int64()).to_numpy()
            ns = self._scaled(ticks, cells.type.unit, rows)
            return _Stamps(ns=ns, local=np.full(len(ns), cells.type.tz is None))
        if not pa.types.is_string(cells.type):
            return _Stamps(ns=self._scaled(cells.to_numpy(zero_copy_only=False), self._unit, rows))
        if self._numeric is None and len(cells):
            is_number = pc.match_substring_regex(cells.slice(0, 1), r"^[+-]?\d+([.,]\d*)?([eE][+-]?\d+)?$")[0].as_py()
            self._numeric = self._options.time_format is None and (self._options.time_unit is not None or is_number)
        parse = self._numbers if self._numeric else self._texts
        try:
            return parse(cells, rows)
        except (pa.ArrowInvalid, Unreadable) as error:
            raise self._unreadable(cells, rows, parse) from error

    def _in_utc(self, ns: NDArray[np.int64], local: NDArray[np.bool_], zone: str, rows: Rows) -> NDArray[np.int64]:
        early, late = _in_utc(ns, zone)
        missing = local & (_local(early, zone) != ns)
        if missing.any():
            raise self._bad(
                int(rows[np.argmax(missing)]),
                f"has a time that {zone} skips when summer time begins; if the clock kept standard time or UTC, say so with time_zone, "
                'such as "Etc/GMT-1" for one hour east of UTC',
            )
        out = np.where(local, early, ns)
        twice = local & (early != late)
        if twice.any():
            if self._borders is None:
                self._borders = self._find_borders(zone)
            nights, which = np.unique(_night(ns[twice]), return_inverse=True)
            borders = np.array([self._borders[int(night)] for night in nights])[which]
            out[twice] = np.where(rows[twice] < borders, early[twice], late[twice])
        return out

    def _find_borders(self, zone: str) -> dict[int, int]:
        """Row with the first winter time, by the night in which the clock goes back."""
        newest: dict[int, int] = {}
        first: dict[int, int] = {}
        borders: dict[int, int] = {}
        for cells, rows in self._again():
            stamps = self._stamps(cells, rows)
            early, late = _in_utc(stamps.ns, zone)
            twice = np.zeros(len(rows), np.bool_) if stamps.local is None else stamps.local & (early != late)
            nights = np.where(twice, _night(stamps.ns), -1)
            for night in (int(n) for n in np.unique(nights[twice])):
                own = nights == night
                times, places = stamps.ns[own], rows[own]
                first.setdefault(night, int(places[0]))
                before = np.maximum.accumulate(np.append(newest.get(night, times[0]), times))
                back = before[:-1] - times > self._options.disorder * _SECOND
                if night not in borders and back.any():
                    borders[night] = int(places[np.argmax(back)])
                newest[night] = int(before[-1])
        for night, row in first.items():
            if night not in borders:
                raise self._bad(
                    row,
                    f"has a time that comes twice in {zone} when summer time ends, and no later row of that hour goes back to tell which "
                    "is meant; write the times of that night in UTC or with their offset, or remove them",
                )
        return borders

    def _texts(self, cells: pa.Array, rows: Rows) -> _Stamps:
        if self._options.time_format is not None:
            ns, local = formatted(cells, self._options.time_format)
            return _Stamps(ns=ns, local=local)
        cells = pc.replace_substring_regex(cells, r"(\d),(\d)", r"\1.\2")
        cells = pc.replace_substring_regex(pc.replace_substring_regex(cells, r"\s*UTC$", "Z"), r"\s+(Z|[+-]\d{2}(:?\d{2})?)$", r"\1")
        offset = pc.match_substring_regex(cells, _OFFSET)
        aware = numpy_bool(offset)
        ns = np.empty(len(cells), np.int64)
        ns[aware] = pc.cast(pc.cast(cells.filter(offset), pa.timestamp("ns", "UTC")), pa.int64()).to_numpy()
        ns[~aware] = pc.cast(pc.cast(cells.filter(pc.invert(offset)), pa.timestamp("ns")), pa.int64()).to_numpy()
        return _Stamps(ns=ns, local=~aware)

    def _numbers(self, cells: pa.Array, rows: Rows) -> _Stamps:
        if self._decimal == ",":
            cells = pc.replace_substring(cells, ",", ".")
        try:
            values = pc.cast(cells, pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            values = pc.cast(cells, pa.float64()).to_numpy()
        return _Stamps(ns=self._scaled(values, self._unit, rows))

    def _scaled(self, values: NDArray[np.generic], unit: str, rows: Rows) -> NDArray[np.int64]:
        factor = UNITS[unit]
        wrong = ~(np.abs(values.astype(np.float64)) * (factor / _SECOND) < _LAST)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise self._bad(
                int(rows[place]), f"has the time {values[place]}, which cannot be in {unit}; give the option time_unit: {' '.join(UNITS)}"
            )
        if np.issubdtype(values.dtype, np.floating):
            return np.rint(values.astype(np.float64) * factor).astype(np.int64)
        return values.astype(np.int64) * factor

    def _unreadable(self, cells: pa.Array, rows: Rows, parse: Callable[[pa.Array, Rows], _Stamps]) -> BadTake:
        for place in range(len(cells)):
            try:
                parse(cells.slice(place, 1), rows[place : place + 1])
            except (pa.ArrowInvalid, Unreadable):
                break
        hint = {
            True: "a number; correct it, or give the option time_format or time_unit",
            False: 'ISO 8601; correct it, or give the option time_format, such as "%d.%m.%Y %H:%M:%S"',
        }[bool(self._numeric)]
        if self._options.time_format is not None:
            hint = f"of the form {self._options.time_format}; correct it, or the option time_format"
        return self._bad(int(rows[place]), f"has the time {cells[place].as_py()!r}, which is not {hint}")

    def _bad(self, row: int, reason: str) -> BadTake:
        return BadTake(f"{self._where}, row {row}: {reason}")


def _in_utc(local: NDArray[np.int64], zone: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Earliest and latest moment at which the clocks of a zone show a time."""
    clock = pa.array(local, pa.timestamp("ns"))
    try:
        both = [pc.assume_timezone(clock, zone, ambiguous=which, nonexistent="earliest") for which in ("earliest", "latest")]
    except pa.ArrowInvalid as error:
        raise SourceError(f'option time_zone: {zone!r} is not known here; use an IANA name, such as "Europe/Berlin"') from error
    early, late = (pc.cast(moments, pa.int64()).to_numpy() for moments in both)
    return early, late


def _local(utc: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    shown: NDArray[np.int64] = pc.cast(pc.local_timestamp(pa.array(utc, pa.timestamp("ns", zone))), pa.int64()).to_numpy()
    return shown


def _night(local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the day that begins at noon: no clock goes back at noon."""
    return (local + _DAY // 2) // _DAY
