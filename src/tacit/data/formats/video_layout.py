"""Which files of a folder belong together: the cameras and the table of each take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tacit.data.formats.names import natural_order
from tacit.data.formats.video_table import UNITS
from tacit.data.images import IMAGES
from tacit.data.streams import BadTake, SourceError

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm")
FIRST_ROW = "first"
ONLY_CAMERA = "image"


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The options of the format.

    Attributes:
        table: File name of the table; None for the only CSV file, or the one that is called like the video.
        time: Name of its column of time stamps; None for the one that is called like a time.
        time_unit: Of its numbers: `s`, `ms`, `us` or `ns`; None for the one that the name of the column ends with, or seconds.
        video_start: Time of the first frame in the table's clock, in seconds; `first` for that of the table's first row.
        fps: Frames per second, for images, or instead of the times in a video file.
        times: File name of a table with a time stamp for each frame (and, for images, a column of file names); `{take}` and
            `{camera}` stand for their names.
    """

    table: str | None = None
    time: str | None = None
    time_unit: str | None = None
    video_start: float | str = FIRST_ROW
    fps: float | None = None
    times: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, object]) -> VideoOptions:
        """Check the table `[options]` of a mapping.

        Raises:
            SourceError: An option is unknown or of the wrong type.
        """
        known = {field.name for field in fields(cls)}
        if unknown := [name for name in options if name not in known]:
            raise SourceError(f"options.{unknown[0]} is unknown to the format video; use: {', '.join(sorted(known))}")
        for name in ("table", "time", "times"):
            if not isinstance(options.get(name, ""), str):
                raise SourceError(f"options.{name} must be text, not {options[name]!r}")
        if options.get("time_unit", "s") not in UNITS:
            raise SourceError(f"options.time_unit is {options['time_unit']!r}; use one of: {', '.join(UNITS)}")
        if "fps" in options and not (_is_number(options["fps"]) and options["fps"] > 0):  # type: ignore[operator]
            raise SourceError(f"options.fps must be a positive number of frames per second, not {options['fps']!r}")
        if not (_is_number(options.get("video_start", 0.0)) or options["video_start"] == FIRST_ROW):
            raise SourceError(f'options.video_start must be a number of seconds or "{FIRST_ROW}", not {options["video_start"]!r}')
        return cls(**options)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class TakeFiles:
    """The files of one take.

    Attributes:
        name: Of the take.
        folder: Where they lie.
        cameras: A video file or a folder of images by name of camera.
        table: Table of actions and sensors, or None when it is missing.
    """

    name: str
    folder: Path
    cameras: Mapping[str, Path]
    table: Path | None

    def require_whole(self) -> Path:
        """The table, where the take has that and a camera.

        Raises:
            BadTake: One of the two is missing.
        """
        if self.table is None:
            camera = next(iter(self.cameras.values()))
            raise BadTake(f"{camera} has no table beside it: add {self.name}.csv, or move the video away")
        if not self.cameras:
            raise BadTake(f"{self.table} has no video beside it: add {self.name}.mp4, or move the table away")
        return self.table


def takes_of(path: Path, options: VideoOptions) -> tuple[TakeFiles, ...]:
    """The takes of a video file or a folder, by name.

    Raises:
        SourceError: There is no camera or no table, or several tables and nothing that says which.
    """
    folder = path if path.is_dir() else path.parent
    tables = [file for file in _files(folder, (".csv",)) if not _is_times(file, options)]
    if options.table is not None:
        tables = [folder / options.table]
        if not tables[0].is_file():
            raise SourceError(f"{tables[0]} does not exist; set options.table to the name of a CSV file in {folder}")
    if not tables:
        raise SourceError(f"{folder} has no CSV file of actions and sensors; put it there, or name it with options.table")
    if path.is_file():
        beside = [table for table in tables if table.stem == path.stem] or tables
        if len(beside) > 1:
            raise SourceError(f"{folder} has {len(beside)} CSV files and none is called {path.stem}.csv; say which with options.table")
        return (TakeFiles(name=path.stem, folder=folder, cameras={ONLY_CAMERA: path}, table=beside[0]),)
    cameras = _cameras(folder)
    is_pair = len(tables) == 1 and [*cameras] == [tables[0].stem] and options.table is None
    if len(tables) == 1 and not is_pair:
        return (TakeFiles(name=folder.resolve().name, folder=folder, cameras=cameras, table=tables[0]),)
    by_stem = {table.stem: table for table in tables}
    if not set(by_stem) & set(cameras):
        raise SourceError(
            f"{folder} has {len(tables)} CSV files, and none is called like a video ({', '.join(cameras)}); say which with options.table"
        )
    return tuple(
        TakeFiles(
            name=stem,
            folder=folder,
            cameras={ONLY_CAMERA: cameras[stem]} if stem in cameras else {},
            table=by_stem.get(stem),
        )
        for stem in sorted({*by_stem, *cameras}, key=natural_order)
    )


def _cameras(folder: Path) -> dict[str, Path]:
    cameras = {ONLY_CAMERA: folder} if images_in(folder) else {}
    for path in [*_files(folder, VIDEOS), *sorted(sub for sub in folder.iterdir() if sub.is_dir() and images_in(sub))]:
        name = path.name if path.is_dir() else path.stem
        if name in cameras:
            raise SourceError(f"{cameras[name]} and {path} are both called {name!r}; rename one")
        cameras[name] = path
    if not cameras:
        raise SourceError(f"{folder} has no video ({', '.join(VIDEOS)}) and no images; give the folder that has")
    return cameras


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in the order of the numbers in their names."""
    return _files(folder, IMAGES)


def times_file(take: str, camera: str, options: VideoOptions) -> str | None:
    """File name of the time stamps of a camera's frames, or None."""
    return None if options.times is None else options.times.replace("{take}", take).replace("{camera}", camera)


def _is_times(file: Path, options: VideoOptions) -> bool:
    if options.times is None:
        return False
    parts = re.split(r"\{take\}|\{camera\}", options.times)
    return re.fullmatch(".+".join(map(re.escape, parts)), file.name) is not None


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    found = (file for file in folder.iterdir() if file.suffix.lower() in endings and not file.name.startswith(".") and file.is_file())
    return sorted(found, key=lambda file: natural_order(file.name))
