"""What a person may say about a table that its contents do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from tacit.data.formats.table_strptime import pattern
from tacit.data.streams import SourceError

NULLS = ("Bad", "No Data", "I/O Timeout", "Shutdown", "---")
UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}  # nanoseconds
DISORDER = 10.0


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The table `[options]` of a mapping for the format `table`. What is left out is recognised by content where that is safe.

    Attributes:
        time: Column of the timestamps.
        time_format: Of timestamps that are not ISO 8601, as "%d.%m.%Y %H:%M:%S"; known are %Y %y %m %d %b %H %I %p %M %S %f %z %%.
        time_unit: `s`, `ms`, `us` or `ns`, where timestamps are numbers, such as seconds since 1970 or since the start; else `s`.
        time_zone: IANA name, such as "Europe/Berlin", of times without offset. Without it they are taken as UTC, so that the hour that
            comes twice in autumn is refused. Offsets that stand in the text are always honoured.
        layout: `wide`, one column per channel, or `long`, one row per sample.
        tag: Long: column of the names of the channels.
        value: Long: column of the values.
        quality: Long: column of quality flags.
        quality_suffix: Wide: a column of this ending holds the quality flags of the one named without it. "" for none.
        good: Quality flags of good samples, in any case; every other, an empty one too, is bad. In OPC DA 192 is good (and 193 to 255
            are good with a remark: list those that you trust), but in OPC UA 0 is, which means bad in OPC DA: so 0 must be given.
        episode: Column whose value is the name of a take; the rows of each stand together, and those without a value are left out.
        join: The files of a folder continue each other, in the order of their names: one take.
        delimiter: Between the cells of a row.
        decimal: `.` or `,`.
        encoding: Of the text, as Python calls it, such as "cp1252".
        skip_rows: Rows above the header.
        units_row: The row below the header holds the units. Else units are read from headers like "flow [l/min]" or "flow (l/min)".
        nulls: Words that stand where there is no good value, in any case. Empty cells are no samples at all, and NaN is always known.
        booleans: Words and their numbers, in any case, such as {ON = 1, OFF = 0}.
        disorder: Seconds by which rows may be late: they are sorted within that, and refused beyond. The rows of so many seconds are
            held in memory.
        max_rows: Samples that may be read into memory, at about 25 bytes each, where a long table is sorted by tag before time.

    Raises:
        SourceError: An option is out of its domain.
    """

    time: str | None = None
    time_format: str | None = None
    time_unit: str | None = None
    time_zone: str | None = None
    layout: str | None = None
    tag: str | None = None
    value: str | None = None
    quality: str | None = None
    quality_suffix: str = "_q"
    good: tuple[str, ...] = ("Good", "192")
    episode: str | None = None
    join: bool = False
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str = "utf-8"
    skip_rows: int = 0
    units_row: bool = False
    nulls: tuple[str, ...] = NULLS
    booleans: Mapping[str, float] = field(default_factory=lambda: {"true": 1.0, "false": 0.0})
    disorder: float = DISORDER
    max_rows: int = 20_000_000

    def __post_init__(self) -> None:
        choices = {"layout": ("wide", "long"), "time_unit": tuple(UNITS), "decimal": (".", ",")}
        for name, known in choices.items():
            if (value := getattr(self, name)) is not None and value not in known:
                raise SourceError(f"option {name}: {value!r} is none of: {' '.join(known)}")
        if self.delimiter is not None and (len(self.delimiter) != 1 or not self.delimiter.isascii()):
            raise SourceError(f"option delimiter: must be one character, not {self.delimiter!r}")
        if self.delimiter is not None and self.delimiter == self.decimal:
            raise SourceError(f"option delimiter: {self.delimiter!r} is the decimal sign too")
        if self.time_format is not None and self.time_unit is not None:
            raise SourceError("option time_unit: is for times that are numbers, and time_format for others; give one of them")
        if self.time_format is not None:
            pattern(self.time_format)
        for name, least in (("skip_rows", 0), ("disorder", 0), ("max_rows", 1)):
            if not getattr(self, name) >= least:
                raise SourceError(f"option {name}: must be at least {least}, not {getattr(self, name)}")
        if self.join and self.episode is not None:
            raise SourceError("option join: files that continue each other are one take; leave the option episode out")
        if self.layout == "wide" and (long := [name for name in ("tag", "value", "quality") if getattr(self, name) is not None]):
            raise SourceError(f'option {long[0]}: is for layout = "long"')

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> TableOptions:
        """Read the table `[options]`.

        Raises:
            SourceError: An option is unknown, of the wrong type or out of its domain.
        """
        known = {f.name: f for f in fields(cls)}
        if unknown := [name for name in options if name not in known]:
            raise SourceError(f"unknown option {unknown[0]!r} of the format table; use one of: {', '.join(known)}")
        return cls(**{name: _value(name, value) for name, value in options.items()})  # type: ignore[arg-type]


def _value(name: str, value: object) -> object:
    if name in ("good", "nulls"):
        if not isinstance(value, list | tuple) or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in value):
            raise SourceError(f'option {name}: must be a list of words, such as ["Good", 192], not {value!r}')
        return tuple(str(v) for v in value)
    if name == "booleans":
        if not isinstance(value, Mapping) or not all(isinstance(v, int | float) for v in value.values()):
            raise SourceError(f"option booleans: must give a number for each word, such as {{ON = 1, OFF = 0}}, not {value!r}")
        return {str(word): float(number) for word, number in value.items()}
    kinds: dict[str, type | tuple[type, ...]] = {
        "join": bool,
        "units_row": bool,
        "skip_rows": int,
        "max_rows": int,
        "disorder": (int, float),
    }
    kind = kinds.get(name, str)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        what = {bool: "true or false", int: "a whole number", str: "text"}.get(kind, "a number")  # type: ignore[arg-type]
        raise SourceError(f"option {name}: must be {what}, not {value!r}")
    return value
