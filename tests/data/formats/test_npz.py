"""Arrays of numpy as logs: their rows come out with their times, and nothing in them is ever executed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit.data.formats import npz
from tacit.data.formats.npz import NPZ
from tacit.data.streams import ArrayFrames, BadTake, Format, Piece, SourceError, Stream

N = 12
TIME = 5 + 0.1 * np.arange(N)
STATE = np.arange(2 * N, dtype=np.float32).reshape(N, 2)
ACTION = -np.arange(N - 1, dtype=np.float64)
IMAGE = np.arange(N * 8 * 10 * 3, dtype=np.uint32).reshape(N, 8, 10, 3).astype(np.uint8)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, allow_pickle=True, **arrays)
    return path


def pieces_of(path: Path, *names: str, take: str | None = None, **options: Any) -> list[Piece]:
    pieces = list(NPZ.read(path, take or path.name, names, options))
    assert pieces[-1].until == math.inf
    return pieces


def read(path: Path, *names: str, take: str | None = None, **options: Any) -> dict[str, Stream]:
    (piece,) = pieces_of(path, *names, take=take, **options)
    return dict(piece.streams)


def assert_stream(stream: Stream, time: Sequence[float] | NDArray[np.float64], values: NDArray[np.generic] | Sequence[float]) -> None:
    np.testing.assert_allclose(stream.time, time, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(stream.values), values)


def test_it_is_a_format() -> None:
    found: Format = NPZ
    assert (found.name, found.extra) == ("npz", None)


def test_arrays_of_one_take(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "run.npz", time=TIME, state=STATE, action=ACTION, image=IMAGE, gain=np.float64(3), table=np.zeros(100), text=["x"]
    )
    assert NPZ.recognises(path)
    found = NPZ.describe(path, {})
    channels = {channel.name: channel for channel in found.channels}
    assert {name: (c.shape, c.dtype, c.camera) for name, c in channels.items()} == {
        "state": ((2,), "float32", False),
        "action": ((), "float64", False),
        "image": ((8, 10, 3), "uint8", True),
    }
    assert channels["state"].rate == pytest.approx(10)
    assert "one value per step" in channels["action"].note
    assert found.takes == ("run.npz",)
    assert found.seconds == pytest.approx(1.1)
    assert found.options == {"time": "time"}
    streams = read(path, "state", "action", "image")
    assert_stream(streams["state"], TIME, STATE)
    assert_stream(streams["action"], TIME[:-1], ACTION)
    frames = streams["image"].values
    assert isinstance(frames, ArrayFrames)
    np.testing.assert_array_equal(frames.read(np.array([3, 3, 11])), IMAGE[[3, 3, 11]])
    with pytest.raises(SourceError, match=r"table: has the shape \(100,\), but 12 or 11 rows are needed; there are: state, action, image"):
        read(path, "table")


@pytest.mark.parametrize(
    ("images", "shape"),
    [(IMAGE[..., 0], (8, 10, 1)), (IMAGE[..., :1], (8, 10, 1)), (np.moveaxis(IMAGE, 3, 1), (8, 10, 3))],
)
def test_images_of_other_layouts(tmp_path: Path, images: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    path = saved(tmp_path / "run.npz", image=images)
    (channel,) = NPZ.describe(path, {"period": 0.1}).channels
    assert (channel.camera, channel.shape) == (True, shape)
    frames = read(path, "image", period=0.1)["image"].values
    assert isinstance(frames, ArrayFrames)
    np.testing.assert_array_equal(frames.read(np.arange(N)), IMAGE[..., : shape[2]])


def test_small_bytes_are_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path / "run.npz", flags=np.ones((N, 4, 4), np.uint8))
    assert not NPZ.describe(path, {"period": 1}).channels[0].camera
    assert_stream(read(path, "flags", period=1)["flags"], np.arange(N), np.ones((N, 4, 4)))


def test_without_timestamps_a_period_is_needed(tmp_path: Path) -> None:
    path = saved(tmp_path / "run.npz", state=STATE, action=ACTION)
    with pytest.raises(SourceError, match=r"run\.npz: give the option time, an array of timestamps, or period in seconds"):
        NPZ.describe(path, {})
    assert NPZ.describe(path, {"period": 0.5}).seconds == pytest.approx(5.5)
    streams = read(path, "state", "action", period=0.5)
    assert_stream(streams["state"], 0.5 * np.arange(N), STATE)
    assert_stream(streams["action"], 0.5 * np.arange(N - 1), ACTION)


@pytest.mark.parametrize(
    ("time", "options"),
    [
        ((1_700_000_000 + np.arange(N)) * 1000, {"time_unit": "ms"}),
        (np.datetime64("2023-11-14T22:13:20", "ms") + np.arange(N) * np.timedelta64(1, "s"), {}),
    ],
)
def test_units_of_time(tmp_path: Path, time: NDArray[np.generic], options: dict[str, object]) -> None:
    path = saved(tmp_path / "run.npz", stamps=time, state=STATE)
    assert_stream(read(path, "state", time="stamps", **options)["state"], 1_700_000_000.0 + np.arange(N), STATE)


@pytest.mark.parametrize("marks", [np.repeat([0, 7, 3], [4, 2, 6]), np.array([4, 6, 12])])
def test_episodes_by_number_or_by_their_ends(tmp_path: Path, marks: NDArray[np.int64]) -> None:
    path = saved(tmp_path / "runs.npz", state=STATE, episode=marks, action=ACTION)
    found = NPZ.describe(path, {"episode": "episode", "period": 1.0})
    assert found.takes == (("0", "7", "3") if len(marks) == N else ("0", "1", "2"))
    assert found.seconds == pytest.approx(3 + 1 + 5)
    for take, span in zip(found.takes, (slice(0, 4), slice(4, 6), slice(6, 12)), strict=True):
        stream = read(path, "state", take=take, episode="episode", period=1.0)["state"]
        assert_stream(stream, np.arange(span.stop - span.start), STATE[span])
        assert stream.row(0) == span.start
    with pytest.raises(SourceError, match="action: has 11 rows, but with several episodes each array needs 12; repeat the last one"):
        read(path, "action", take="0", episode="episode", period=1.0)
    with pytest.raises(SourceError, match="no take '99'"):
        read(path, "state", take="99", episode="episode", period=1.0)


def test_an_empty_episode_is_bad_and_the_others_are_not(tmp_path: Path) -> None:
    path = saved(tmp_path / "runs.npz", time=TIME, state=STATE, ends=np.array([4, 4, 12]))
    assert NPZ.describe(path, {"episode": "ends"}).takes == ("0", "1", "2")
    with pytest.raises(BadTake, match=r"runs\.npz: take '1' has no rows"):
        read(path, "state", take="1", episode="ends")
    assert_stream(read(path, "state", take="2", episode="ends")["state"], TIME[4:], STATE[4:])


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (np.array([4, 11]), "must ascend to 12"),
        (np.array([8, 4, 12]), "must ascend to 12"),
        (np.repeat([0, 1, 0], 4), "rows of episode 0 do not stand together"),
        (np.ones(N), "must be one axis of whole numbers"),
    ],
)
def test_what_tells_no_episodes_is_refused(tmp_path: Path, marks: NDArray[np.generic], message: str) -> None:
    path = saved(tmp_path / "runs.npz", time=TIME, state=STATE, marks=marks)
    with pytest.raises(SourceError, match=f"marks: .*{message}"):
        NPZ.describe(path, {"episode": "marks"})


def test_a_folder_of_files_where_some_are_bad(tmp_path: Path) -> None:
    saved(tmp_path / "b.npz", time=TIME, state=STATE + 1)
    saved(tmp_path / "a.npz", time=TIME, state=STATE, extra=TIME)
    damaged = saved(tmp_path / "c.npz", time=TIME, state=STATE)
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert NPZ.recognises(tmp_path)
    found = NPZ.describe(tmp_path, {})
    assert found.takes == ("a.npz", "b.npz", "c.npz")
    assert found.seconds is None
    assert_stream(read(tmp_path, "state", take="b.npz")["state"], TIME, STATE + 1)
    with pytest.raises(BadTake, match=r"c\.npz: cannot be read"):
        read(tmp_path, "state", take="c.npz")
    with pytest.raises(BadTake, match=r"b\.npz: extra: is missing; there are: state"):
        read(tmp_path, "extra", take="b.npz")
    with pytest.raises(SourceError, match=r"b\.npz: nothing: is missing") as caught:
        read(tmp_path, "nothing", take="b.npz")
    assert not isinstance(caught.value, BadTake)


def test_episodes_in_a_folder_of_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        saved(tmp_path / f"{name}.npz", time=TIME, state=STATE + ord(name), ends=[5, 12])
    found = NPZ.describe(tmp_path, {"episode": "ends"})
    assert found.takes == ("a.npz:0", "a.npz:1", "b.npz:0", "b.npz:1")
    assert_stream(read(tmp_path, "state", take="b.npz:1", episode="ends")["state"], TIME[5:], STATE[5:] + ord("b"))


def test_a_folder_of_arrays_is_mapped_and_cut_into_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        for name, array in {"time": TIME, "state": STATE, "action": ACTION, "image": IMAGE}.items():
            np.save(tmp_path / run / f"{name}.npy", array)
    assert NPZ.recognises(tmp_path)
    assert NPZ.recognises(tmp_path / "first")
    assert NPZ.describe(tmp_path, {}).takes == ("first", "second")
    monkeypatch.setattr(npz, "_PIECE", 5)
    pieces = pieces_of(tmp_path, "state", "action", "image", take="second")
    assert [piece.until for piece in pieces] == [TIME[5], TIME[10], math.inf]
    assert [len(piece.streams["action"]) for piece in pieces] == [5, 5, 1]
    for name, array in (("state", STATE), ("action", ACTION)):
        parts = [piece.streams[name] for piece in pieces]
        np.testing.assert_array_equal(np.concatenate([np.asarray(p.values) for p in parts]), array)
        np.testing.assert_array_equal(np.concatenate([p.time for p in parts]), TIME[: len(array)])
        np.testing.assert_array_equal([p.row(0) for p in parts], [0, 5, 10])
    frames = pieces[1].streams["image"].values
    assert isinstance(frames, ArrayFrames)
    base: Any = frames.images
    while not isinstance(base, np.memmap):
        base = base.base
    np.testing.assert_array_equal(frames.read(np.array([0, 4])), IMAGE[[5, 9]])
    (single,) = pieces_of(tmp_path / "first", "action", take="first")[2:]
    assert_stream(single.streams["action"], TIME[10:11], ACTION[10:])


def test_time_that_goes_back_is_left_to_the_alignment_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_PIECE", 5)
    time = TIME[[0, 1, 2, 9, 4, 5, 6, 7, 8, 3, 10, 11]]
    path = saved(tmp_path / "run.npz", time=time, state=STATE)
    assert_stream(read(path, "state")["state"], time, STATE)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was loaded",))


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    objects = np.array([Bomb() for _ in range(N)], object)
    path = saved(tmp_path / "run.npz", time=TIME, state=STATE, info=objects)
    assert [c.name for c in NPZ.describe(path, {}).channels] == ["state"]
    assert_stream(read(path, "state")["state"], TIME, STATE)
    with pytest.raises(SourceError, match=r"info: holds Python objects.*save it as an array of numbers"):
        read(path, "info")
    for arrays, options in (({"time": TIME, "info": objects}, {}), ({"when": objects, "state": STATE}, {"time": "when"})):
        with pytest.raises(SourceError, match="never loaded because they may run code"):
            NPZ.describe(saved(tmp_path / "other.npz", **arrays), options)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "info.npy", objects, allow_pickle=True)
    np.save(folder / "time.npy", TIME)
    with pytest.raises(SourceError, match="folder: info: holds Python objects"):
        NPZ.describe(folder, {})


def test_options_that_are_unknown_or_wrong(tmp_path: Path) -> None:
    path = saved(tmp_path / "run.npz", time=TIME, state=STATE)
    for options, message in (
        ({"rate": 3}, "unknown option 'rate' of the format npz; use one of: time, time_unit, period, episode"),
        ({"period": "1"}, "option period: must be a number"),
        ({"period": 0}, "must be a positive number of seconds"),
        ({"time_unit": "h"}, "'h' is none of: s ms us ns"),
        ({"time": "time", "period": 1.0}, "give either time or period"),
        ({"time": "when"}, "has no array 'when', which the option time names; there are: time, state"),
        ({"time": "state"}, r"state: has the shape \(12, 2\); timestamps need one axis"),
    ):
        with pytest.raises(SourceError, match=message):
            NPZ.describe(path, options)


def test_other_sources_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "false.npz").write_text("no archive")
    (tmp_path / "log.csv").write_text("time,a\n")
    assert not NPZ.recognises(tmp_path / "false.npz")
    assert not NPZ.recognises(tmp_path / "log.csv")
    assert not NPZ.recognises(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert not NPZ.recognises(tmp_path / "empty")
    with pytest.raises(SourceError, match=r"false\.npz: cannot be read"):
        NPZ.describe(tmp_path / "false.npz", {})
