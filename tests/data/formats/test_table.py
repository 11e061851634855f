"""Tables as historians and loggers export them: what is in them comes out, and what is wrong is named with its row."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.data.formats import table_sheet
from tacit.data.formats.table import TABLE, Table
from tacit.data.formats.table_sheet import Batch, TextSheet
from tacit.data.streams import BadTake, Format, Piece, SourceError, Stream

BERLIN = ZoneInfo("Europe/Berlin")
BASE = datetime(2024, 5, 1, 12, 0, tzinfo=UTC).timestamp()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def joined(pieces: Sequence[Piece], name: str) -> Stream:
    parts = [piece.streams[name] for piece in pieces if name in piece.streams]
    return Stream(
        time=np.concatenate([p.time for p in parts]),
        values=np.concatenate([np.asarray(p.values) for p in parts]),
        valid=np.concatenate([p.valid for p in parts if p.valid is not None]),
        rows=np.concatenate([p.rows for p in parts if p.rows is not None]),
        where=parts[0].where,
    )


def read(path: Path, *names: str, take: str | None = None, table: Table = TABLE, **options: Any) -> dict[str, Stream]:
    pieces = list(table.read(path, take or path.name, names, options))
    assert pieces[-1].until == math.inf
    for before, after in pairwise(pieces):
        assert before.until <= after.until
        for stream in after.streams.values():
            assert stream.time.min() >= before.until
    return {name: joined(pieces, name) for name in names if any(name in piece.streams for piece in pieces)}


def assert_stream(stream: Stream, time: Sequence[float], values: Sequence[float], rows: Sequence[int] | None = None) -> None:
    np.testing.assert_allclose(stream.time, time, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(stream.values), values)
    if rows is not None:
        np.testing.assert_array_equal(stream.rows, rows)


def test_it_is_a_format() -> None:
    table: Format = TABLE
    assert (table.name, table.extra) == ("table", None)


def test_a_wide_table_with_empty_cells_and_bad_words(tmp_path: Path) -> None:
    path = written(
        tmp_path / "plant.csv",
        "timestamp,flow [l/min],level (m),T,T_q\n"
        f"{iso(BASE)},1.5,5,20,Good\n"
        f"{iso(BASE + 1)},,5,NaN,good\n"
        f"{iso(BASE + 2)},2.5,5,I/O Timeout,Good\n"
        f"{iso(BASE + 3)},,5,23,Uncertain\n"
        f"{iso(BASE + 4)},3.5,5,24,192\n",
    )
    assert TABLE.recognises(path)
    found = TABLE.describe(path, {})
    channels = {channel.name: channel for channel in found.channels}
    assert {name: channel.unit for name, channel in channels.items()} == {"flow": "l/min", "level": "m", "T": None}
    assert channels["flow"].rate == pytest.approx(0.5)
    assert channels["level"].rate == pytest.approx(1)
    assert channels["flow"].note == "about 40 % empty"
    assert channels["level"].note == "always 5 in the first rows"
    assert found.takes == ("plant.csv",)
    assert found.seconds == pytest.approx(4)
    assert found.options is not None
    assert found.options["time"] == "timestamp"
    streams = read(path, "flow", "level", "T")
    assert_stream(streams["flow"], [BASE, BASE + 2, BASE + 4], [1.5, 2.5, 3.5], rows=[2, 4, 6])
    assert_stream(streams["level"], BASE + np.arange(5), [5] * 5)
    assert_stream(streams["T"], BASE + np.arange(5), [20, np.nan, np.nan, 23, 24])
    np.testing.assert_array_equal(streams["T"].valid, [True, False, False, False, True])
    assert str(path) in streams["T"].where


def test_a_long_table_with_two_rates_a_gap_and_quality(tmp_path: Path) -> None:
    rows = [(BASE + t / 10, "fast", t, 192) for t in range(100) if not 40 <= t < 60]
    rows += [(BASE + t, "slow", -t, 192 if t != 3 else 0) for t in range(10)]
    rows.sort()
    path = written(tmp_path / "long.csv", "Time;Tag;Value;Quality\n" + "".join(f"{iso(t)};{n};{v};{q}\n" for t, n, v, q in rows))
    found = TABLE.describe(path, {})
    assert {c.name: c.rate for c in found.channels} == {"fast": pytest.approx(10), "slow": pytest.approx(1)}
    streams = read(path, "slow", "fast")
    assert_stream(streams["slow"], BASE + np.arange(10), -np.arange(10.0), rows=[2 + i for i, r in enumerate(rows) if r[1] == "slow"])
    np.testing.assert_array_equal(streams["slow"].valid, np.arange(10) != 3)
    assert len(streams["fast"]) == 80
    assert np.diff(streams["fast"].time).max() == pytest.approx(2.1)
    assert list(read(path, "slow")) == ["slow"]
    with pytest.raises(BadTake, match="no row with the tag 'medium'"):
        read(path, "slow", "medium")


def test_flags_of_opc_ua_need_to_be_given(tmp_path: Path) -> None:
    path = written(tmp_path / "ua.csv", f"time,tag,value,quality\n{iso(BASE)},a,1,0\n{iso(BASE + 1)},a,2,0\n{iso(BASE + 2)},a,,0\n")
    (channel,) = TABLE.describe(path, {}).channels
    assert "no quality flag is good, such as '0'" in channel.note
    stream = read(path, "a", good=[0])["a"]
    np.testing.assert_array_equal(stream.valid, [True, True, False])
    assert_stream(stream, BASE + np.arange(3), [1, 2, np.nan])


def test_a_long_table_sorted_by_tag(tmp_path: Path) -> None:
    count = 50
    lines = [f"{iso(BASE + t)},{tag},{t * sign}\n" for tag, sign in (("a", 1), ("b", -1), ("c", 2)) for t in range(count)]
    path = written(tmp_path / "by_tag.csv", "time,tag,value\n" + "".join(lines))
    found = TABLE.describe(path, {})
    assert [c.name for c in found.channels] == ["a", "b", "c"]
    assert found.seconds == pytest.approx(count - 1)
    for table in (TABLE, Table(batch_rows=7)):
        streams = read(path, "c", "a", table=table)
        assert_stream(streams["a"], BASE + np.arange(count), np.arange(count), rows=range(2, count + 2))
        assert_stream(streams["c"], BASE + np.arange(count), 2 * np.arange(count), rows=range(2 * count + 2, 3 * count + 2))
    assert len(list(Table(batch_rows=7).read(path, path.name, ("a", "b"), {}))) > 5
    with pytest.raises(BadTake, match=r"more than 60 samples.*sort the file by time"):
        read(path, "a", "b", max_rows=60)
    assert len(read(path, "b", max_rows=60)["b"]) == count


def test_units_row_decimal_comma_and_another_form_of_time(tmp_path: Path) -> None:
    path = written(
        tmp_path / "anlage.csv",
        "Export der Anlage\nZeit;Druck;Temp (innen)\n;bar;°C\n01.05.2024 14:00:00,250;1,25;-3\n01.05.2024 14:00:01,250;1,5;4e1\n",
        encoding="cp1252",
    )
    options = {"encoding": "cp1252", "skip_rows": 1, "units_row": True, "time_format": "%d.%m.%Y %H:%M:%S,%f", "time_zone": "Europe/Berlin"}
    found = TABLE.describe(path, options)
    assert [(c.name, c.unit) for c in found.channels] == [("Druck", "bar"), ("Temp (innen)", "°C")]
    assert found.options is not None
    assert (found.options["delimiter"], found.options["decimal"]) == (";", ",")
    streams = read(path, "Druck", "Temp (innen)", **options)
    assert_stream(streams["Druck"], [BASE + 0.25, BASE + 1.25], [1.25, 1.5], rows=[4, 5])
    assert_stream(streams["Temp (innen)"], [BASE + 0.25, BASE + 1.25], [-3, 40])
    with pytest.raises(SourceError, match=r'encoding, such as "cp1252"'):
        TABLE.describe(path, {**options, "encoding": "utf-8"})
    with pytest.raises(SourceError, match=r"row 4: has the time '01\.05\.2024.*option time_format"):
        TABLE.describe(path, {k: v for k, v in options.items() if k != "time_format"})


def test_what_stands_in_brackets_is_no_unit_where_names_would_be_the_same(tmp_path: Path) -> None:
    path = written(tmp_path / "pump.csv", "time,flow (in),flow (out)\n0,1,2\n1,1,3\n")
    assert [(c.name, c.unit) for c in TABLE.describe(path, {}).channels] == [("flow (in)", None), ("flow (out)", None)]


@pytest.mark.parametrize(
    ("cell", "decimal", "remedy"),
    [
        ("2,5", ".", "see the option decimal"),
        ("1.234", ",", "see the option decimal"),
        ("AUTO", ".", "option booleans"),
        ("12 bar", ".", "list it in nulls"),
    ],
)
def test_a_bad_cell_is_named_with_row_and_column(tmp_path: Path, cell: str, decimal: str, remedy: str) -> None:
    path = written(tmp_path / "bad.csv", f"time;p;q\n0;1;1\n\n1;2;2\n2;{cell};3\n3;4;4\n")
    with pytest.raises(BadTake, match=rf"bad\.csv, row 5, column 'p': '{cell}' is not a number; .*{remedy}"):
        read(path, "p", decimal=decimal)
    assert_stream(read(path, "q", decimal=decimal)["q"], range(4), [1, 2, 3, 4], rows=[2, 4, 5, 6])
    (p, _) = TABLE.describe(path, {"decimal": decimal}).channels
    assert f"text such as {cell!r}" in p.note


def test_words_become_numbers_where_a_person_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "words.csv", "time,pump,run\n0,ON,TRUE\n1, off ,false\n2,Stopped,true\n3,On,False\n")
    streams = read(path, "pump", "run", booleans={"ON": 1, "OFF": 0, "true": 1, "false": 0}, nulls=["stopped"])
    assert_stream(streams["pump"], range(4), [1, 0, np.nan, 1])
    np.testing.assert_array_equal(streams["pump"].valid, [True, True, False, True])
    assert_stream(streams["run"], range(4), [1, 0, 1, 0])
    assert TABLE.describe(path, {}).channels[0].dtype == "str"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a\n0,1\n,2\n", r"row 3: has no time; fill it in, or remove the row"),
        ("time,a\n0,1\nyesterday,2\n", r"row 3: has the time 'yesterday', which is not a number"),
        ("time,a\n2024-01-01,1\n2024-02-30,2\n", r"row 3: has the time '2024-02-30', which is not ISO 8601"),
        ("time,a\n0,1\n1,2,3\n", r"row 3: has 3 cells, but the header has 2; correct the row"),
        ("time,a\n0,1\n100,2\n50,3\n", r"row 4: goes back by 50 s.*sort the rows by time.*disorder"),
        ("time,a\n1714564800000,1\n", r"row 2: has the time 1714564800000, which cannot be in s; give the option time_unit"),
        ("time,a\n", r"has no rows of data"),
        ("time,a\n2024-01-01T00:00Z,1\n2024-01-01T01:00,1\n", r"row 3: has no offset from UTC, but the time in row 2 has one.*time_zone"),
    ],
)
def test_rows_that_cannot_be_placed_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "log.csv", text)
    with pytest.raises(BadTake, match=message) as caught:
        read(path, "a")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,a\n", "has no rows of data"),
        (f"time,{'x' * 200_000}\n0,1\n", "is no table: field larger than"),
        ("time,a,a\n0,1,2\n", "several columns 'a'"),
        ("time\n0\n", "only one column"),
        ("when,a\nx,1\n", "give the option time, the column of the timestamps; there are: when, a"),
        ("time,a\n0,1\n\0\n", 'encoding, such as "utf-16"'),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "log.csv", text)
    with pytest.raises(SourceError, match=message) as caught:
        TABLE.describe(path, {})
    assert str(path) in str(caught.value)


def test_a_missing_column_is_a_bad_source_or_a_bad_take(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "time,x,y\n0,1,2\n")
    written(tmp_path / "b.csv", "time,x\n0,1\n")
    (tmp_path / "c.csv").touch()
    written(tmp_path / "notes.md", "time,x\n")
    assert TABLE.describe(tmp_path, {}).takes == ("a.csv", "b.csv", "c.csv")
    assert_stream(read(tmp_path, "y", take="a.csv")["y"], [0], [2])
    with pytest.raises(BadTake, match=r"b\.csv: has no column 'y'; there are: x"):
        read(tmp_path, "y", take="b.csv")
    with pytest.raises(BadTake, match=r"c\.csv: is empty"):
        read(tmp_path, "y", take="c.csv")
    with pytest.raises(SourceError, match=r"b\.csv: has no column 'z'") as caught:
        read(tmp_path, "z", take="b.csv")
    assert not isinstance(caught.value, BadTake)
    with pytest.raises(SourceError, match=r"no take 'd\.csv'"):
        read(tmp_path, "x", take="d.csv")


def test_rows_may_repeat_and_be_a_little_late(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", "time,a\n0,1\n1,2\n3,4\n2,3\n3,5\n20,6\n")
    for rows in (1, 2, 100):
        assert_stream(read(path, "a", table=Table(batch_rows=rows))["a"], [0, 1, 2, 3, 3, 20], [1, 2, 3, 4, 5, 6], rows=[2, 3, 5, 4, 6, 7])
    with pytest.raises(BadTake, match="row 5: goes back by 1 s"):
        read(path, "a", disorder=0.5)


def test_files_that_continue_each_other(tmp_path: Path) -> None:
    written(tmp_path / "day1.csv", "time,a\n0,1\n1,2\n")
    written(tmp_path / "day2.csv", "time,a\n2,3\n3,4\n")
    assert TABLE.describe(tmp_path, {"join": True}).takes == (tmp_path.name,)
    assert TABLE.describe(tmp_path, {"join": True}).seconds == pytest.approx(2)
    pieces = list(TABLE.read(tmp_path, tmp_path.name, ("a",), {"join": True}))
    assert_stream(joined(pieces, "a"), range(4), [1, 2, 3, 4], rows=[2, 3, 2, 3])
    assert [Path(piece.streams["a"].where.rpartition(":")[0]).name for piece in pieces] == ["day1.csv", "day2.csv"]
    assert pieces[0].until <= 2
    (tmp_path / "day2.csv").rename(tmp_path / "day0.csv")
    with pytest.raises(BadTake, match=r"day1\.csv, row 2: goes back by 3"):
        read(tmp_path, "a", join=True, disorder=1)


def test_a_column_of_episodes(tmp_path: Path) -> None:
    path = written(tmp_path / "runs.csv", "time,run,a\n0,x,1\n1,x,2\n5,,9\n0,y,3\n1,y,4\n")
    assert TABLE.describe(path, {"episode": "run"}).takes == ("x", "y")
    assert_stream(read(path, "a", take="x", episode="run")["a"], [0, 1], [1, 2], rows=[2, 3])
    assert_stream(read(path, "a", take="y", episode="run")["a"], [0, 1], [3, 4], rows=[5, 6])
    with pytest.raises(BadTake, match="has no rows"):
        read(path, "a", take="z", episode="run")
    written(path, "time,run,a\n0,x,1\n1,y,2\n2,x,3\n")
    with pytest.raises(SourceError, match="row 4: episode 'x' begins again; sort the file by 'run'"):
        TABLE.describe(path, {"episode": "run"})


def berlin(first: datetime, last: datetime, minutes: int) -> tuple[list[float], list[str]]:
    """Moments of a night, and what a clock in Berlin shows."""
    seconds = np.arange(first.timestamp(), last.timestamp(), 60 * minutes).tolist()
    return seconds, [datetime.fromtimestamp(s, BERLIN).strftime("%Y-%m-%d %H:%M:%S") for s in seconds]


OCTOBER = (datetime(2024, 10, 26, 22, tzinfo=UTC), datetime(2024, 10, 27, 4, tzinfo=UTC))
MARCH = (datetime(2024, 3, 30, 22, tzinfo=UTC), datetime(2024, 3, 31, 4, tzinfo=UTC))


@pytest.mark.parametrize("night", [OCTOBER, MARCH])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_local_times_in_the_nights_when_summer_time_ends_and_begins(tmp_path: Path, night: tuple[datetime, datetime], rows: int) -> None:
    seconds, shown = berlin(*night, 10)
    path = written(tmp_path / "night.csv", "time,a\n" + "".join(f"{text},{i}\n" for i, text in enumerate(shown)))
    stream = read(path, "a", table=Table(batch_rows=rows), time_zone="Europe/Berlin")["a"]
    assert_stream(stream, seconds, np.arange(len(seconds)))


def test_the_hour_that_comes_twice_in_a_long_table_sorted_by_tag(tmp_path: Path) -> None:
    seconds, shown = berlin(*OCTOBER, 10)
    lines = [f"{text},{tag},{i}\n" for tag in "ab" for i, text in enumerate(shown)]
    path = written(tmp_path / "night.csv", "time,tag,value\n" + "".join(lines))
    for stream in read(path, "a", "b", table=Table(batch_rows=7), time_zone="Europe/Berlin").values():
        assert_stream(stream, seconds, np.arange(len(seconds)))


def test_times_whose_moment_cannot_be_told(tmp_path: Path) -> None:
    path = written(tmp_path / "night.csv", "time,a\n2024-10-27 01:59,1\n2024-10-27 02:10,2\n2024-10-27 03:00,3\n")
    with pytest.raises(BadTake, match=r"row 3: has a time that comes twice in Europe/Berlin.*write the times of that night in UTC"):
        read(path, "a", time_zone="Europe/Berlin")
    written(path, "time,a\n2024-03-31 01:59,1\n2024-03-31 02:30,2\n")
    with pytest.raises(BadTake, match=r"row 3: has a time that Europe/Berlin skips.*Etc/GMT-1"):
        read(path, "a", time_zone="Europe/Berlin")
    written(path, "time,a\n2024-10-27 02:59:59,1\n2024-10-27 02:00:00,2\n")
    with pytest.raises(BadTake, match=r"row 3: goes back by 3599 s.*give the option time_zone"):
        read(path, "a")
    with pytest.raises(SourceError, match=r'time_zone: "?\'?Berlin'):
        read(path, "a", time_zone="Berlin")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-05-01T12:00:00Z", BASE),
        ("2024-05-01 14:00:00+02:00", BASE),
        ("2024-05-01 14:00:00.5 +0200", BASE + 0.5),
        ("2024-05-01T08:30:00,1234567-03:30", BASE + 0.1234567),
        ("2024-05-01 12:00 UTC", BASE),
        ("2024-05-01 14:00", BASE),
    ],
)
def test_offsets_in_the_text_are_honoured_and_the_zone_is_for_the_rest(tmp_path: Path, text: str, utc: float) -> None:
    path = written(tmp_path / "log.csv", f'time,a\n"{text}",1\n2024-05-01T12:00:01Z,2\n')
    assert_stream(read(path, "a", time_zone="Europe/Berlin")["a"], [utc, BASE + 1], [1, 2])


def test_without_a_zone_local_times_are_taken_as_utc(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", "time,a\n2024-05-01 12:00:00,1\n")
    assert_stream(read(path, "a")["a"], [BASE], [1])


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_numbers_as_times(tmp_path: Path, unit: str, factor: int) -> None:
    start = 1_714_564_800
    for header, options in ((f"time [{unit}]", {}), ("time", {"time_unit": unit})):
        path = written(tmp_path / "log.csv", f"{header},a\n{start * factor},1\n{(start + 1) * factor},2\n")
        assert_stream(read(path, "a", **options)["a"], [start, start + 1], [1, 2])


@settings(max_examples=40, deadline=None)
@given(
    moment=st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1)),
    form=st.sampled_from(["%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M:%S %p", "%Y%m%dT%H%M%S.%f", "%d-%b-%Y %H:%M:%S.%f", "[%Y-%m-%d] %H:%M%z"]),
)
def test_any_time_of_a_given_form_is_read_as_python_reads_it(tmp_path_factory: pytest.TempPathFactory, moment: datetime, form: str) -> None:
    aware = moment.replace(tzinfo=UTC).astimezone(ZoneInfo("Asia/Kathmandu")) if "%z" in form else moment
    text = aware.strftime(form)
    path = tmp_path_factory.mktemp("form") / "log.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["time", "a"], [text, 1]])
    back = datetime.strptime(text, form)
    expected = (back if back.tzinfo else back.replace(tzinfo=UTC)).timestamp()
    assert_stream(read(path, "a", time_format=form)["a"], [expected], [1])


@pytest.mark.parametrize(
    ("form", "message"),
    [("%d.%m %H:%M", "no full date"), ("%Y-%m-%d %Q", "%Q is none of"), ("%Y-%m-%d %I:%M", "without the other"), ("%Y%Y-%m-%d", "repeats")],
)
def test_a_form_of_time_that_cannot_work(tmp_path: Path, form: str, message: str) -> None:
    path = written(tmp_path / "log.csv", "time,a\n0,1\n")
    with pytest.raises(SourceError, match=message):
        TABLE.describe(path, {"time_format": form})


@pytest.mark.parametrize("text", ["30.02.2024", "01.13.2024", "00.01.2024", "1.1.24", "01.01.2024 x"])
def test_a_date_that_does_not_exist_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "log.csv", f"time,a\n29.02.2024,1\n{text},2\n")
    with pytest.raises(BadTake, match=rf"row 3: has the time '{text}', which is not of the form"):
        read(path, "a", time_format="%d.%m.%Y")


def test_compressed_text_is_the_same(tmp_path: Path) -> None:
    text = "time,a\n" + "".join(f"{i},{i * 0.5}\n" for i in range(300))
    plain = written(tmp_path / "log.csv", text)
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert TABLE.recognises(packed)
    assert TABLE.describe(packed, {}).seconds == pytest.approx(299)
    one, other = read(plain, "a")["a"], read(packed, "a")["a"]
    assert_stream(other, one.time.tolist(), np.asarray(one.values).tolist())
    packed.write_bytes(gzip.compress(text.encode())[:-200])
    with pytest.raises(BadTake, match=r"log\.csv\.gz"):
        read(packed, "a")


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=10)
    return path


def test_parquet_with_row_groups(tmp_path: Path) -> None:
    moments = [datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(milliseconds=250 * i) for i in range(45)]
    path = parquet(
        tmp_path / "log.parquet",
        when=pa.array(moments, pa.timestamp("ms", "Europe/Berlin")),
        **{"LI101.PV [m]": pa.array([None if i % 3 else i for i in range(45)], pa.int32())},
        run=pa.array([i % 2 == 0 for i in range(45)]),
        state=pa.array(["ON" if i < 20 else "OFF" for i in range(45)]).dictionary_encode(),
        many=pa.array([[1.0, 2.0]] * 45),
    )
    assert TABLE.recognises(path)
    found = TABLE.describe(path, {})
    kinds = {c.name: (c.dtype, c.unit) for c in found.channels}
    assert kinds == {"LI101.PV": ("int32", "m"), "run": ("bool", None), "state": ("str", None)}
    assert found.seconds == pytest.approx(11)
    for rows in (7, 1000):
        streams = read(path, "LI101.PV", "run", "state", table=Table(batch_rows=rows), booleans={"ON": 1, "OFF": 0})
        assert_stream(streams["LI101.PV"], BASE + 0.75 * np.arange(15), 3 * np.arange(15), rows=3 * np.arange(15))
        assert_stream(streams["run"], BASE + 0.25 * np.arange(45), np.arange(45) % 2 == 0)
        assert_stream(streams["state"], BASE + 0.25 * np.arange(45), np.arange(45) < 20)
    path.write_bytes(path.read_bytes()[:-100])
    assert TABLE.describe(tmp_path / "good.parquet" if parquet(tmp_path / "good.parquet", t=[0.0], a=[1.0]) else path, {}).takes
    with pytest.raises(SourceError, match=r"log\.parquet: cannot be read as Parquet"):
        TABLE.describe(path, {})


def test_local_times_in_parquet(tmp_path: Path) -> None:
    moments = [datetime(2024, 5, 1, 14) + timedelta(seconds=i) for i in range(3)]
    path = parquet(tmp_path / "log.parquet", time=pa.array(moments, pa.timestamp("us")), a=[1.0, float("nan"), 3.0])
    stream = read(path, "a", time_zone="Europe/Berlin")["a"]
    assert_stream(stream, BASE + np.arange(3), [1, np.nan, 3], rows=[0, 1, 2])
    np.testing.assert_array_equal(stream.valid, [True, False, True])
    path = parquet(tmp_path / "hole.parquet", time=pa.array([moments[0], None], pa.timestamp("us")), a=[1.0, 2.0])
    with pytest.raises(BadTake, match="row 1: has no time"):
        read(path, "a")


@settings(max_examples=30, deadline=None)
@given(data=st.data(), count=st.integers(1, 60), long=st.booleans(), rows=st.integers(1, 9))
def test_what_comes_out_does_not_depend_on_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int, long: bool, rows: int
) -> None:
    steps = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 8.0, -2.0, -3.0]), min_size=count, max_size=count))
    times = 100 + np.cumsum(steps)
    late = np.maximum.accumulate(times) - times
    cells = data.draw(st.lists(st.sampled_from(["1", "2.5", "", "Bad", "NaN"]), min_size=2 * count, max_size=2 * count))
    if long:
        lines = ["time,tag,value"] + [f"{t},{tag},{cells[2 * i + k]}" for i, t in enumerate(times) for k, tag in enumerate("ab")]
    else:
        lines = ["time,a,b"] + [f"{t},{cells[2 * i]},{cells[2 * i + 1]}" for i, t in enumerate(times)]
    path = written(tmp_path_factory.mktemp("pieces") / "log.csv", "\n".join(lines))
    if late.max() > 10:
        with pytest.raises(BadTake, match="goes back"):
            read(path, "a", "b", table=Table(batch_rows=rows))
        return
    whole, parts = read(path, "a", "b"), read(path, "a", "b", table=Table(batch_rows=rows))
    assert whole.keys() == parts.keys()
    for name, stream in whole.items():
        assert_stream(
            parts[name], stream.time.tolist(), np.asarray(stream.values).tolist(), None if stream.rows is None else stream.rows.tolist()
        )
        np.testing.assert_array_equal(parts[name].valid, stream.valid)
        assert (np.diff(stream.time) >= 0).all()


def test_a_large_file_is_read_as_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.csv"
    pa_csv.write_csv(pa.table({"time": np.arange(400_000.0), "a": np.arange(400_000.0)}), path)
    pulled: list[int] = []
    batches = TextSheet.batches

    def counted(self: TextSheet, columns: Sequence[str], rows: int) -> Iterator[Batch]:
        for batch in batches(self, columns, rows):
            pulled.append(len(next(iter(batch.cells.values()))))
            yield batch

    monkeypatch.setattr(TextSheet, "batches", counted)
    monkeypatch.setattr(table_sheet, "BLOCK", 2**18)
    pieces = TABLE.read(path, path.name, ("a",), {})
    assert pulled == []
    first = next(pieces)
    assert sum(pulled) <= 65_536
    assert len(first.streams["a"]) < 65_536
    longest = max(len(piece.streams["a"]) for piece in pieces)
    assert longest <= 65_536 + 11
    assert sum(pulled) == 400_000
    pulled.clear()
    assert TABLE.describe(path, {}).seconds == pytest.approx(399_999)
    assert sum(pulled) < 100_000


def test_options_that_are_unknown_or_wrong(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", "time,a\n0,1\n")
    for options, message in (
        ({"timee": "t"}, "unknown option 'timee' of the format table; use one of: time, time_format"),
        ({"time": 3}, "option time: must be text"),
        ({"join": "yes"}, "option join: must be true or false"),
        ({"layout": "tall"}, "'tall' is none of: wide long"),
        ({"good": "Good"}, "must be a list of words"),
        ({"booleans": ["ON"]}, "must give a number for each word"),
        ({"disorder": -1}, "must be at least 0"),
        ({"time": "when"}, "has no column 'when', which the option time names; there are: time, a"),
        ({"layout": "long"}, "give the options tag and value"),
        ({"quality": "a"}, 'is for layout = "long"'),
        ({"join": True, "episode": "a"}, "leave the option episode out"),
        ({"encoding": "klingon"}, "'klingon' is unknown"),
    ):
        with pytest.raises(SourceError, match=message):
            TABLE.describe(path, options)
        with pytest.raises(SourceError, match=message):
            list(TABLE.read(path, path.name, ("a",), options))


def test_other_sources_are_not_recognised(tmp_path: Path) -> None:
    for name, text in (("notes.txt", "dear diary"), ("empty.csv", ""), ("image.png", "time,a\n0,1\n"), ("false.parquet", "time,a\n")):
        assert not TABLE.recognises(written(tmp_path / name, text)), name
    assert not TABLE.recognises(tmp_path / "nothing")
    assert not TABLE.recognises(tmp_path)
    assert replace(TABLE, batch_rows=1).name == "table"
