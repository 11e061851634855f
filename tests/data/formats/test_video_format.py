"""Videos and images with a table beside them come in with the clocks that they have."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tacit.data.formats.video import VIDEO
from tacit.data.streams import BadTake, Format, Frames, SourceError, Stream

BITS = 8
SHAPE = (32, 64, 3)


def numbered(number: int) -> NDArray[np.uint8]:
    bits = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8)
    return np.broadcast_to(bits.repeat(SHAPE[1] // BITS)[None, :, None], SHAPE).copy()


def seen(stream: Stream, rows: Sequence[int]) -> list[int]:
    assert isinstance(stream.values, Frames)
    images = stream.values.read(np.array(rows))
    bars = images.reshape(len(images), images.shape[1], BITS, -1).mean((1, 3)) > 127
    return (bars @ (1 << np.arange(BITS))).tolist()


def film(path: Path, count: int = 20, fps: int = 25, first: int = 0) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options={"g": "10", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = SHAPE[0], SHAPE[1], "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(first + number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def stills(folder: Path, count: int = 20, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        Image.fromarray(numbered(first + number)).save(folder / f"frame{number + 1}.png")
    return folder


def table(path: Path, count: int = 40, rate: float = 50.0, start: float = 0.0) -> Path:
    lines = [f"{start + row / rate:.4f},{row / 10},{row % 3},note" for row in range(count)]
    path.write_text("\n".join(["time,speed,gear,text", *lines]) + "\n")
    return path


def read(path: Path, take: str, *names: str, **options: object) -> dict[str, Stream]:
    (piece,) = VIDEO.read(path, take, names, options)
    assert piece.until == np.inf
    return dict(piece.streams)


def test_one_video_and_one_table_have_their_own_rates(tmp_path: Path) -> None:
    assert isinstance(VIDEO.name, str)
    as_format: Format = VIDEO
    folder = tmp_path / "drive"
    folder.mkdir()
    film(folder / "front.mp4")
    film(folder / "side.mp4", count=10, fps=10, first=100)
    table(folder / "log.csv", start=7.0)
    assert as_format.recognises(folder)
    found = VIDEO.describe(folder, {})
    assert found.takes == ("drive",)
    assert found.seconds == pytest.approx(39 / 50)
    channels = {channel.name: channel for channel in found.channels}
    assert list(channels) == ["front", "side", "speed", "gear"]
    assert channels["front"].camera
    assert channels["front"].shape == SHAPE
    assert [channels[name].rate for name in channels] == pytest.approx([25, 10, 50, 50])
    assert [channels[name].dtype for name in channels] == ["uint8", "uint8", "float64", "int64"]
    assert "set options.video_start" in channels["front"].note
    assert found.options == {"time": "time", "video_start": "first"}

    streams = read(folder, "drive", "speed", "side", "front")
    np.testing.assert_allclose(streams["front"].time, 7 + np.arange(20) / 25)
    np.testing.assert_allclose(streams["side"].time, 7 + np.arange(10) / 10)
    np.testing.assert_allclose(streams["speed"].time, 7 + np.arange(40) / 50)
    np.testing.assert_allclose(np.asarray(streams["speed"].values), np.arange(40) / 10)
    assert (streams["speed"].row(0), streams["speed"].row(39)) == (2, 41)
    assert seen(streams["front"], [0, 7, 7, 19]) == [0, 7, 7, 19]
    assert seen(streams["side"], [3]) == [103]
    later = read(folder, "drive", "front", video_start=2.5, fps=5)["front"]
    np.testing.assert_allclose(later.time, 2.5 + np.arange(20) / 5)
    assert "note" not in read(folder, "drive", "speed")
    with pytest.raises(SourceError, match="no take 'other'; it has: drive"):
        read(folder, "other", "speed")


def test_pairs_of_one_name_are_takes(tmp_path: Path) -> None:
    for run in (1, 2, 10):
        film(tmp_path / f"run{run}.mp4", count=10, first=run)
        table(tmp_path / f"run{run}.csv")
    found = VIDEO.describe(tmp_path, {})
    assert found.takes == ("run1", "run2", "run10")
    assert found.seconds is None
    assert [channel.name for channel in found.channels] == ["image", "speed", "gear"]
    for run in (1, 2, 10):
        assert seen(read(tmp_path, f"run{run}", "image")["image"], [0, 9]) == [run, run + 9]


def test_a_single_pair_is_called_as_one_of_many(tmp_path: Path) -> None:
    film(tmp_path / "run1.mp4")
    table(tmp_path / "run1.csv")
    assert VIDEO.describe(tmp_path, {}).takes == ("run1",)
    for path in (tmp_path, tmp_path / "run1.mp4"):
        assert VIDEO.recognises(path)
        assert seen(read(path, "run1", "image")["image"], [5]) == [5]


def test_bad_takes_do_not_spoil_their_neighbours(tmp_path: Path) -> None:
    for name in ("a-broken", "b-good", "c-alone", "e-empty", "f-column"):
        film(tmp_path / f"{name}.mp4")
    for name in ("a-broken", "b-good", "d-alone", "f-column"):
        table(tmp_path / f"{name}.csv")
    (tmp_path / "e-empty.csv").write_text("time,speed,gear,text\n")
    (tmp_path / "f-column.csv").write_text((tmp_path / "f-column.csv").read_text().replace("speed", "velocity"))
    data = (tmp_path / "a-broken.mp4").read_bytes()
    (tmp_path / "a-broken.mp4").write_bytes(data[: len(data) // 2])
    found = VIDEO.describe(tmp_path, {})
    assert found.takes == ("a-broken", "b-good", "c-alone", "d-alone", "e-empty", "f-column")
    assert [channel.name for channel in found.channels] == ["image", "speed", "gear"]
    messages = {
        "a-broken": r"a-broken\.mp4.*frame 0 is missing.*leave this take out",
        "c-alone": r"c-alone\.mp4 has no table beside it: add c-alone\.csv",
        "d-alone": r"d-alone\.csv has no video beside it: add d-alone\.mp4",
        "e-empty": r"e-empty\.csv has no row below the names of its columns; leave this take out",
        "f-column": r"f-column\.csv has no column 'speed'.*image, time, velocity, gear",
    }
    for take, message in messages.items():
        with pytest.raises(BadTake, match=message):
            read(tmp_path, take, "image", "speed")
    assert seen(read(tmp_path, "b-good", "image", "speed")["image"], [4]) == [4]


def test_a_column_that_no_take_has_is_a_fault_of_the_source(tmp_path: Path) -> None:
    for run in (1, 2):
        film(tmp_path / f"run{run}.mp4")
        table(tmp_path / f"run{run}.csv")
    with pytest.raises(SourceError, match=r"has no column 'sped'.*image, time, speed") as raised:
        read(tmp_path, "run1", "sped")
    assert not isinstance(raised.value, BadTake)


def test_nothing_fits(tmp_path: Path) -> None:
    assert not VIDEO.recognises(tmp_path)
    assert not VIDEO.recognises(tmp_path / "none.mp4")
    with pytest.raises(SourceError, match="has no CSV file"):
        VIDEO.describe(tmp_path, {})
    table(tmp_path / "a.csv")
    assert not VIDEO.recognises(tmp_path)
    with pytest.raises(SourceError, match=r"has no video .*and no images"):
        VIDEO.describe(tmp_path, {})
    table(tmp_path / "b.csv")
    film(tmp_path / "front.mp4")
    for path in (tmp_path, tmp_path / "front.mp4"):
        with pytest.raises(SourceError, match=r"2 CSV files, and none is called.*front|none is called front\.csv"):
            VIDEO.describe(path, {})
    assert VIDEO.describe(tmp_path, {"table": "b.csv"}).takes == (tmp_path.name,)
    with pytest.raises(SourceError, match=r"c\.csv does not exist"):
        VIDEO.describe(tmp_path, {"table": "c.csv"})
    (tmp_path / "manifest.json").write_text("{}")
    assert not VIDEO.recognises(tmp_path)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(SourceError, match=r"no take of .* can be read; the first: .*no column is called like a time"):
        VIDEO.describe(tmp_path, {"table": "b.csv"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tabel": "a.csv"}, "options.tabel is unknown.*table"),
        ({"table": 3}, "options.table must be text"),
        ({"fps": 0}, "options.fps must be a positive"),
        ({"fps": True}, "options.fps must be a positive"),
        ({"time_unit": "h"}, "options.time_unit is 'h'.*s, ms, us, ns"),
        ({"video_start": "last"}, 'options.video_start must be a number of seconds or "first"'),
        ({"time": "clock"}, r"log\.csv has no column 'clock' .*time, speed"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str, tmp_path: Path) -> None:
    film(tmp_path / "front.mp4", count=3)
    table(tmp_path / "log.csv")
    with pytest.raises(SourceError, match=message):
        VIDEO.describe(tmp_path, options)


def test_images_need_a_clock_and_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = stills(tmp_path / "trip", count=12)
    stills(folder / "rear", count=6, first=50)
    table(folder / "log.csv", start=1.0)
    assert VIDEO.recognises(folder)
    with pytest.raises(SourceError, match=r"images have no times; set options\.fps"):
        VIDEO.describe(folder, {})
    found = VIDEO.describe(folder, {"fps": 5})
    assert [channel.name for channel in found.channels if channel.camera] == ["image", "rear"]
    assert found.options == {"time": "time", "video_start": "first", "fps": 5}
    streams = read(folder, "trip", "image", "rear", fps=5)
    assert seen(streams["image"], range(12)) == list(range(12))
    assert seen(streams["rear"], [0, 5]) == [50, 55]
    np.testing.assert_allclose(streams["rear"].time, 1 + np.arange(6) / 5)


def test_a_hole_in_the_images(tmp_path: Path) -> None:
    folder = stills(tmp_path / "trip", count=12)
    table(folder / "log.csv")
    (folder / "frame7.png").unlink()
    with pytest.raises(BadTake, match=r"frame8\.png follows frame6\.png: image 7 is missing.*restore it, or set options\.times"):
        read(folder, "trip", "image", fps=5)
    read(folder, "trip", "speed", fps=5)
    lines = [f"{n * 0.5},frame{n}.png" for n in range(1, 13)]
    (folder / "times.csv").write_text("\n".join(["stamp,file", *lines]))
    stream = read(folder, "trip", "image", times="times.csv")["image"]
    np.testing.assert_allclose(stream.time, np.arange(1, 13) / 2)
    assert seen(stream, [5, 7, 11]) == [5, 7, 11]
    with pytest.raises(BadTake, match=r"frame7\.png \(frame 6\) is missing: restore"):
        seen(stream, [6])
    (folder / "frame3.png").write_bytes(b"not an image")
    with pytest.raises(BadTake, match=r"frame3\.png \(frame 2\) cannot be decoded"):
        seen(stream, [2])


def test_times_of_the_frames_of_each_camera(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for camera in ("left", "right"):
        film(folder / f"{camera}.mp4", count=10)
    table(folder / "log.csv", start=100)
    stamps = 100 + np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, (2, 10)), 1)
    for camera, row in zip(("left", "right"), stamps, strict=True):
        (folder / f"{camera}-times.csv").write_text("frame;timestamp_ms\n" + "".join(f"{n};{1000 * t:.3f}\n" for n, t in enumerate(row)))
    options = {"times": "{camera}-times.csv"}
    found = VIDEO.describe(folder, options)
    assert [channel.note for channel in found.channels if channel.camera] == ["", ""]
    streams = read(folder, "drive", "left", "right", "speed", **options)
    np.testing.assert_allclose([streams["left"].time, streams["right"].time], stamps, atol=1e-6)
    (folder / "left-times.csv").write_text("timestamp_ms\n" + "1\n" * 9)
    with pytest.raises(BadTake, match=r"left-times\.csv has 9 rows and .*left\.mp4 10 frames, so frame 9 has no partner"):
        read(folder, "drive", "left", **options)


def test_what_alignment_deals_with_passes_through(tmp_path: Path) -> None:
    film(tmp_path / "run.mp4", count=5)
    (tmp_path / "run.csv").write_text("time,a,b\n0.0,1,true\n0.1,,false\n0.1,3,true\n0.05,NaN,\nnan,5,true\n0.3,1e2, false \n")
    streams = read(tmp_path, "run", "a", "b")
    np.testing.assert_array_equal(streams["a"].time, [0, 0.1, 0.1, 0.05, np.nan, 0.3])
    np.testing.assert_array_equal(np.asarray(streams["a"].values), [1, np.nan, 3, np.nan, 5, 100])
    np.testing.assert_array_equal(np.asarray(streams["b"].values), [1, 0, 1, np.nan, 1, 0])


@pytest.mark.parametrize(
    ("header", "cells", "options"),
    [
        ("time_ms", ["500", "1500"], {}),
        ("t", ["500000", "1500000"], {"time_unit": "us"}),
        ("TimeStamp", ["1970-01-01 00:00:00.5", "1970-01-01 00:00:01.5"], {}),
        ("clock", ["1970-01-01T02:00:00.500+02:00", "1970-01-01T02:00:01.500+02:00"], {"time": "clock"}),
    ],
)
def test_clocks_of_tables(header: str, cells: list[str], options: dict[str, object], tmp_path: Path) -> None:
    film(tmp_path / "run.mp4", count=5)
    (tmp_path / "run.csv").write_text("\ufeff" + f"{header}\ta b \n" + "".join(f"{cell}\t{row}\n" for row, cell in enumerate(cells)))
    streams = read(tmp_path, "run", "a b", "image", **options)
    np.testing.assert_allclose(streams["a b"].time, [0.5, 1.5])
    assert streams["image"].time[0] == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a\n0,1\n1,oops\n", r"run\.csv: row 3, column 'a' is 'oops', not a number; empty the cell or correct it"),
        ("time,a\n0,1\nnoon,2\n", r"run\.csv: row 3, column 'time' is 'noon', neither a number nor a date"),
        ("time,a\n0,1\n1,2,3\n", r"run\.csv cannot be read as a table.*Row #3.*correct or delete that row"),
        ("time,a,a\n0,1,2\n", r"run\.csv: row 1 names column 'a' twice"),
        ("", r"run\.csv is empty; row 1 must name the columns"),
        ("time,a\nnan,1\n", r"run\.csv: no row has a time"),
        ("time,a\n0,\xff\n", r"run\.csv"),
    ],
)
def test_damaged_tables(text: str, message: str, tmp_path: Path) -> None:
    film(tmp_path / "run.mp4", count=5)
    (tmp_path / "run.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadTake, match=message):
        read(tmp_path, "run", "image", "a")


def test_unreadable_folders_are_not_recognised(tmp_path: Path) -> None:
    film(tmp_path / "run.mp4", count=3)
    table(tmp_path / "run.csv")
    (tmp_path / "text.mp4").write_text("text")
    assert VIDEO.recognises(tmp_path / "run.mp4")
    assert not VIDEO.recognises(tmp_path / "text.mp4")
    assert not VIDEO.recognises(tmp_path / "run.csv")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone")
    assert not VIDEO.recognises(tmp_path / "link.mp4")


def test_images_with_times_of_their_own_may_have_any_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    (folder / "image").mkdir(parents=True)
    stamps = [1_700_000_000_000_000_000 + n * 50_000_000 + (n % 3) * 7 for n in range(6)]
    for number, stamp in enumerate(stamps):
        Image.fromarray(numbered(number)).save(folder / "image" / f"{stamp}.png")
    table(folder / "log.csv")
    (folder / "times.csv").write_text("time\n" + "".join(f"{0.05 * n}\n" for n in range(6)))
    stream = read(folder, "trip", "image", times="times.csv", table="log.csv")["image"]
    assert seen(stream, range(6)) == list(range(6))


def test_the_row_that_is_no_date_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    folder.mkdir()
    film(folder / "trip.mp4")
    rows = [f"2024-05-01T12:00:{n:02d},{n}" for n in range(8)]
    rows[3] = "garbage,3"
    (folder / "trip.csv").write_text("time,speed\n" + "\n".join(rows) + "\n")
    with pytest.raises((BadTake, SourceError), match=r"row 5, column 'time' is 'garbage'"):
        read(folder, "trip", "speed")
