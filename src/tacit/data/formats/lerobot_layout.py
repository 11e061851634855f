"""Where a LeRobotDataset keeps what: the published layouts v2.0, v2.1 and v3.0, read into values.

The facts are those of the package `lerobot` (its documentation page "LeRobotDataset v3.0", and in its source `datasets/utils.py` for paths
and defaults, `datasets/dataset_metadata.py` and `datasets/dataset_writer.py` for the columns of an episode, and
`scripts/convert_dataset_v21_to_v30.py` for both layouts side by side):

    meta/info.json                            codebase_version, fps, features, data_path, video_path, chunks_size, ...
    meta/episodes/chunk-000/file-000.parquet  v3.0: one row per episode: episode_index, tasks, length, dataset_from_index,
                                              dataset_to_index, data/chunk_index, data/file_index, meta/episodes/chunk_index and
                                              file_index, videos/KEY/chunk_index, file_index, from_timestamp, to_timestamp, stats/...
    meta/tasks.parquet, meta/stats.json       v3.0
    meta/episodes.jsonl                       v2.x: episode_index, tasks, length; beside it tasks.jsonl and episodes_stats.jsonl
    data/chunk-000/file-000.parquet           v3.0: many episodes, one row per moment: the features that are no videos, and timestamp
                                              (float32 seconds, from 0 in each episode), frame_index, episode_index, index, task_index
    data/chunk-000/episode_000000.parquet     v2.x: one episode
    videos/KEY/chunk-000/file-000.mp4         v3.0: many episodes one after the other, each from its from_timestamp on
    videos/chunk-000/KEY/episode_000000.mp4   v2.x: one episode

A feature has `dtype` ("video" and "image" are cameras, "string" is text, the rest are numpy names), `shape` and `names`. Of shape [1] is a
plain number. A picture of an "image" feature stands in the Parquet row as a struct of its file's `bytes` and `path`.

A dataset that Tacit has exported (`tacit.data.export_lerobot`) has a key "tacit" in its info.json, which says what the signals were; it is
not needed to read one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tacit.data.formats.lerobot_episodes import INFO, EpisodePlace, entry, episode_files, episode_places
from tacit.data.streams import SourceError
from tacit.signals import Schema, SchemaError

VERSIONS = ("v2.0", "v2.1", "v3.0")
CLOCK = ("timestamp", "frame_index", "episode_index", "index")  # where a row belongs; not signals
EXACT_TIME = "tacit.time"  # seconds of each row as the exported store had them; LeRobot itself only knows multiples of 1 / fps
MOST_LOST = 100_000


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature of `info.json`.

    Attributes:
        name: Key of the feature, which is also its column.
        dtype: As published: a numpy name, `video`, `image` or text.
        shape: Of one sample; of a camera (height, width, channels), whatever their order in the file; a video is decoded to 3 channels.
        names: What the elements are called, or empty.
        is_depth: True for a depth map in a video.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    is_depth: bool = False

    @property
    def is_video(self) -> bool:
        return self.dtype == "video"

    @property
    def is_camera(self) -> bool:
        return self.dtype in ("video", "image")

    @property
    def is_signal(self) -> bool:
        """Something that a signal can be made of: no text, no sound, not empty, and not where a row belongs."""
        try:
            is_numeric = self.is_camera or np.dtype(self.dtype).kind in "biuf"
        except TypeError:
            return False
        return is_numeric and 0 not in self.shape and self.name not in (*CLOCK, EXACT_TIME)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What `meta` says about a dataset.

    Attributes:
        root: Folder of the dataset.
        fps: Moments per second.
        features: Those that a signal can be made of, by the name of the channel.
        episodes: By number, ascending.
        lost: Episodes that `info.json` counts and that nothing else speaks of.
        schema: Of the store that was exported, or None.
    """

    root: Path
    fps: float
    features: Mapping[str, Feature]
    episodes: Mapping[int, EpisodePlace]
    lost: tuple[int, ...]
    schema: Schema | None

    def feature(self, channel: str) -> Feature:
        """A feature by the name of its channel, or by its key.

        Raises:
            SourceError: There is none.
        """
        found = self.features.get(channel) or next((f for f in self.features.values() if f.name == channel), None)
        if found is None:
            raise SourceError(f"{self.root / INFO}: there is no feature {channel!r}; use one of: {', '.join(self.features)}")
        return found


def layout_of(root: Path) -> Layout:
    """Read `meta`; read again only when one of its files has changed.

    Raises:
        SourceError: A file of `meta` is missing, damaged, or of a version that is not known.
    """
    files = [root / INFO, root / "meta/episodes.jsonl", *episode_files(root)]
    stamps = tuple((str(f), s.st_mtime_ns, s.st_size, s.st_ino) for f in files if f.is_file() for s in (f.stat(),))
    return _layout_of(root, stamps)


@lru_cache(maxsize=4)
def _layout_of(root: Path, stamps: tuple[object, ...]) -> Layout:
    info = read_info(root)
    features = {name: _feature(root, name, values) for name, values in entry(root, info, "features", dict).items()}
    schema, names = _exported(root, info)
    episodes = {
        e.number: e for e in sorted(episode_places(root, info, [f.name for f in features.values() if f.is_video]), key=lambda e: e.number)
    }
    return Layout(
        root=root,
        fps=_fps(root, info),
        features={names.get(f.name, f.name): f for f in features.values() if f.is_signal},
        episodes=episodes,
        lost=_lost(root, info, episodes),
        schema=schema,
    )


def read_info(root: Path) -> Mapping[str, Any]:
    """Contents of `info.json`.

    Raises:
        SourceError: It is missing or damaged, or says a version or a storage that is not known.
    """
    file = root / INFO
    try:
        info = json.loads(file.read_bytes())
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}; give the folder that holds meta, data and videos") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file} is not JSON: {error}; restore it from a copy") from error
    if not isinstance(info, dict) or not isinstance(version := info.get("codebase_version"), str):
        raise SourceError(f"{file} has no codebase_version; it is not the info.json of a LeRobotDataset")
    if version not in VERSIONS:
        raise SourceError(f"{file}: codebase_version {version!r} is none of {', '.join(VERSIONS)}; convert it with the package lerobot")
    if (storage := info.get("storage_format", "parquet")) != "parquet":
        raise SourceError(f"{file}: storage_format {storage!r} cannot be read; convert it to Parquet and mp4 files first")
    return info


def _lost(root: Path, info: Mapping[str, Any], episodes: Mapping[int, EpisodePlace]) -> tuple[int, ...]:
    total = info.get("total_episodes", len(episodes))
    if not isinstance(total, int) or total - len(episodes) > MOST_LOST:
        raise SourceError(f"{root / INFO}: total_episodes is {total!r}, and meta lists {len(episodes)}; download the dataset again")
    missing = (number for number in range(total) if number not in episodes)
    return tuple(islice(missing, max(total - len(episodes), 0)))


def _fps(root: Path, info: Mapping[str, Any]) -> float:
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps < float("inf"):
        raise SourceError(f"{root / INFO}: fps is {fps!r}, and must be a positive number; restore the file from a copy")
    return float(fps)


def _feature(root: Path, name: str, values: object) -> Feature:
    fault = SourceError(f"{root / INFO}: feature {name!r} needs a dtype and a shape; restore the file from a copy")
    if not isinstance(values, dict) or not isinstance(dtype := values.get("dtype"), str):
        raise fault
    shape = values.get("shape") or ()
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise fault
    details = {**(values.get("video_info") or {}), **(values.get("info") or {})}
    names = tuple(_names(values.get("names")))
    feature = Feature(name=name, dtype=dtype, shape=tuple(shape), names=names)
    if not feature.is_camera:
        return feature
    if len(shape) != 3:
        raise SourceError(f"{root / INFO}: feature {name!r} has shape {list(shape)}; a camera has height, width and channels")
    first = names[0].lower() if len(names) == 3 else ""
    is_channel_first = first.startswith("c") or (not first and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4))
    height, width, channels = (*shape[1:], shape[0]) if is_channel_first else shape
    is_depth = bool(details.get("is_depth_map") or details.get("video.is_depth_map"))
    return Feature(name=name, dtype=dtype, shape=(height, width, 3 if feature.is_video else channels), is_depth=is_depth)


def _names(value: object) -> Iterator[str]:
    """Names of elements, which may stand in a list, in a table of lists, or in a table as keys."""
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        yield from (str(n) for v in lists for n in v) if lists else (str(k) for k in value)
    elif isinstance(value, list):
        yield from (str(n) for n in value)


def _exported(root: Path, info: Mapping[str, Any]) -> tuple[Schema | None, Mapping[str, str]]:
    """Schema of the store that was exported, and names of signals by feature."""
    if "tacit" not in info:
        return None, {}
    try:
        schema = Schema.from_json(info["tacit"]["schema"])
        names = {str(feature): str(name) for feature, name in info["tacit"]["signals"].items() if name in schema.by_name}
    except (SchemaError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f'{root / INFO}: the key "tacit" is damaged ({error}); take it out, and the dataset is read without it'
        ) from error
    return schema, names
