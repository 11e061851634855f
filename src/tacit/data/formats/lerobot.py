"""LeRobotDataset v2.0, v2.1 and v3.0: one take per episode. What lies where is in `tacit.data.formats.lerobot_layout`.

A row of LeRobot is a moment: the observation at that time and the action that was sent then, in force until the next row. So N rows are N
observations and N - 1 actions with a next observation; the action of the last row leads nowhere, and the alignment leaves it out.

Time is `frame_index / fps` where the time stamps agree with it (they are float32, and LeRobot itself calls 0.1 ms the same time), and the
time stamps as they are otherwise. In a dataset that Tacit exported, the column `tacit.time` has the exact times of the store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tacit.data.formats.lerobot_columns import MODES, Pictures, opened, require_columns, samples
from tacit.data.formats.lerobot_episodes import INFO, EpisodePlace
from tacit.data.formats.lerobot_layout import EXACT_TIME, Feature, Layout, layout_of
from tacit.data.streams import BadTake, Channel, Description, Frames, Piece, SourceError, Stream
from tacit.data.video import VideoFrames
from tacit.data.video_index import VideoIndex
from tacit.signals import Role, Schema, Signal

TAKE = "episode "
TOLERANCE = 1e-4  # seconds; `tolerance_s` of LeRobotDataset
MOST_ROWS = 1 << 20  # of a piece
MOST_PICTURES = 256  # of a piece with pictures, which may each be as large as all its numbers
MOST_NAMES = 12  # in a note


@final
class LeRobot:
    """Reads a folder with `meta`, `data` and, where there are cameras, `videos`; a `tacit.data.streams.Format`.

    Channels are the features, by their keys, and by the names of their signals in a dataset that Tacit exported.
    """

    name: str = "lerobot"
    summary: str = "LeRobotDataset v2.0, v2.1 and v3.0: a folder with meta, data and videos"
    extra: str | None = None

    def recognises(self, path: Path) -> bool:
        """Is there an `info.json` with a `codebase_version`? Another version than the known ones is refused later, with a reason."""
        try:
            info = json.loads((path / INFO).read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(info, dict) and "codebase_version" in info and "features" in info

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Features and episodes, from `meta` alone.

        Raises:
            SourceError: A file of `meta` is missing, damaged or of an unknown version; or there is an option.
        """
        _require_no_options(options)
        layout = layout_of(path)
        own = layout.schema.by_name if layout.schema else layout.features  # of a dataset of Tacit's, what was in the store
        return Description(
            channels=tuple(_channel(name, feature, layout) for name, feature in layout.features.items() if name in own),
            takes=tuple(_take(number) for number in sorted((*layout.episodes, *layout.lost))),
            seconds=sum(max(e.rows - 1, 0) for e in layout.episodes.values()) / layout.fps,
            options={},
        )

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read features of one episode; in one piece, or in several when there are pictures among its rows.

        Raises:
            BadTake: A file of the episode is missing or damaged, or its rows, its frames and `meta` do not agree.
            SourceError: There is no such episode or feature, or `meta` is damaged.
        """
        _require_no_options(options)
        layout = layout_of(path)
        features = {name: layout.feature(name) for name in names}
        number = take.removeprefix(TAKE)
        place = layout.episodes.get(int(number)) if number.isdecimal() else None
        if place is None and number.isdecimal() and int(number) in layout.lost:
            raise BadTake(f"{path / 'meta'} does not say where {take} lies, which {INFO} counts; download the dataset again")
        if place is None:
            raise SourceError(
                f"{path} has no take {take!r}; it has {len(layout.episodes)}, such as {_take(next(iter(layout.episodes), 0))!r}"
            )
        if place.rows <= 0:
            raise BadTake(f"{path}: {take} has length {place.rows}, there is nothing in it; leave this take out")
        try:
            yield from _pieces(layout, place, features)
        except BadTake:
            raise
        except (SourceError, pa.ArrowException, OSError) as error:  # a file of data is one episode's trouble, not the dataset's
            where = "" if isinstance(error, SourceError) else f"{place.data} is damaged: "
            raise BadTake(f"{take}: {where}{error}") from error


LEROBOT = LeRobot()


def exported_schema(path: Path) -> Schema | None:
    """Schema of the store that a dataset was exported from, with roles, units and ranges; None when Tacit did not export it.

    Raises:
        SourceError: A file of `meta` is missing or damaged.
    """
    return layout_of(path).schema


def _take(number: int) -> str:
    return f"{TAKE}{number}"


def _require_no_options(options: Mapping[str, object]) -> None:
    if options:
        raise SourceError(f"the format lerobot has no option {next(iter(options))!r}; leave the table [options] out")


def _channel(name: str, feature: Feature, layout: Layout) -> Channel:
    signal = _signal(name, layout)
    notes = (
        [f"elements: {', '.join(feature.names[:MOST_NAMES])}{', ...' if len(feature.names) > MOST_NAMES else ''}"] if feature.names else []
    )
    if feature.is_depth:
        notes.append("a depth map that was made a video: read as grey levels, not as metres")
    return Channel(
        name=name,
        shape=_shape(feature, signal),
        dtype="uint8" if feature.is_camera else feature.dtype,
        unit=signal.unit if signal else None,
        rate=layout.fps,
        camera=feature.is_camera,
        hint=str(signal.role) if signal else _hint(feature.name),
        note="; ".join(notes),
        signal=signal,
    )


def _signal(name: str, layout: Layout) -> Signal | None:
    return layout.schema.by_name.get(name) if layout.schema else None


def _shape(feature: Feature, signal: Signal | None) -> tuple[int, ...]:
    """Shape of a sample: a feature of shape [1] is a plain number, unless it was a vector of one."""
    if signal is not None and math.prod(signal.shape) == math.prod(feature.shape):
        return signal.shape
    return () if feature.shape == (1,) else feature.shape


def _hint(key: str) -> str | None:
    if key == "action" or key.startswith("action."):
        return str(Role.ACTION)
    if key == "observation" or key.startswith("observation."):
        return str(Role.OBSERVATION)
    return str(Role.LABEL) if key.startswith("next.") or key.endswith("_index") else None


def _pieces(layout: Layout, place: EpisodePlace, features: Mapping[str, Feature]) -> Iterator[Piece]:
    tabular = {name: f for name, f in features.items() if not f.is_video}
    has_pictures = any(f.is_camera for f in tabular.values())
    first_frames = {name: _first_frame(layout, place, f) for name, f in features.items() if f.is_video}
    with opened(place.data) as source:
        columns = tuple(f.name for f in tabular.values())
        require_columns(source, place.data, ("episode_index", "timestamp", "frame_index", *columns))
        first = _first_row(source, place)
        time = _time(source, place, first, layout.fps, must_match=bool(first_frames))
        table = _tables(source, first, place.rows, columns or ("frame_index",), MOST_PICTURES if has_pictures else MOST_ROWS)
        done = 0
        for part in table:
            stop = done + len(part)
            rows = np.arange(first + done, first + stop)
            streams = {name: _stream(layout, name, f, part, time[done:stop], rows, place) for name, f in tabular.items()}
            for name, start in first_frames.items():
                video = place.videos[features[name].name].file
                frames = VideoFrames(video, start=start + done, count=len(part))
                streams[name] = _filmed(layout, features[name], frames, time[done:stop], video, start + done)
            yield Piece(streams=streams, until=float(time[stop]) if stop < place.rows else math.inf)
            done = stop


def _stream(
    layout: Layout, name: str, feature: Feature, part: pa.Table, time: NDArray[np.float64], rows: NDArray[np.int64], place: EpisodePlace
) -> Stream:
    where = f"{place.data} column {feature.name!r}"
    column = part.column(feature.name).combine_chunks()
    if feature.is_camera:
        height, width, channels = feature.shape
        if channels not in MODES:
            raise BadTake(f"{where}: {layout.root / INFO} says {channels} channels, a picture has 1, 3 or 4; leave this camera out")
        pictures = Pictures(files=column, shape=(height, width, channels), where=where, rows=rows)
        return Stream(time=time, values=pictures, where=where, rows=rows)
    values, valid = samples(column, () if feature.shape == (1,) and not _is_list(column) else feature.shape, where, rows)
    shaped = values.reshape(len(rows), *_shape(feature, _signal(name, layout)))
    return Stream(time=time, values=shaped, where=where, valid=valid, rows=rows)


def _is_list(column: pa.Array) -> bool:
    return bool(pa.types.is_nested(column.type))


def _filmed(layout: Layout, feature: Feature, frames: Frames, time: NDArray[np.float64], video: Path, start: int) -> Stream:
    if frames.shape != feature.shape:  # of a video both have three channels
        raise BadTake(f"{video}: its frames are {frames.shape}, {layout.root / INFO} says {feature.shape}; correct the shape there")
    return Stream(time=time, values=frames, where=str(video), rows=np.arange(start, start + len(time)))


def _first_row(source: pq.ParquetFile, place: EpisodePlace) -> int:
    """Where in the file the rows of the episode begin; they stand together."""
    numbers = _numbers(source.read(columns=["episode_index"]), "episode_index", place, 0)
    rows = np.flatnonzero(numbers == place.number)
    if len(rows) != place.rows:
        raise BadTake(
            f"{place.data} has {len(rows)} rows of episode {place.number}, meta says {place.rows}: one of the two files is not of this "
            "dataset, or is incomplete; download it again, or leave this take out"
        )
    if rows[-1] - rows[0] != len(rows) - 1:
        between = int(rows[np.flatnonzero(np.diff(rows) != 1)[0]]) + 1
        raise BadTake(f"{place.data} row {between}: a row of another episode stands within episode {place.number}; sort the file")
    return int(rows[0])


def _tables(source: pq.ParquetFile, first: int, count: int, columns: tuple[str, ...], most: int) -> Iterator[pa.Table]:
    """Rows `first` to `first + count`, at most `most` at a time; other row groups are not read."""
    ends = np.cumsum([source.metadata.row_group(i).num_rows for i in range(source.num_row_groups)])
    groups = range(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, first + count - 1, "right")) + 1)
    at = int(ends[groups.start - 1]) if groups.start else 0
    kept: list[pa.RecordBatch] = []
    held = 0
    for batch in source.iter_batches(batch_size=min(most, 1 << 16), row_groups=list(groups), columns=list(columns)):
        low, high = max(first - at, 0), min(first + count - at, len(batch))
        at += len(batch)
        if low < high:
            kept.append(batch.slice(low, high - low))
            held += high - low
        if held >= most:
            yield pa.Table.from_batches(kept)
            kept, held = [], 0
    if kept:
        yield pa.Table.from_batches(kept)


def _time(source: pq.ParquetFile, place: EpisodePlace, first: int, fps: float, *, must_match: bool) -> NDArray[np.float64]:
    """Seconds of each row, float64 (N,)."""
    exact = EXACT_TIME in source.schema_arrow.names
    columns = ("frame_index", "timestamp", *((EXACT_TIME,) if exact else ()))
    table = pa.concat_tables(_tables(source, first, place.rows, columns, MOST_ROWS))
    frames, stamps, *times = (_numbers(table, name, place, first) for name in columns)
    if must_match and len(wrong := np.flatnonzero(frames != np.arange(place.rows))):
        raise BadTake(
            f"{place.data} column 'frame_index' row {first + wrong[0]} is {frames[wrong[0]]:g} and not {wrong[0]}, so its frame in the "
            "video is not known; leave the cameras out of the mapping, or export this episode again"
        )
    if times:
        return times[0]
    grid = frames / fps
    rounding = np.spacing(np.abs(stamps).astype(np.float32)).astype(np.float64)
    return grid if (np.abs(stamps - grid) <= np.maximum(TOLERANCE, rounding)).all() else stamps


def _numbers(table: pa.Table, name: str, place: EpisodePlace, first: int) -> NDArray[np.float64]:
    """A column of single numbers that must all be there, float64 (N,); its first row is row `first` of the file."""
    column = table.column(name).combine_chunks()
    rows = np.arange(first, first + len(column))
    values, valid = samples(column, (1,) if _is_list(column) else (), f"{place.data} column {name!r}", rows)
    if valid is not None:
        raise BadTake(f"{place.data} column {name!r} row {rows[~valid][0]} has no value; export this episode again")
    return values.reshape(-1).astype(np.float64)


def _first_frame(layout: Layout, place: EpisodePlace, feature: Feature) -> int:
    """Number, in its file, of the first frame of an episode; the frames are one per row, 1 / fps apart."""
    if (video := place.videos.get(feature.name)) is None:
        raise BadTake(f"episode {place.number} has no video of {feature.name!r} in meta/episodes; leave this take or this camera out")
    if not video.file.is_file():
        raise BadTake(f"{video.file} is missing; download the video again, or leave this take or this camera out")
    index = VideoIndex.of(video.file)
    known = index.pts * float(index.time_base)
    first = int(np.searchsorted(known, video.start - 0.5 / layout.fps))
    expected = video.start + np.arange(place.rows) / layout.fps
    found = known[first : first + place.rows]
    if len(found) < place.rows:
        raise BadTake(
            f"{video.file} ends after frame {len(known) - 1}; episode {place.number} needs {place.rows} frames from frame {first} on: "
            "download the video again, or leave this take out"
        )
    if len(wrong := np.flatnonzero(np.abs(found - expected) > 0.5 / layout.fps)):
        raise BadTake(
            f"{video.file} frame {first + wrong[0]} is at {found[wrong[0]]:.3f} s, and episode {place.number} needs one at "
            f"{expected[wrong[0]]:.3f} s: frames are missing or too many; leave this take or this camera out"
        )
    return first
