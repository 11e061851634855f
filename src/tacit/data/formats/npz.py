"""Format `npz`: arrays of one length in .npz files, each a take, or in folders of .npy files, which are mapped instead of read.

An array of one row less than the others has a value for each step, as actions have, and takes the first of their times. An array of
bytes that looks like images is a camera.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.npz_arrays import Header, array_files, require_numbers
from tacit.data.formats.npz_log import Log, NpzOptions
from tacit.data.streams import ArrayFrames, BadTake, Channel, Description, Piece, SourceError, Stream

_COLOURS = (1, 3, 4)
_SMALLEST = 8  # pixels; what is smaller is a matrix of numbers
_PIECE = 65_536  # rows


@dataclass(frozen=True, kw_only=True)
class Npz:
    """The format `npz`."""

    name: str = "npz"
    summary: str = "numpy: .npz files, or folders of .npy files, with arrays of one length"
    extra: str | None = None

    def recognises(self, path: Path) -> bool:
        try:
            first = _sources(path)[0]
            return first.is_dir() or is_zipfile(first)
        except (SourceError, OSError):
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Look at the headers of the arrays, and read timestamps and episodes.

        Raises:
            SourceError: No file can be read or has fitting arrays, or an option is unknown or wrong.
        """
        chosen = NpzOptions.parse(options)
        takes: list[str] = []
        logs: list[Log] = []
        faults: list[SourceError] = []
        seconds = 0.0
        for source in _sources(path):
            try:
                log = Log.open(source, chosen)
                spans = log.spans(chosen.episode)
                lengths = [log.times(span, chosen) for span in spans.values()]
                seconds += sum(float(t[-1] - t[0]) for t in lengths if len(t))
                logs.append(log)
            except SourceError as error:
                faults.append(error)
                spans = {"": slice(0, 0)} if chosen.episode is None else {}
            takes += [_take(path, source, name) for name in spans]
        if not logs:
            raise faults[0]
        first = logs[0]
        times = first.times(slice(0, min(first.rows, 1000)), chosen)
        interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        rate = 1 / interval if interval > 0 else None
        channels = tuple(_channel(name, header, first.rows, rate) for name, header in first.channels.items())
        found = {} if first.time is None else {"time": first.time}
        total = None if faults or not math.isfinite(seconds) else seconds
        return Description(channels=channels, takes=tuple(takes), seconds=total, options={**found, **options})

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read channels of one take.

        Raises:
            BadTake: The file is damaged, or this take has no rows or lacks a channel.
            SourceError: The source lacks a take or a channel, or a channel holds no numbers.
        """
        chosen = NpzOptions.parse(options)
        sources = _sources(path)
        for source in sources:
            if chosen.episode is None and take == _take(path, source, ""):
                log, span = _open(source, chosen), None
                break
            if chosen.episode is not None and (source == path or take.startswith(f"{source.name}:")):
                log = _open(source, chosen)
                span = log.spans(chosen.episode).get(take if source == path else take.removeprefix(f"{source.name}:"))
                if span is not None:
                    break
        else:
            raise SourceError(f"{path}: has no take {take!r}")
        span = span or slice(0, log.rows)
        _require(log, names, chosen, sources[0])
        times = log.times(span, chosen)
        if not len(times):
            raise BadTake(f"{source}: take {take!r} has no rows")
        yield from _pieces(log, names, times, span)


def _pieces(log: Log, names: tuple[str, ...], times: NDArray[np.float64], span: slice) -> Iterator[Piece]:
    """Rows of a take, cut where the time ascends, so that mapped arrays are never in memory as a whole."""
    arrays = {name: log.arrays.array(name) for name in names}
    size = _PIECE if (np.diff(times) > 0).all() else len(times)
    for start in range(0, len(times), size):
        end = min(start + size, len(times))
        streams = {}
        for name, array in arrays.items():
            part = array[span.start + start : min(span.start + end, len(array))]
            if len(part):
                streams[name] = Stream(
                    time=times[start : start + len(part)],
                    values=_values(part),
                    where=log.arrays.where(name),
                    rows=np.arange(span.start + start, span.start + start + len(part)),
                )
        yield Piece(streams=streams, until=float(times[end]) if end < len(times) else math.inf)


def _values(array: NDArray[np.generic]) -> NDArray[np.generic] | ArrayFrames:
    shape = _image(array.shape, array.dtype)
    if shape is None:
        return array
    images: NDArray[np.uint8] = array.view(np.uint8)
    if images.ndim == 3:
        return ArrayFrames(images=images[..., None])
    return ArrayFrames(images=images if images.shape[1:] == shape else np.moveaxis(images, 1, 3))


def _image(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, int, int] | None:
    """Height, width and channels, where an array looks like images."""
    inner = shape[1:]
    if dtype != np.uint8 or len(inner) not in (2, 3):
        return None
    if len(inner) == 2:
        return (*inner, 1) if min(inner) >= _SMALLEST else None
    if inner[2] in _COLOURS and min(inner[:2]) >= _SMALLEST:
        return (inner[0], inner[1], inner[2])
    return (inner[1], inner[2], inner[0]) if inner[0] in _COLOURS and min(inner[1:]) >= _SMALLEST else None


def _channel(name: str, header: Header, rows: int, rate: float | None) -> Channel:
    image = _image(header.shape, header.dtype)
    note = "one value per step: one row less than the others" if header.length == rows - 1 else ""
    return Channel(name=name, shape=image or header.shape[1:], dtype=header.dtype.name, rate=rate, camera=image is not None, note=note)


def _require(log: Log, names: tuple[str, ...], options: NpzOptions, first: Path) -> None:
    """Refuse arrays that are no channels; a missing one as a bad source when the first take lacks it too."""
    for name in names:
        header = log.arrays.headers.get(name)
        where = log.arrays.where(name)
        if header is not None:
            require_numbers(header.dtype, where)
        if name not in log.channels:
            what = "is missing" if header is None else f"has the shape {header.shape}, but {log.rows} or {log.rows - 1} rows are needed"
            message = f"{where}: {what}; there are: {', '.join(log.channels)}"
            raise SourceError(message) if _lacks(first, name, options) else BadTake(message)
        if options.episode is not None and log.channels[name].length != log.rows:
            raise SourceError(
                f"{where}: has {log.channels[name].length} rows, but with several episodes each array needs {log.rows}; repeat the last one"
            )


def _lacks(source: Path, name: str, options: NpzOptions) -> bool:
    try:
        return name not in Log.open(source, options).channels
    except SourceError:
        return False


def _open(source: Path, options: NpzOptions) -> Log:
    try:
        return Log.open(source, options)
    except SourceError as error:
        raise BadTake(str(error)) from error


def _take(path: Path, source: Path, episode: str) -> str:
    if not episode:
        return source.name
    return episode if source == path else f"{source.name}:{episode}"


def _sources(path: Path) -> list[Path]:
    """The .npz file or folder of .npy files that a path is, or those that it holds, in the order of their names."""
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if not path.is_dir():
        if path.suffix != ".npz":
            raise SourceError(f"{path}: is no .npz file, and no folder of .npz or .npy files")
        return [path]
    if found := sorted(file for file in path.iterdir() if file.suffix == ".npz" and not file.name.startswith(".")):
        return found
    if array_files(path):
        return [path]
    if found := sorted(folder for folder in path.iterdir() if folder.is_dir() and array_files(folder)):
        return found
    raise SourceError(f"{path}: has no .npz or .npy file")


NPZ = Npz()
