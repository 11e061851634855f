"""Format `video`: a video file, or a folder of images, and a table of actions and sensors with time stamps.

    drive/front.mp4  drive/side.mp4  drive/log.csv      one take, cameras `front` and `side`
    runs/run1.mp4  runs/run1.csv  runs/run2.mp4  ...    a take for each pair, camera `image`
    trip/*.jpg  trip/log.csv                            one take, camera `image`; a sub-folder of images is a camera of its name

Video and table have clocks of their own rates. What ties them together is `video_start`, or a table of the times of the frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.video_layout import FIRST_ROW, VIDEOS, TakeFiles, VideoOptions, images_in, takes_of, times_file
from tacit.data.formats.video_table import Table, dtype_of, row_numbers
from tacit.data.images import IMAGES, ImageFrames
from tacit.data.streams import BadTake, Channel, Description, Frames, Piece, SourceError, Stream
from tacit.data.video import VideoFrames

FOREIGN = ("manifest.json", "meta/info.json")  # other formats that have videos or images in a folder
THREADS = min(4, os.cpu_count() or 1)


class VideoFormat:
    """Videos or images with a table beside them."""

    name = "video"
    summary = "a video file or a folder of images, with a CSV of actions and sensors; pairs of the same name are several takes"
    extra: str | None = None

    def recognises(self, path: Path) -> bool:
        """Is it a video file, or a folder with videos or images, and is there a table beside them?"""
        try:
            if path.is_file():
                return path.suffix.lower() in VIDEOS and _is_video(path) and bool(takes_of(path, VideoOptions()))
            return path.is_dir() and not any((path / name).exists() for name in FOREIGN) and bool(takes_of(path, VideoOptions()))
        except (SourceError, OSError):
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Look at the headers of the first whole take.

        Args:
            path: A video file, or a folder.
            options: See `VideoOptions`.

        Raises:
            SourceError: Nothing fits together, or no take can be read; with the reason of the first one.
        """
        chosen = VideoOptions.of(options)
        takes = takes_of(path, chosen)
        reasons: list[BadTake] = []
        for take in takes:
            try:
                channels, time_name, seconds = _channels(take, chosen)
            except BadTake as error:
                reasons.append(error)
                continue
            used = {name: value for name, value in asdict(chosen).items() if value is not None}
            return Description(
                channels=channels,
                takes=tuple(known.name for known in takes),
                seconds=seconds if len(takes) == 1 else None,
                options={**used, "time": time_name},
            )
        raise SourceError(f"no take of {path} can be read; the first: {reasons[0]}") from reasons[0]

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read a take as one piece; frames are decoded later, when they are asked for.

        Args:
            path: A video file, or a folder.
            take: One of `Description.takes`.
            names: Cameras and columns.
            options: See `VideoOptions`.

        Raises:
            BadTake: A file of this take is missing or damaged.
            SourceError: No take has one of the channels, or there is no such take.
        """
        chosen = VideoOptions.of(options)
        takes = {known.name: known for known in takes_of(path, chosen)}
        if take not in takes:
            raise SourceError(f"{path} has no take {take!r}; it has: {', '.join(takes)}")
        yield Piece(streams=_streams(takes[take], names, chosen, tuple(takes.values())))


VIDEO = VideoFormat()


def _is_video(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") or head[:4] in (b"\x1aE\xdf\xa3", b"RIFF")


def _channels(take: TakeFiles, options: VideoOptions) -> tuple[tuple[Channel, ...], str, float | None]:
    table = Table.of(take.require_whole())
    time_name = table.time_name(options.time)
    start = table.first_rows()
    time = table.times(table.read((time_name,)), time_name, options.time_unit)
    rate = _rate(time)
    channels = []
    for name, camera in take.cameras.items():
        stream = _camera(name, camera, take, time, options)
        assert isinstance(stream.values, Frames)
        note = ""
        if options.times is None and options.video_start == FIRST_ROW:
            note = "the first frame is taken to be of the time of the table's first row; set options.video_start if it is not"
        channels.append(Channel(name=name, shape=stream.values.shape, dtype="uint8", rate=_rate(stream.time), camera=True, note=note))
    for name in table.names:
        dtype = dtype_of(start[name])
        if name and name != time_name and name not in take.cameras and dtype is not None:
            channels.append(Channel(name=name, dtype=dtype, rate=rate))
    finite = time[np.isfinite(time)]
    return tuple(channels), time_name, float(np.ptp(finite)) if len(finite) else None


def _rate(time: NDArray[np.float64]) -> float | None:
    steps = np.diff(time)
    steps = steps[steps > 0]
    return float(1 / np.median(steps)) if len(steps) else None


def _streams(take: TakeFiles, names: tuple[str, ...], options: VideoOptions, takes: tuple[TakeFiles, ...]) -> dict[str, Stream]:
    table = Table.of(take.require_whole())
    columns = tuple(name for name in names if name not in take.cameras)
    for name in columns:
        if name not in table.names:
            kind = BadTake if any(_has(other, name) for other in takes if other.name != take.name) else SourceError
            known = ", ".join((*take.cameras, *table.names))
            raise kind(f"{table.path} has no column {name!r}, and no camera is called so; there are: {known}")
    time_name = table.time_name(options.time)
    rows = table.read(tuple(dict.fromkeys((time_name, *columns))))
    time = table.times(rows, time_name, options.time_unit)
    streams = {name: _camera(name, camera, take, time, options) for name, camera in take.cameras.items() if name in names}
    for name in columns:
        where = f"{table.path}, column {name}"
        streams[name] = Stream(time=time, values=table.numbers(rows, name), where=where, rows=row_numbers(len(time)))
    return streams


def _has(take: TakeFiles, name: str) -> bool:
    try:
        return name in take.cameras or (take.table is not None and name in Table.of(take.table).names)
    except BadTake:
        return False


def _camera(name: str, camera: Path, take: TakeFiles, table_time: NDArray[np.float64], options: VideoOptions) -> Stream:
    file = times_file(take.name, name, options)
    own = None
    frames: Frames
    if file is not None:
        own, listed = _times(take.folder / file, options)
        frames = _frames(camera) if listed is None else _listed(camera, listed)
        if len(own) != len(frames):
            raise BadTake(
                f"{take.folder / file} has {len(own)} rows and {camera} {len(frames)} frames, so frame {min(len(own), len(frames))} "
                "has no partner; give one row per frame"
            )
        return Stream(time=own, values=frames, where=str(camera))
    frames = _frames(camera)
    if isinstance(frames, ImageFrames):
        _require_no_hole(images_in(camera))
    if options.fps is not None:
        own = np.arange(len(frames)) / options.fps
    elif isinstance(frames, VideoFrames):
        own = frames.times - frames.times[:1]
    else:
        raise SourceError(f"{camera}: images have no times; set options.fps, or options.times to a CSV with one row per image")
    return Stream(time=own + _start(take, table_time, options), values=frames, where=str(camera))


def _start(take: TakeFiles, table_time: NDArray[np.float64], options: VideoOptions) -> float:
    if options.video_start != FIRST_ROW:
        return float(options.video_start)
    finite = table_time[np.isfinite(table_time)]
    if not len(finite):
        raise BadTake(f"{take.table}: no row has a time; correct the column, or set options.video_start")
    return float(finite[0])


def _times(file: Path, options: VideoOptions) -> tuple[NDArray[np.float64], list[str] | None]:
    """Time of each frame, and the file names where the table has them."""
    table = Table.of(file)
    time_name = options.time if options.time in table.names else table.time_name(None)
    rows = table.read(table.names)
    time = table.times(rows, time_name, options.time_unit)
    for name in table.names:
        cells = [str(cell or "").strip() for cell in rows[name].to_pylist()]
        if all(cell.lower().endswith(IMAGES) for cell in cells):
            return time, cells
    return time, None


def _frames(camera: Path) -> Frames:
    return ImageFrames(images_in(camera)) if camera.is_dir() else VideoFrames(camera, threads=THREADS)


def _listed(camera: Path, names: list[str]) -> Frames:
    """The images that a table of times names, in its order; a video has its own."""
    if not camera.is_dir():
        return _frames(camera)
    return ImageFrames([camera / Path(name.replace("\\", "/")).name for name in names])


def _require_no_hole(files: list[Path]) -> None:
    numbers = [int(found[1]) for file in files if (found := re.search(r"(\d+)\D*$", file.stem))]
    if len(numbers) < len(files):
        return
    step = min((after - before for before, after in pairwise(numbers)), default=1)
    for place, (before, after) in enumerate(pairwise(numbers)):
        if after != before + step:
            raise BadTake(
                f"{files[place + 1]} follows {files[place].name}: image {before + step} is missing, so the times of all later ones are "
                "unknown; restore it, or set options.times to a CSV with the time of each image"
            )
