"""Where each episode of a LeRobotDataset lies, as its `meta` says; see `lerobot_layout` for the published facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tacit.data.formats.lerobot_columns import opened, parquet
from tacit.data.streams import SourceError

INFO = "meta/info.json"
CHUNKS_SIZE = 1000  # files or, in v2.x, episodes per chunk, where info.json does not say


@dataclass(frozen=True, kw_only=True)
class VideoPlace:
    """Where the frames of an episode lie: in `file`, from `start` seconds on."""

    file: Path
    start: float


@dataclass(frozen=True, kw_only=True)
class EpisodePlace:
    """Where an episode lies.

    Attributes:
        number: Its `episode_index`.
        rows: Moments, N.
        data: Parquet file with its rows.
        videos: By feature.
    """

    number: int
    rows: int
    data: Path
    videos: Mapping[str, VideoPlace]


def entry(root: Path, info: Mapping[str, Any], name: str, kind: type) -> Any:
    """An entry of `info.json` that must be there, and of a kind."""
    if not isinstance(value := info.get(name), kind) or isinstance(value, bool):
        raise SourceError(f"{root / INFO}: {name} is {value!r}, and must be a {kind.__name__}; restore the file from a copy")
    return value


def episode_files(root: Path) -> list[Path]:
    """Files that say where the episodes lie, in v3.0."""
    return sorted((root / "meta/episodes").glob("*/*.parquet"))


def episode_places(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[EpisodePlace]:
    """Where each episode lies, in the order of `meta`.

    Args:
        root: Folder of the dataset.
        info: Contents of `info.json`.
        cameras: Features that are videos.

    Raises:
        SourceError: A file of `meta` is missing or damaged, or a path leads out of the dataset.
    """
    data_path = entry(root, info, "data_path", str)
    video_path = entry(root, info, "video_path", str) if cameras else ""
    seen = set()
    for row in _episode_rows_v3(root, cameras) if info["codebase_version"].startswith("v3") else _episode_rows_v2(root, info, cameras):
        if row.number in seen:
            raise SourceError(f"{row.where}: episode_index {row.number} stands there twice; take one of the two rows out")
        seen.add(row.number)
        videos = {
            camera: VideoPlace(file=_path(root, video_path, {**places, "video_key": camera}), start=start)
            for camera, (places, start) in row.videos.items()
        }
        yield EpisodePlace(number=row.number, rows=row.rows, data=_path(root, data_path, row.data), videos=videos)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """An episode as its line of `meta` has it; the tables fill the templates of `info.json`."""

    where: str
    number: int
    rows: int
    data: Mapping[str, int]
    videos: Mapping[str, tuple[Mapping[str, int], float]]


def _episode_rows_v3(root: Path, cameras: list[str]) -> Iterator[_Row]:
    if not (files := episode_files(root)):
        raise SourceError(
            f"{root / 'meta/episodes'} has no Parquet file, so nothing says where an episode lies; download the dataset again"
        )
    parts = ("chunk_index", "file_index", "from_timestamp")
    for file in files:
        with opened(file) as source:
            present = set(source.schema_arrow.names)
        filmed = [c for c in cameras if {f"videos/{c}/{part}" for part in parts} <= present]
        columns = ("episode_index", "length", "data/chunk_index", "data/file_index")
        table = parquet(file, (*columns, *(f"videos/{c}/{part}" for c in filmed for part in parts)))
        for i, row in enumerate(table.to_pylist()):
            where = f"{file} row {i}"
            if any(not isinstance(row[name], int) or row[name] < 0 for name in columns):
                raise SourceError(f"{where}: {', '.join(columns)} must be whole numbers; take the row out, or export the dataset again")
            places = {c: [row[f"videos/{c}/{part}"] for part in parts] for c in filmed}
            yield _Row(
                where=where,
                number=row["episode_index"],
                rows=row["length"],
                data={"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]},
                videos={
                    c: ({"chunk_index": int(chunk), "file_index": int(number)}, float(start))
                    for c, (chunk, number, start) in places.items()
                    if None not in (chunk, number, start)
                },
            )


def _episode_rows_v2(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[_Row]:
    file = root / "meta/episodes.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}; download the dataset again") from error
    chunk = info.get("chunks_size") or CHUNKS_SIZE
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            number, rows = int(values["episode_index"]), int(values["length"])
            places = {"episode_chunk": number // chunk, "episode_index": number}
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{file}:{i}: needs an episode_index and a length ({error}); take the line out, or restore the file"
            ) from error
        yield _Row(where=f"{file}:{i}", number=number, rows=rows, data=places, videos=dict.fromkeys(cameras, (places, 0.0)))


def _path(root: Path, template: str, values: Mapping[str, int | str]) -> Path:
    """Fill a template such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet`, and never leave the dataset."""

    def filled(field: re.Match[str]) -> str:
        name, width = field.group(1), field.group(2)
        if name not in values:
            raise SourceError(f"{root / INFO}: the path {template!r} has an unknown field {name!r}; use {', '.join(values)}")
        value = values[name]
        return f"{value:0{int(width)}d}" if width and isinstance(value, int) else str(value)

    path = PurePosixPath(re.sub(r"\{(\w+)(?::0?(\d+)d)?\}", filled, template))
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{root / INFO}: the path {template!r} leads out of the dataset; a path must stay below {root}")
    return root / path
