"""A store as a LeRobotDataset v3.0, that LeRobot trains on and that Tacit imports again without a loss beside that of the video codec.

The layout is described in `tacit.data.formats.lerobot_layout`, with its sources; limits and encoding follow the defaults of the package
`lerobot` where it has any (file sizes, a key frame at least every second frame, statistics, one row group per episode).

An episode of T actions has T+1 observations; LeRobot has one action in each row. So there are T+1 rows, and the last one repeats the last
action, which leads nowhere: an import of the rows drops it again.

LeRobot knows no time but multiples of 1 / fps, and finds the frames of a video by it. So `timestamp` is that, and a column `tacit.time`
(float64, seconds since the first row) has the times as the store has them. The key "tacit" of `info.json` has the schema, and what each
feature was called. Both are foreign to LeRobot, which passes over the one and warns that it does not know the other.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tacit.atomic import sync_folder
from tacit.data.episode import Episode
from tacit.data.export_lerobot_features import (
    Column,
    ExportError,
    Statistics,
    columns_of,
    datasets_metadata,
    frame_rate,
    listed,
    merged,
    of_numbers,
)
from tacit.data.export_lerobot_files import Limits, ParquetFiles, Place, VideoFiles, video_entry
from tacit.data.formats.lerobot_episodes import INFO
from tacit.data.formats.lerobot_layout import EXACT_TIME
from tacit.data.store import EpisodeStore
from tacit.signals import Role

VERSION = "v3.0"
TASK_INDEX = "task_index"
BATCH = 100  # episodes per row group of meta/episodes
CLOCK = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", TASK_INDEX: "int64"}
TIMES = {EXACT_TIME: "float64", **CLOCK}
DEFAULT_LIMITS = Limits()


def export_lerobot(
    store: EpisodeStore,
    out: str | Path,
    *,
    fps: float | None = None,
    codec: str = "libx264",
    crf: int = 18,
    robot_type: str = "unknown",
    task: str = "unknown",
    include_labels: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a store as a LeRobotDataset v3.0.

    Features are named as `tacit.data.export_lerobot_features.columns_of` says. Numbers keep their type and every bit. Cameras of three
    colours become videos; grey and transparent ones stand as PNG in the rows and lose nothing. Episodes that the store knows to be damaged
    are left out (`EpisodeStore.damage`; `EpisodeStore.verify` finds all), and the others are numbered anew.

    Args:
        store: What to export.
        out: Folder to make; it appears when it is complete.
        fps: Frames per second, or None for those of the store's control period.
        codec: FFmpeg's name of the video encoder: `libx264`, or `libsvtav1`, which LeRobot prefers and which needs at least 64 x 64 pixels.
        crf: Quality of the videos: lower is better and larger.
        robot_type: What the machine is.
        task: What it does, in natural language; LeRobot gives it to policies that read.
        include_labels: Export labels too, as features `label.NAME`, which no policy of LeRobot takes for an observation.
        limits: Sizes of files.
        progress: Called with the number of episodes done and of all.

    Raises:
        ExportError: The folder exists, the store has no episode that can be read, or a signal has no place in LeRobot.
        ValueError: FFmpeg refuses to encode.
        DamagedEpisode: An episode was found damaged on the way. Run `EpisodeStore.verify` first, and it is left out.
        OSError: The disk is full or fails. In every case nothing is left behind.
    """
    path = Path(out).absolute()
    if path.exists() or path.is_symlink():
        raise ExportError(f"{out} already exists; choose a new folder, or remove it first")
    exported = store if include_labels else store.without_labels()
    columns = columns_of(exported.schema.signals)
    rate = frame_rate(1 / store.schema.period if fps is None else fps)
    if rate <= 1e-3 and any(c.is_video for c in columns):
        raise ExportError(f"a video of {rate:g} frames per second cannot be written; give fps, and the exact times stand in {EXACT_TIME}")
    if not len(exported.healthy()):
        raise ExportError(f"{store.path} has no episode that can be read; there is nothing to export")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        temporary.mkdir(parents=True)
        dataset = _Dataset(temporary, columns, rate, limits, codec=codec, crf=crf, task=task)
        dataset.write(exported, progress)
        dataset.finish(exported, robot_type)
        _sync(temporary)
        if path.exists():  # rename would put an empty folder aside
            raise ExportError(f"{out} was made by someone else in the meantime; choose another folder")
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


class _Dataset:
    """A dataset that is being written."""

    def __init__(
        self, root: Path, columns: tuple[Column, ...], fps: int | float, limits: Limits, *, codec: str, crf: int, task: str
    ) -> None:
        self.root = root
        self.columns = columns
        self.fps = fps
        self.limits = limits
        self.task = task
        self.episodes = 0
        self.rows = 0
        self.statistics: dict[str, Statistics] = {}
        self._data = ParquetFiles(root / "data", limits)
        self._meta = ParquetFiles(root / "meta/episodes", limits)
        self._videos = {
            c.feature: VideoFiles(root / "videos" / c.feature, limits, fps=fps, codec=codec, crf=crf) for c in columns if c.is_video
        }
        self._pending: list[dict[str, Any]] = []
        tabular = [c for c in columns if not c.is_video]
        fields = [pa.field(c.feature, c.arrow_type()) for c in tabular] + [pa.field(n, pa.from_numpy_dtype(t)) for n, t in TIMES.items()]
        types = {c.feature: c.datasets_type() for c in tabular} | {n: {"dtype": t, "_type": "Value"} for n, t in TIMES.items()}
        self._schema = pa.schema(fields, metadata=datasets_metadata(types))

    def write(self, store: EpisodeStore, progress: Callable[[int, int], None] | None) -> None:
        numbers = store.healthy().tolist()
        try:
            for number in numbers:
                self._add(store[number])
                if progress is not None:
                    progress(self.episodes, len(numbers))
            self._flush()
        finally:
            for files in (self._data, self._meta):
                files.close()
            for videos in self._videos.values():
                videos.close()

    def _add(self, episode: Episode) -> None:
        count = episode.steps + 1
        values = {c.feature: _per_row(episode.signals[c.signal.name], c) for c in self.columns}
        times = {
            EXACT_TIME: episode.time - episode.time[0],
            "timestamp": (np.arange(count) / self.fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, self.episodes),
            "index": np.arange(self.rows, self.rows + count),
            TASK_INDEX: np.zeros(count, np.int64),
        }
        arrays = [c.array(values[c.feature]) for c in self.columns if not c.is_video] + [pa.array(v) for v in times.values()]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        place = self._data.add(count, lambda _: table)
        row = {
            "episode_index": self.episodes,
            "tasks": [self.task],
            "length": count,
            "data/chunk_index": place.chunk,
            "data/file_index": place.file,
            "dataset_from_index": self.rows,
            "dataset_to_index": self.rows + count,
        }
        for feature, files in self._videos.items():
            shot, start, end = files.add(values[feature].astype(np.uint8, copy=False))
            row |= {
                f"videos/{feature}/chunk_index": shot.chunk,
                f"videos/{feature}/file_index": shot.file,
                f"videos/{feature}/from_timestamp": start,
                f"videos/{feature}/to_timestamp": end,
            }
        found = {c.feature: c.statistics(values[c.feature]) for c in self.columns} | {n: of_numbers(v) for n, v in times.items()}
        for feature, statistics in found.items():
            row |= {f"stats/{feature}/{name}": value for name, value in listed(statistics).items()}
            before = self.statistics.get(feature)
            self.statistics[feature] = statistics if before is None else merged(before, statistics)
        self.episodes += 1
        self.rows += count
        self._pending.append(row)
        if len(self._pending) == BATCH:
            self._flush()

    def _flush(self) -> None:
        rows, self._pending = self._pending, []
        if not rows:
            return

        def table(place: Place) -> pa.Table:
            where = {"meta/episodes/chunk_index": place.chunk, "meta/episodes/file_index": place.file}
            return pa.Table.from_pylist([row | where for row in rows])

        self._meta.add(len(rows), table)

    def finish(self, store: EpisodeStore, robot_type: str) -> None:
        """What is known only at the end: `info.json`, `stats.json` and the tasks."""
        features = {c.feature: c.entry() for c in self.columns} | {n: {"dtype": t, "shape": [1], "names": None} for n, t in TIMES.items()}
        for feature in self._videos:
            features[feature]["info"] = video_entry(Place().path(self.root / "videos" / feature, ".mp4"), self.fps)
        info = {
            "codebase_version": VERSION,
            "robot_type": robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.rows,
            "total_tasks": 1,
            "chunks_size": self.limits.chunks_size,
            "data_files_size_in_mb": self.limits.data_files_size_in_mb,
            "video_files_size_in_mb": self.limits.video_files_size_in_mb,
            "fps": self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if self._videos else None,
            "features": features,
            "tacit": {
                "schema": store.schema.to_json(),
                "signals": {c.feature: c.signal.name for c in self.columns},
                "source": dict(store.source),
            },
        }
        statistics = {feature: listed(found) for feature, found in self.statistics.items()}
        (self.root / INFO).write_text(json.dumps(info, indent=4, ensure_ascii=False), encoding="utf-8")
        (self.root / "meta/stats.json").write_text(json.dumps(statistics, indent=4), encoding="utf-8")
        pq.write_table(_tasks(self.task), self.root / "meta/tasks.parquet")


def _per_row(values: NDArray[np.generic], column: Column) -> NDArray[np.generic]:
    """Samples of a signal, one per row: the last row repeats the last action."""
    return np.concatenate([values, values[-1:]]) if column.signal.role is Role.ACTION else values


def _tasks(task: str) -> pa.Table:
    """The list of tasks; LeRobot looks them up by the index that pandas keeps, so the table says what pandas would say."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, kind, stored in ((TASK_INDEX, "int64", "int64"), ("task", "unicode", "object"))
    ]
    labels = [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}]
    description = {"index_columns": ["task"], "column_indexes": labels, "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({TASK_INDEX: pa.array([0], pa.int64()), "task": [task]})
    return table.replace_schema_metadata({b"pandas": json.dumps(description).encode()})


def _sync(root: Path) -> None:
    """Bring every file below a folder to disk, so that the folder is never there without its contents."""
    for folder, _, files in os.walk(root):
        for name in files:
            with (Path(folder) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(folder)
