"""LeRobotDatasets as they are published, written here by hand with pyarrow, PyAV and json, and read by the format."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from tacit.data.formats.lerobot import LEROBOT, exported_schema
from tacit.data.streams import BadTake, Format, Piece, SourceError
from tacit.signals import Role, Schema, Signal

FPS = 10
LENGTHS = [5, 7, 4, 0, 6]
CAMERA = "observation.images.front"
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["pan", "lift", "grip"]}},
    "action": {"dtype": "float32", "shape": [2], "names": ["pan", "lift"]},
    "observation.grid": {"dtype": "float64", "shape": [2, 3], "names": None},
    "observation.depth": {"dtype": "int64", "shape": [1], "names": None},
    "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    "next.done": {"dtype": "bool", "shape": [1], "names": None},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index", "task_index")},
    "task": {"dtype": "string", "shape": [1], "names": None},
    "sound": {"dtype": "audio", "shape": [1], "names": None},
    "nothing": {"dtype": "float32", "shape": [0], "names": None},
}


def level(episode: int, row: int) -> int:
    """Grey level that tells a frame from every other one, far apart enough to outlive the codec."""
    return 10 + (37 * episode + 16 * row) % 230


def write_mp4(file: Path, levels: list[int], *, options: dict[str, str] | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "10", "g": "2"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for i, grey in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), grey, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def rows_of(episode: int, count: int, first: int) -> dict[str, pa.Array]:
    """Rows of one episode as LeRobot stores them; every value follows from the episode and the row."""
    k = np.arange(count)
    state = (100 * episode + k[:, None] + np.array([0.1, 0.2, 0.3])).astype(np.float32)
    action = (1000 * episode + k[:, None] * np.array([1.0, -1.0])).astype(np.float32)
    grid = episode + k[:, None, None] + np.arange(6.0).reshape(2, 3) / 7
    return {
        "observation.state": pa.FixedSizeListArray.from_arrays(state.reshape(-1), 3),
        "action": pa.array(list(action), pa.list_(pa.float32())),
        "observation.grid": pa.array(grid.tolist(), pa.list_(pa.list_(pa.float64()))),
        "observation.depth": pa.array(k * 3 + episode, pa.int64()),
        "next.reward": pa.array(k.astype(np.float32)),
        "next.done": pa.array(k == count - 1),
        "timestamp": pa.array((k / FPS).astype(np.float32)),
        "frame_index": pa.array(k),
        "episode_index": pa.array(np.full(count, episode)),
        "index": pa.array(first + k),
        "task_index": pa.array(np.zeros(count, np.int64)),
        "task": pa.array(["go"] * count, pa.string()),
    }


@dataclass(frozen=True)
class Dataset:
    root: Path

    @property
    def info(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.root / "meta/info.json").read_text())
        return values

    def change_info(self, change: Callable[[dict[str, Any]], object]) -> None:
        values = self.info
        change(values)
        (self.root / "meta/info.json").write_text(json.dumps(values))

    def change_table(self, file: str, change: Callable[[pa.Table], pa.Table]) -> None:
        pq.write_table(change(pq.read_table(self.root / file)), self.root / file)

    def pieces(self, take: str, *names: str) -> list[Piece]:
        return list(LEROBOT.read(self.root, take, names, {}))

    def values(self, take: str, name: str) -> NDArray[Any]:
        (piece,) = self.pieces(take, name)
        values = piece.streams[name].values
        assert isinstance(values, np.ndarray)
        return values

    def levels(self, take: str, camera: str = CAMERA) -> list[float]:
        found: list[float] = []
        for piece in self.pieces(take, camera):
            frames = piece.streams[camera].values
            assert not isinstance(frames, np.ndarray)
            found += frames.read(np.arange(len(frames))).mean(axis=(1, 2, 3)).tolist()
        return found


def video_feature(shape: list[int], names: list[str]) -> dict[str, Any]:
    return {"dtype": "video", "shape": shape, "names": names, "info": {"video.fps": FPS, "video.codec": "h264", "has_audio": False}}


def v3(root: Path, *, options: dict[str, str] | None = None) -> Dataset:
    """Episodes 0 and 1 share a Parquet file and an mp4; 2 to 4 share the second of each, and episode 3 is empty."""
    features = {**FEATURES, CAMERA: video_feature([16, 32, 3], ["height", "width", "channels"])}
    files = [[0, 1], [2, 3, 4]]
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    meta = []
    for number, episodes in enumerate(files):
        parts = [rows_of(e, LENGTHS[e], starts[e]) for e in episodes]
        data = root / f"data/chunk-000/file-{number:03d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(data, pa.table(parts[0]).schema) as writer:
            for part in parts:
                writer.write_table(pa.table(part))
        levels = [level(e, k) for e in episodes for k in range(LENGTHS[e])]
        write_mp4(root / f"videos/{CAMERA}/chunk-000/file-{number:03d}.mp4", levels, options=options)
        filmed = 0
        for e in episodes:
            meta.append(
                {
                    "episode_index": e,
                    "tasks": ["go"],
                    "length": LENGTHS[e],
                    "data/chunk_index": 0,
                    "data/file_index": number,
                    "dataset_from_index": int(starts[e]),
                    "dataset_to_index": int(starts[e + 1]),
                    f"videos/{CAMERA}/chunk_index": 0,
                    f"videos/{CAMERA}/file_index": number,
                    f"videos/{CAMERA}/from_timestamp": filmed / FPS,
                    f"videos/{CAMERA}/to_timestamp": (filmed + LENGTHS[e]) / FPS,
                    "meta/episodes/chunk_index": 0,
                    "meta/episodes/file_index": 0,
                    "stats/action/min": [0.0, 0.0],
                }
            )
            filmed += LENGTHS[e]
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(meta), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["go"]}), root / "meta/tasks.parquet")
    (root / "meta/stats.json").write_text("{}")
    info = {
        "codebase_version": "v3.0",
        "robot_type": "arm",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    return Dataset(root)


def v21(root: Path) -> Dataset:
    """One Parquet file and one mp4 per episode, two episodes per chunk; the shape of the camera has its channels first."""
    features = {**FEATURES, CAMERA: video_feature([3, 16, 32], ["channel", "height", "width"])}
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    for e, count in enumerate(LENGTHS):
        data = root / f"data/chunk-{e // 2:03d}/episode_{e:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows_of(e, count, starts[e])), data, row_group_size=3)
        if count:
            write_mp4(root / f"videos/chunk-{e // 2:03d}/{CAMERA}/episode_{e:06d}.mp4", [level(e, k) for k in range(count)])
    (root / "meta").mkdir()
    lines = [json.dumps({"episode_index": e, "tasks": ["go"], "length": n}) for e, n in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    (root / "meta/episodes_stats.jsonl").write_text("")
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "go"}) + "\n")
    info = {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": 1,
        "total_videos": len(LENGTHS),
        "total_chunks": 3,
        "chunks_size": 2,
        "fps": FPS,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    return Dataset(root)


@pytest.fixture(params=[v3, v21], ids=["v3.0", "v2.1"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    made: Dataset = request.param(tmp_path / "set")
    return made


def test_features_and_episodes_are_described(dataset: Dataset) -> None:
    lerobot: Format = LEROBOT
    assert lerobot.recognises(dataset.root)
    found = LEROBOT.describe(dataset.root, {})
    assert found.takes == tuple(f"episode {e}" for e in range(len(LENGTHS)))
    assert found.seconds == pytest.approx((4 + 6 + 3 + 0 + 5) / FPS)
    channels = {c.name: c for c in found.channels}
    assert set(channels) == (set(FEATURES) | {CAMERA}) - {"timestamp", "frame_index", "episode_index", "index", "task", "sound", "nothing"}
    assert {c.rate for c in found.channels} == {FPS}
    assert {name: c.shape for name, c in channels.items()} == {
        "observation.state": (3,),
        "action": (2,),
        "observation.grid": (2, 3),
        "observation.depth": (),
        "next.reward": (),
        "next.done": (),
        "task_index": (),
        CAMERA: (16, 32, 3),
    }
    assert {name: c.hint for name, c in channels.items() if c.hint != "observation"} == {
        "action": "action",
        "next.reward": "label",
        "next.done": "label",
        "task_index": "label",
    }
    assert channels["observation.state"].note == "elements: pan, lift, grip"
    assert [name for name, c in channels.items() if c.camera] == [CAMERA]
    assert (channels["next.done"].dtype, channels[CAMERA].dtype) == ("bool", "uint8")


def test_every_value_and_frame_of_an_episode_is_read(dataset: Dataset) -> None:
    names = tuple(c.name for c in LEROBOT.describe(dataset.root, {}).channels)
    for e, count in enumerate(LENGTHS):
        if not count:
            continue
        (piece,) = dataset.pieces(f"episode {e}", *names)
        assert tuple(piece.streams) == (*(n for n in names if n != CAMERA), CAMERA)
        assert piece.until == math.inf
        expected = rows_of(e, count, 0)
        for name, stream in piece.streams.items():
            np.testing.assert_array_equal(stream.time, np.arange(count) / FPS, err_msg=name)
            assert stream.valid is None
            if isinstance(stream.values, np.ndarray):
                np.testing.assert_array_equal(stream.values, np.array(expected[name].to_pylist(), stream.values.dtype), err_msg=name)
        dtypes = {n: piece.streams[n].values.dtype for n in ("action", "observation.grid", "observation.depth", "next.done")}  # type: ignore[union-attr]
        assert dtypes == {"action": np.float32, "observation.grid": np.float64, "observation.depth": np.int64, "next.done": np.bool_}
        np.testing.assert_allclose(dataset.levels(f"episode {e}"), [level(e, k) for k in range(count)], atol=3)


def test_an_empty_episode_is_a_bad_take_beside_good_ones(dataset: Dataset) -> None:
    with pytest.raises(BadTake, match=r"episode 3 has length 0.*leave this take out"):
        dataset.pieces("episode 3", "action")
    assert len(dataset.values("episode 4", "action")) == LENGTHS[4]


def test_time_is_exact_where_the_time_stamps_agree_with_the_rate(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    file = "data/chunk-000/file-000.parquet"
    late = pa.array((np.arange(12) % 5 / FPS + 0.02 * (np.arange(12) >= 5)).astype(np.float32))
    place = pq.read_schema(data.root / file).get_field_index("timestamp")
    data.change_table(file, lambda t: t.set_column(place, "timestamp", late))
    (good,) = data.pieces("episode 0", "action")
    np.testing.assert_array_equal(good.streams["action"].time, np.arange(5) / FPS)
    (logged,) = data.pieces("episode 1", "action")
    np.testing.assert_array_equal(logged.streams["action"].time, late.to_numpy()[5:].astype(np.float64))


def test_time_stamps_of_a_long_episode_are_exact_in_spite_of_their_rounding(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    count, first = 4, 3_000_001
    rows = rows_of(0, count, 0) | {
        "frame_index": pa.array(first + np.arange(count)),
        "timestamp": pa.array(((first + np.arange(count)) / FPS).astype(np.float32)),
    }
    pq.write_table(pa.table(rows), data.root / "data/chunk-000/file-000.parquet")
    file = "meta/episodes/chunk-000/file-000.parquet"
    data.change_table(file, lambda t: t.set_column(2, "length", pa.array([count, *LENGTHS[1:]])))
    assert float(np.float32((first + 1) / FPS)) != (first + 1) / FPS, "the test needs rounded time stamps"
    (piece,) = data.pieces("episode 0", "action")
    np.testing.assert_array_equal(piece.streams["action"].time, (first + np.arange(count)) / FPS)
    with pytest.raises(BadTake, match=r"file-000\.parquet column 'frame_index' row 0 is 3e\+06 and not 0.*leave the cameras out"):
        data.pieces("episode 0", CAMERA)


def test_pictures_in_the_rows_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.data.formats.lerobot.MOST_PICTURES", 3)
    data = v3(tmp_path / "set")
    pictures = [{"bytes": png(20 * k), "path": f"frame-{k:06d}.png"} for k in range(12)]
    pictures[9] = {"bytes": b"\x89PNG broken", "path": "frame-000009.png"}
    data.change_table("data/chunk-000/file-000.parquet", lambda t: t.append_column("observation.images.top", pa.array(pictures)))
    data.change_info(lambda i: i["features"].update({"observation.images.top": {"dtype": "image", "shape": [4, 6, 3], "names": None}}))
    pieces = data.pieces("episode 0", "observation.images.top", CAMERA, "action")
    assert [len(p.streams["action"]) for p in pieces] == [3, 2]
    assert [p.until for p in pieces] == [0.3, math.inf]
    assert np.concatenate([p.streams["action"].time for p in pieces]).tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    assert data.levels("episode 0", "observation.images.top") == [0, 20, 40, 60, 80]
    np.testing.assert_allclose(
        [p.streams[CAMERA].values.read(np.arange(1)).mean() for p in pieces],  # type: ignore[union-attr]
        [level(0, 0), level(0, 3)],
        atol=3,
    )
    small = pieces[0].streams["observation.images.top"].values.read(np.array([1, 1]), (2, 3))  # type: ignore[union-attr]
    assert small.shape == (2, 2, 3, 3)
    assert small.min() == small.max() == 20
    with pytest.raises(BadTake, match=r"file-000\.parquet column 'observation\.images\.top' row 9: the picture cannot be decoded"):
        data.levels("episode 1", "observation.images.top")


def test_missing_values_are_marked(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    file = "data/chunk-000/file-000.parquet"

    def holes(table: pa.Table) -> pa.Table:
        action = table.column("action").to_pylist()
        action[1], action[3] = None, [1.0, None]
        depth = [None if i == 2 else v for i, v in enumerate(table.column("observation.depth").to_pylist())]
        table = table.set_column(table.schema.get_field_index("action"), "action", pa.array(action, pa.list_(pa.float32())))
        return table.set_column(table.schema.get_field_index("observation.depth"), "observation.depth", pa.array(depth, pa.int64()))

    data.change_table(file, holes)
    (piece,) = data.pieces("episode 0", "action", "observation.depth")
    action, depth = piece.streams["action"], piece.streams["observation.depth"]
    assert action.valid is not None
    assert depth.valid is not None
    assert action.valid.tolist() == [True, False, True, False, True]
    assert depth.valid.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(action.values, np.array([[0, 0], [np.nan, np.nan], [2, -2], [1, np.nan], [4, -4]], np.float32))
    assert depth.values.dtype == np.int64  # type: ignore[union-attr]


def damage_video(data: Dataset) -> None:
    file = data.root / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    file.write_bytes(file.read_bytes()[:300])


def drop_action(data: Dataset) -> None:
    data.change_table("data/chunk-000/file-000.parquet", lambda t: t.drop_columns(["action"]))


def lose_data(data: Dataset) -> None:
    (data.root / "data/chunk-000/file-000.parquet").unlink()


def damage_data(data: Dataset) -> None:
    file = data.root / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-50])


def damage_page(data: Dataset) -> None:
    file = data.root / "data/chunk-000/file-000.parquet"
    group = pq.read_metadata(file).row_group(0)
    column = next(c for c in (group.column(i) for i in range(group.num_columns)) if c.path_in_schema.startswith("action"))
    start = column.dictionary_page_offset or column.data_page_offset
    contents = file.read_bytes()
    file.write_bytes(contents[:start] + bytes([255]) * 20 + contents[start + 20 :])


def lose_rows(data: Dataset) -> None:
    data.change_table("data/chunk-000/file-000.parquet", lambda t: pa.concat_tables([t.slice(0, 2), t.slice(3)]))


def mix_rows(data: Dataset) -> None:
    data.change_table("data/chunk-000/file-000.parquet", lambda t: t.take([0, 1, 5, 2, 3, 4, *range(6, 12)]))


def shorten_a_row(data: Dataset) -> None:
    def change(table: pa.Table) -> pa.Table:
        action = table.column("action").to_pylist()
        action[3] = [1.0]
        return table.set_column(table.schema.get_field_index("action"), "action", pa.array(action, pa.list_(pa.float32())))

    data.change_table("data/chunk-000/file-000.parquet", change)


def lose_video(data: Dataset) -> None:
    (data.root / f"videos/{CAMERA}/chunk-000/file-000.mp4").unlink()


def short_video(data: Dataset) -> None:
    write_mp4(data.root / f"videos/{CAMERA}/chunk-000/file-000.mp4", [0] * 3)


def late_video(data: Dataset) -> None:
    file = "meta/episodes/chunk-000/file-000.parquet"
    name = f"videos/{CAMERA}/from_timestamp"
    data.change_table(file, lambda t: t.set_column(t.schema.get_field_index(name), name, pa.array([-0.3, 0.5, 0.0, 0.4, 0.4])))


def forget_video(data: Dataset) -> None:
    file = "meta/episodes/chunk-000/file-000.parquet"
    name = f"videos/{CAMERA}/file_index"
    data.change_table(file, lambda t: t.set_column(t.schema.get_field_index(name), name, pa.array([None, 0, 1, 1, 1])))


def change_size(data: Dataset) -> None:
    data.change_info(lambda i: i["features"][CAMERA].update(shape=[16, 64, 3]))


@pytest.mark.parametrize(
    ("damage", "message", "spared"),
    [
        (damage_video, r"file-000\.mp4 cannot be opened as a video.*copy the file again", 2),
        (drop_action, r"file-000\.parquet has no column 'action'; it has observation\.state, .*export the dataset again", 2),
        (lose_data, r"data/chunk-000/file-000\.parquet is missing; download", 2),
        (damage_data, r"data/chunk-000/file-000\.parquet is no readable Parquet file.*download it again", 2),
        (damage_page, r"episode 0: .*data/chunk-000/file-000\.parquet is damaged", 1),
        (lose_rows, r"file-000\.parquet has 4 rows of episode 0, meta says 5: .*leave this take out", 1),
        (mix_rows, r"file-000\.parquet row 2: a row of another episode stands within episode 0", 2),
        (shorten_a_row, r"file-000\.parquet column 'action' row 3 has 1 values where info\.json says \[2\]", 1),
        (lose_video, r"file-000\.mp4 is missing; download", 2),
        (short_video, r"file-000\.mp4 ends after frame 2; episode 0 needs 5 frames from frame 0 on", 2),
        (late_video, r"file-000\.mp4 frame 0 is at 0\.000 s, and episode 0 needs one at -0\.300 s", 1),
        (forget_video, r"episode 0 has no video of 'observation\.images\.front' in meta/episodes", 1),
    ],
)
def test_damage_is_named_and_spares_the_other_episodes(
    tmp_path: Path, damage: Callable[[Dataset], None], message: str, spared: int
) -> None:
    data = v3(tmp_path / "set")
    damage(data)
    assert len(LEROBOT.describe(data.root, {}).takes) == len(LENGTHS)
    with pytest.raises(BadTake, match=message):
        data.pieces("episode 0", "action", CAMERA)
    (piece,) = data.pieces(f"episode {spared}", "action", CAMERA)
    assert len(piece.streams["action"]) == LENGTHS[spared]


def test_a_camera_of_another_size_than_meta_says_is_refused(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    change_size(data)
    with pytest.raises(BadTake, match=r"file-000\.mp4: its frames are \(16, 32, 3\), .*info\.json says \(16, 64, 3\); correct the shape"):
        data.pieces("episode 0", CAMERA)


def test_a_video_cut_short_spares_the_episodes_before_the_cut(tmp_path: Path) -> None:
    data = v3(tmp_path / "set", options={"movflags": "faststart"})
    file = data.root / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    contents = file.read_bytes()
    assert contents.index(b"moov") < contents.index(b"mdat"), "the test needs the index of the file before its frames"
    file.write_bytes(contents[:-60])
    with pytest.raises(BadTake, match=r"file-000\.mp4 ends after frame \d+; episode 1 needs 7 frames from frame 5 on.*leave this take out"):
        data.levels("episode 1")
    np.testing.assert_allclose(data.levels("episode 0"), [level(0, k) for k in range(5)], atol=3)
    np.testing.assert_allclose(data.levels("episode 2"), [level(2, k) for k in range(4)], atol=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(codebase_version="v4.0"), r"info\.json: codebase_version 'v4\.0' is none of v2\.0, v2\.1, v3\.0; convert it"),
        (lambda i: i.pop("codebase_version"), r"info\.json has no codebase_version"),
        (lambda i: i.update(storage_format="lance"), r"storage_format 'lance' cannot be read"),
        (lambda i: i.update(fps=0), r"info\.json: fps is 0, and must be a positive number"),
        (lambda i: i.pop("features"), r"info\.json: features is None, and must be a dict"),
        (lambda i: i["features"].update(action={"dtype": "float32", "shape": "2"}), r"feature 'action' needs a dtype and a shape"),
        (lambda i: i["features"][CAMERA].update(shape=[3]), r"feature 'observation\.images\.front' has shape \[3\]; a camera has height"),
        (lambda i: i.update(data_path="../{chunk_index}.parquet"), r"info\.json: the path .* leads out of the dataset"),
        (lambda i: i.update(data_path="data/{chunk_index.real}{secret}"), r"the path .* has an unknown field 'secret'"),
        (lambda i: i.update(tacit={"schema": {}}), r'info\.json: the key "tacit" is damaged .*take it out'),
    ],
)
def test_a_source_that_is_wrong_as_a_whole_says_so(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    data = v3(tmp_path / "set")
    data.change_info(change)
    with pytest.raises(SourceError, match=message):
        LEROBOT.describe(data.root, {})
    with pytest.raises(SourceError, match=message):
        data.pieces("episode 0", "action")


def test_damaged_lists_of_episodes_name_file_and_line(tmp_path: Path) -> None:
    old = v21(tmp_path / "old")
    lines = (old.root / "meta/episodes.jsonl").read_text().splitlines()
    (old.root / "meta/episodes.jsonl").write_text("\n".join([lines[0], '{"episode_index": 1}', *lines[2:]]))
    with pytest.raises(SourceError, match=r"episodes\.jsonl:2: needs an episode_index and a length"):
        LEROBOT.describe(old.root, {})
    new = v3(tmp_path / "new")
    file = "meta/episodes/chunk-000/file-000.parquet"
    new.change_table(file, lambda t: t.set_column(0, "episode_index", pa.array([0, 1, 1, 3, 4])))
    with pytest.raises(SourceError, match=r"chunk-000/file-000\.parquet row 2: episode_index 1 stands there twice"):
        LEROBOT.describe(new.root, {})
    new.change_table(file, lambda t: t.drop_columns(["length"]))
    with pytest.raises(SourceError, match=r"chunk-000/file-000\.parquet has no column 'length'"):
        LEROBOT.describe(new.root, {})
    (new.root / file).unlink()
    with pytest.raises(SourceError, match=r"meta/episodes has no Parquet file"):
        LEROBOT.describe(new.root, {})


def test_episodes_that_only_info_counts_are_bad_takes(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    file = "meta/episodes/chunk-000/file-000.parquet"
    data.change_table(file, lambda t: t.take([0, 2, 4]))
    assert LEROBOT.describe(data.root, {}).takes == tuple(f"episode {e}" for e in range(5))
    with pytest.raises(BadTake, match=r"meta does not say where episode 1 lies, which meta/info\.json counts; download"):
        data.pieces("episode 1", "action")
    assert len(data.values("episode 2", "action")) == LENGTHS[2]
    data.change_info(lambda i: i.update(total_episodes=10**12))
    with pytest.raises(SourceError, match=r"total_episodes is 1000000000000, and meta lists 3"):
        LEROBOT.describe(data.root, {})


def test_unknown_takes_features_and_options_are_refused(dataset: Dataset) -> None:
    with pytest.raises(SourceError, match=r"has no take 'episode 9'; it has 5, such as 'episode 0'"):
        dataset.pieces("episode 9", "action")
    with pytest.raises(SourceError, match=r"there is no feature 'reward'; use one of: observation\.state, action") as missing:
        dataset.pieces("episode 0", "reward")
    assert not isinstance(missing.value, BadTake), "it is missing in every take"
    with pytest.raises(SourceError, match="no option 'fps'"):
        LEROBOT.describe(dataset.root, {"fps": 3})


def test_what_is_no_dataset_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    for contents in ("{", "[]", '{"codebase_version": "v3.0"}'):
        (tmp_path / "meta/info.json").write_text(contents)
        assert not LEROBOT.recognises(tmp_path)
    assert not LEROBOT.recognises(tmp_path / "meta/info.json")
    assert not LEROBOT.recognises(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"nowhere/meta/info\.json cannot be read: No such file.*give the folder"):
        LEROBOT.describe(tmp_path / "nowhere", {})


def test_names_roles_units_and_shapes_of_an_exported_store_come_back(tmp_path: Path) -> None:
    data = v3(tmp_path / "set")
    assert exported_schema(data.root) is None
    schema = Schema(
        signals=(
            Signal(name="arm", role=Role.OBSERVATION, shape=(3,), unit="rad", low=-4, high=4),
            Signal(name="wind", role=Role.DISTURBANCE, shape=(1,), dtype="int64", unit="m/s"),
        ),
        period=0.1,
    )
    data.change_info(
        lambda i: i.update(
            tacit={"schema": schema.to_json(), "signals": {"observation.state": "arm", "observation.depth": "wind", "gone": "arm"}}
        )
    )
    assert exported_schema(data.root) == schema
    channels = {c.name: c for c in LEROBOT.describe(data.root, {}).channels}
    assert (channels["arm"].unit, channels["arm"].hint, channels["arm"].shape) == ("rad", "observation", (3,))
    assert channels["arm"].note == "elements: pan, lift, grip"
    assert channels["arm"].signal == schema.by_name["arm"]
    assert (channels["wind"].unit, channels["wind"].hint, channels["wind"].shape) == ("m/s", "disturbance", (1,))
    assert data.values("episode 1", "wind").shape == (7, 1)
    np.testing.assert_array_equal(data.values("episode 1", "arm"), data.values("episode 1", "observation.state"))
