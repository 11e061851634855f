"""An exported store is a LeRobotDataset as published, judged by a checker that knows nothing of the exporter, and comes back exactly."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from recorded_machine import episode_of
from rich.console import Console

from tacit.cli import export as verb
from tacit.cli.terminal import Terminal
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.data.episode import rows_of
from tacit.data.export_lerobot import export_lerobot
from tacit.data.export_lerobot_features import ExportError, merged, of_numbers, of_pictures
from tacit.data.export_lerobot_files import Limits
from tacit.data.formats.lerobot import LEROBOT, exported_schema
from tacit.data.streams import Piece
from tacit.signals import DTYPES, Role, Schema, Signal

ROBOT = Schema(
    signals=(
        Signal(name="front", role=Role.OBSERVATION, shape=(16, 24, 3), dtype="uint8"),
        Signal(name="odd", role=Role.OBSERVATION, shape=(15, 23, 3), dtype="uint8"),
        Signal(name="mask", role=Role.OBSERVATION, shape=(4, 5, 1), dtype="uint8"),
        Signal(name="state", role=Role.OBSERVATION, shape=(3,), unit="rad", low=-4, high=4),
        Signal(name="heat", role=Role.OBSERVATION, dtype="float64", unit="K"),
        Signal(name="observation.one", role=Role.OBSERVATION, shape=(1,), dtype="int32"),
        Signal(name="arm", role=Role.ACTION, shape=(2,), unit="V", max_norm=3.0),
        Signal(name="grip", role=Role.ACTION, dtype="bool"),
        Signal(name="wind", role=Role.DISTURBANCE, shape=(2, 2), dtype="float64"),
        Signal(name="pose", role=Role.LABEL, shape=(2,)),
    ),
    period=0.04,
)
LENGTHS = [5, 1, 12, 3]
CLOCK = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
STATISTICS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


def robot_episode(number: int, steps: int) -> Episode:
    """Numbers with every bit in use, and pictures that a codec keeps."""
    rng = np.random.default_rng([number, steps])
    signals: dict[str, NDArray[Any]] = {}
    for signal in ROBOT.signals:
        count = rows_of(signal, steps)
        if signal.is_image and signal.shape[2] == 3:
            grey = (40 * number + 15 * np.arange(count)) % 240
            signals[signal.name] = np.broadcast_to(grey[:, None, None, None], (count, *signal.shape)).astype(np.uint8)
        elif signal.dtype == "bool":
            signals[signal.name] = rng.random((count, *signal.shape)) < 0.5
        elif signal.dtype.startswith("float"):
            signals[signal.name] = rng.standard_normal((count, *signal.shape)).astype(signal.dtype)
        else:
            signals[signal.name] = rng.integers(0, 200, (count, *signal.shape)).astype(signal.dtype)
    return Episode(signals=signals, time=1e6 * number + np.cumsum(0.04 + 0.001 * rng.random(steps + 1)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    path = tmp_path_factory.mktemp("robot") / "store"
    with EpisodeWriter.create(path, ROBOT, source={"world": "bench"}) as writer:
        for number, steps in enumerate(LENGTHS):
            writer.add(robot_episode(number, steps))
    return EpisodeStore(path)


def video_times(file: Path) -> list[float]:
    with av.open(str(file)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]  # type: ignore[operator]


def check_published(root: Path) -> dict[str, Any]:
    """Compare a folder with the published layout v3.0.

    Returns:
        Its `info.json`.
    """
    info: dict[str, Any] = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    required = {
        "robot_type",
        "total_episodes",
        "total_frames",
        "total_tasks",
        "chunks_size",
        "data_files_size_in_mb",
        "video_files_size_in_mb",
    }
    assert required | {"fps", "splits", "data_path", "video_path", "features"} <= set(info)
    features, fps = info["features"], info["fps"]
    for name, dtype in CLOCK.items():
        assert features[name] == {"dtype": dtype, "shape": [1], "names": None}
    assert all("/" not in name and set(f) - {"info"} == {"dtype", "shape", "names"} for name, f in features.items())
    videos = [name for name, f in features.items() if f["dtype"] == "video"]
    assert (info["video_path"] is None) == (not videos)

    tasks = pq.read_table(root / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.column("task_index").to_pylist() == list(range(info["total_tasks"]))
    files = sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))
    episodes = [row | {"where": str(file.relative_to(root))} for file in files for row in pq.read_table(file).to_pylist()]
    assert [e["episode_index"] for e in episodes] == list(range(info["total_episodes"]))
    assert info["splits"] == {"train": f"0:{len(episodes)}"}

    statistics = json.loads((root / "meta/stats.json").read_text())
    assert set(statistics) == set(features)
    index, filmed = 0, dict.fromkeys(videos, ("", 0.0))
    for e in episodes:
        n = e["length"]
        assert (e["dataset_from_index"], e["dataset_to_index"]) == (index, index + n)
        place = f"meta/episodes/chunk-{e['meta/episodes/chunk_index']:03d}/file-{e['meta/episodes/file_index']:03d}.parquet"
        assert e["where"] == place
        assert e["tasks"] == [tasks.column("task")[0].as_py()]
        data = pq.read_table(root / info["data_path"].format(chunk_index=e["data/chunk_index"], file_index=e["data/file_index"]))
        assert set(data.column_names) == set(features) - set(videos)
        rows = data.filter(pa.compute.equal(data["episode_index"], e["episode_index"]))
        assert rows["index"].to_pylist() == list(range(index, index + n))
        assert rows["frame_index"].to_pylist() == list(range(n))
        assert rows["task_index"].to_pylist() == [0] * n
        np.testing.assert_array_equal(rows["timestamp"].to_numpy(), (np.arange(n) / fps).astype(np.float32))
        for name in set(features) - set(videos):
            kind, shape = rows.schema.field(name).type, features[name]["shape"]
            if features[name]["dtype"] == "image":
                assert kind == pa.struct({"bytes": pa.binary(), "path": pa.string()})
                continue
            assert np.array(rows[name].to_pylist()).shape == ((n,) if shape == [1] else (n, *shape)), name
            while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
                kind = kind.value_type
            assert kind == pa.from_numpy_dtype(features[name]["dtype"])
        for name in videos:
            start, end = e[f"videos/{name}/from_timestamp"], e[f"videos/{name}/to_timestamp"]
            file = info["video_path"].format(
                video_key=name, chunk_index=e[f"videos/{name}/chunk_index"], file_index=e[f"videos/{name}/file_index"]
            )
            assert start == pytest.approx(filmed[name][1] if filmed[name][0] == file else 0.0, abs=1e-6)
            assert end == pytest.approx(start + n / fps, abs=1e-6)
            times = [t for t in video_times(root / file) if start - 1e-4 <= t < end - 1e-4]
            assert times == pytest.approx(start + np.arange(n) / fps, abs=1e-4)
            filmed[name] = (file, end)
        for name, f in features.items():
            shape = [f["shape"][-1], 1, 1] if f["dtype"] in ("video", "image") else f["shape"]
            for part in STATISTICS:
                expected = [1] if part == "count" else shape
                assert list(np.shape(e[f"stats/{name}/{part}"])) == list(np.shape(statistics[name][part])) == expected, (name, part)
        index += n
    assert info["total_frames"] == index
    for name in videos:
        details, (height, width, _) = features[name]["info"], features[name]["shape"]
        assert (details["video.height"], details["video.width"], details["video.channels"]) == (height, width, 3)
        assert details["video.fps"] == fps
        assert {"video.codec", "video.pix_fmt", "video.is_depth_map", "has_audio"} <= set(details)
    return info


def read_back(root: Path, take: str, names: tuple[str, ...]) -> Piece:
    (piece,) = list(LEROBOT.read(root, take, names, {}))
    return piece


def values_of(piece: Piece, name: str) -> NDArray[Any]:
    values = piece.streams[name].values
    return values if isinstance(values, np.ndarray) else values.read(np.arange(len(values)))


def assert_comes_back(root: Path, store: EpisodeStore) -> None:
    """T, relative times and numbers are exact, and pictures too where they are no video; those are near."""
    assert exported_schema(root) == store.schema
    names = tuple(store.schema.by_name)
    monitored = LEROBOT.describe(root, {})
    assert {c.name: (c.hint, c.shape, c.dtype) for c in monitored.channels if c.name in names} == {
        s.name: (str(s.role), s.shape, s.dtype) for s in store.schema.signals
    }
    assert len(monitored.takes) == len(store.healthy())
    for take, number in zip(monitored.takes, store.healthy(), strict=True):
        episode = store[int(number)]
        piece = read_back(root, take, names)
        for signal in store.schema.signals:
            stream, expected = piece.streams[signal.name], episode.signals[signal.name]
            found = values_of(piece, signal.name)
            assert len(found) == episode.steps + 1
            np.testing.assert_array_equal(stream.time, episode.time - episode.time[0])
            if signal.role is Role.ACTION:
                np.testing.assert_array_equal(found[-1], found[-2], "the last row repeats the last action")
                found = found[:-1]
            assert found.dtype == expected.dtype
            if signal.is_image and signal.shape[2] == 3 and signal.role is not Role.ACTION:
                np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=4)
            else:
                assert found.tobytes() == expected.tobytes(), signal.name


def test_an_export_is_as_published_and_comes_back(store: EpisodeStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export_lerobot(store, tmp_path / "set", task="pour", robot_type="so101", progress=lambda *at: seen.append(at))
    info = check_published(tmp_path / "set")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (info["fps"], info["robot_type"], info["total_frames"]) == (25, "so101", sum(LENGTHS) + len(LENGTHS))
    assert isinstance(info["fps"], int)
    dtypes = {name: f["dtype"] for name, f in info["features"].items() if name not in CLOCK}
    assert dtypes == {
        "observation.images.front": "video",
        "observation.images.odd": "video",
        "observation.images.mask": "image",
        "observation.state": "float32",
        "observation.heat": "float64",
        "observation.one": "int32",
        "action.arm": "float32",
        "action.grip": "bool",
        "observation.wind": "float64",
        "tacit.time": "float64",
    }
    assert pq.read_table(tmp_path / "set/meta/tasks.parquet")["task"].to_pylist() == ["pour"]
    assert info["tacit"]["source"] == {"world": "bench"}
    assert_comes_back(tmp_path / "set", store.without_labels())
    assert [p.name for p in tmp_path.iterdir()] == ["set"], "no temporary folder is left"


def test_a_dataset_without_the_key_of_tacit_is_read_under_its_own_names(store: EpisodeStore, tmp_path: Path) -> None:
    export_lerobot(store, tmp_path / "set")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    (tmp_path / "set/meta/info.json").write_text(json.dumps({k: v for k, v in info.items() if k != "tacit"}))
    piece = read_back(tmp_path / "set", "episode 2", ("observation.state", "action.arm", "observation.one"))
    np.testing.assert_array_equal(values_of(piece, "observation.state"), store[2].signals["state"])
    np.testing.assert_array_equal(values_of(piece, "action.arm")[:-1], store[2].signals["arm"])
    assert values_of(piece, "observation.one").shape == (13,)


def test_labels_are_exported_only_on_request(store: EpisodeStore, tmp_path: Path) -> None:
    export_lerobot(store, tmp_path / "without")
    assert "pose" not in (tmp_path / "without/meta/info.json").read_text()
    export_lerobot(store, tmp_path / "with", include_labels=True)
    info = check_published(tmp_path / "with")
    assert "label.pose" in info["features"]
    assert_comes_back(tmp_path / "with", store)


@pytest.mark.parametrize("limits", [Limits(data_files_size_in_mb=1e-6, video_files_size_in_mb=1e-6, chunks_size=2)])
def test_files_are_cut_at_their_size_and_chunks_at_theirs(store: EpisodeStore, tmp_path: Path, limits: Limits) -> None:
    export_lerobot(store, tmp_path / "set", limits=limits)
    check_published(tmp_path / "set")
    assert_comes_back(tmp_path / "set", store.without_labels())
    expected = ["chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000", "chunk-001/file-001"]
    for folder, suffix in (("data", ".parquet"), ("videos/observation.images.front", ".mp4")):
        root = tmp_path / "set" / folder
        assert sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) == [f"{name}{suffix}" for name in expected]


def test_the_list_of_episodes_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.data.export_lerobot.BATCH", 2)
    schema = Schema(signals=(Signal(name="x", role=Role.OBSERVATION), Signal(name="u", role=Role.ACTION)), period=0.3)
    with EpisodeWriter.create(tmp_path / "store", schema) as writer:
        for number in range(5):
            writer.add(episode_of(number, 2, schema))
    store = EpisodeStore(tmp_path / "store")
    export_lerobot(store, tmp_path / "set", limits=Limits(data_files_size_in_mb=1e-6))
    info = check_published(tmp_path / "set")
    assert len(list((tmp_path / "set/meta/episodes").rglob("*.parquet"))) == 3
    assert info["fps"] == pytest.approx(10 / 3)
    assert info["video_path"] is None
    assert set(info["features"]) == {"observation.x", "action", "tacit.time", *CLOCK}
    assert not (tmp_path / "set/videos").exists()
    assert_comes_back(tmp_path / "set", store)


@settings(max_examples=8, deadline=None)
@given(
    data=st.data(),
    kinds=st.lists(
        st.tuples(st.sampled_from(list(Role)), st.sampled_from(DTYPES), st.lists(st.integers(1, 3), max_size=4)), min_size=1, max_size=4
    ),
)
def test_any_schema_without_cameras_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kinds: list[tuple[Role, str, list[int]]]
) -> None:
    signals = tuple(
        Signal(name=f"s{i}", role=role, dtype=dtype, shape=tuple(shape) if dtype != "uint8" else tuple(shape[:2]))
        for i, (role, dtype, shape) in enumerate(kinds)
    )
    schema = Schema(signals=signals, period=data.draw(st.floats(0.01, 30)))
    root = tmp_path_factory.mktemp("any")
    with EpisodeWriter.create(root / "store", schema) as writer:
        for number, steps in enumerate(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))):
            writer.add(episode_of(number, steps, schema))
    store = EpisodeStore(root / "store")
    export_lerobot(store, root / "set", include_labels=True)
    check_published(root / "set")
    assert_comes_back(root / "set", store)


def test_damaged_episodes_are_left_out(store: EpisodeStore, tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", ROBOT, shard_bytes=1) as writer:
        for number, steps in enumerate(LENGTHS):
            writer.add(robot_episode(number, steps))
    (tmp_path / "store/00001.arrow").write_bytes(b"")
    hit = EpisodeStore(tmp_path / "store")
    assert hit.healthy().tolist() == [0, 2, 3]
    export_lerobot(hit, tmp_path / "set")
    assert check_published(tmp_path / "set")["total_episodes"] == 3
    assert_comes_back(tmp_path / "set", hit.without_labels())
    for number in range(4):
        (tmp_path / f"store/{number:05d}.arrow").write_bytes(b"")
    with pytest.raises(ExportError, match="has no episode that can be read"):
        export_lerobot(EpisodeStore(tmp_path / "store"), tmp_path / "none")


def test_a_failure_leaves_nothing_behind(store: EpisodeStore, tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_lerobot(store, tmp_path / "set", progress=interrupt)
    with pytest.raises(ValueError, match="no encoder 'nonsense'"):
        export_lerobot(store, tmp_path / "set", codec="nonsense")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()
    with pytest.raises(ExportError, match=r"set already exists; choose a new folder"):
        export_lerobot(store, tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []


def test_names_that_meet_and_rates_that_cannot_be_are_refused(store: EpisodeStore, tmp_path: Path) -> None:
    schema = Schema(
        signals=(
            Signal(name="x", role=Role.OBSERVATION),
            Signal(name="observation.x", role=Role.DISTURBANCE),
            Signal(name="u", role=Role.ACTION),
        )
    )
    with EpisodeWriter.create(tmp_path / "store", schema) as writer:
        writer.add(episode_of(0, 2, schema))
    with pytest.raises(ExportError, match=r"signals 'x' and 'observation\.x' would both be the feature 'observation\.x'; export a view"):
        export_lerobot(EpisodeStore(tmp_path / "store"), tmp_path / "set")
    with pytest.raises(ExportError, match="fps must be a positive number"):
        export_lerobot(store, tmp_path / "set", fps=0)
    with pytest.raises(ExportError, match=r"0\.0001 frames per second cannot be written; give fps"):
        export_lerobot(store, tmp_path / "set", fps=1e-4)
    with pytest.raises(ValueError, match="chunks_size must be positive"):
        Limits(chunks_size=0)


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), min_size=2, max_size=4),
)
def test_merged_statistics_are_those_of_all_samples(parts: list[list[float]]) -> None:
    whole = of_numbers(np.array([v for part in parts for v in part]))
    found = of_numbers(np.array(parts[0]))
    for part in parts[1:]:
        found = merged(found, of_numbers(np.array(part)))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(found[name], whole[name], atol=1e-6, err_msg=name)


def test_statistics_of_pictures_are_those_of_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    found = of_pictures(images)
    pixels = images.reshape(-1, 3) / 255
    for name, expected in (("min", pixels.min(0)), ("max", pixels.max(0)), ("mean", pixels.mean(0)), ("std", pixels.std(0))):
        np.testing.assert_allclose(found[name][:, 0, 0], expected, err_msg=name)
    for name, q in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_allclose(found[name][:, 0, 0], np.quantile(pixels, q, axis=0, method="inverted_cdf"), err_msg=name)
    assert found["count"].tolist() == [7]
    assert of_pictures(np.zeros((2, 400, 300, 1), np.uint8))["mean"].shape == (1, 1, 1)


def test_grey_pictures_stand_in_the_rows_as_png(store: EpisodeStore, tmp_path: Path) -> None:
    export_lerobot(store, tmp_path / "set")
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    first = table["observation.images.mask"][0].as_py()
    assert first["path"] == "frame-000000.png"
    with Image.open(io.BytesIO(first["bytes"])) as picture:
        np.testing.assert_array_equal(np.asarray(picture), store[0].signals["mask"][0, ..., 0])
    known = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert known["observation.images.mask"] == {"_type": "Image"}
    assert known["observation.state"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "Sequence"}
    assert known["observation.wind"] == {"shape": [2, 2], "dtype": "float64", "_type": "Array2D"}
    assert set(known) == set(table.column_names)


def terminal() -> tuple[Terminal, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, soft_wrap=True)
    return Terminal(command="tacit export", out=console, err=console), text


def test_the_verb_exports_and_says_so(store: EpisodeStore, tmp_path: Path) -> None:
    talk, said = terminal()
    options = verb.Export(data=store.path, out=tmp_path / "set", labels=True, task="pour")
    assert verb.run(options, talk) == 0
    assert "label.pose" in check_published(tmp_path / "set")["features"]
    assert re.search(r"set: 4 episodes, 25 rows, .* of logs, [\d.]+ MB", said.getvalue())
    assert dataclasses.fields(verb.Export)[2].default == "lerobot"


def test_the_verb_compares_checksums_first(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", ROBOT, shard_bytes=1) as writer:
        for number, steps in enumerate(LENGTHS):
            writer.add(robot_episode(number, steps))
    file = tmp_path / "store/00002.arrow"
    value = EpisodeStore(tmp_path / "store")[2].signals["state"].tobytes()
    contents = file.read_bytes()
    assert contents.count(value) == 1
    file.write_bytes(contents.replace(value, bytes(len(value))))
    talk, said = terminal()
    assert verb.run(verb.Export(data=tmp_path / "store", out=tmp_path / "set"), talk) == 1
    assert "1 damaged episode; all others are good" in said.getvalue()
    assert check_published(tmp_path / "set")["total_episodes"] == 3
