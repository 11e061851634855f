"""HDF5: what simulators and robot learning keep their episodes in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.hdf5_episodes import (
    BOOKKEEPING,
    UNITS,
    Episode,
    Hdf5Options,
    episodes_of,
    hint_of,
    layout_of,
    period_of,
    rows_of,
)
from tacit.data.formats.hdf5_frames import Hdf5Frames, Layout
from tacit.data.formats.hdf5_frames import layout_of as image_layout_of
from tacit.data.formats.hdf5_tree import PATTERNS, dataset, h5, is_hdf5, members, opened
from tacit.data.formats.names import natural_order, suggestion
from tacit.data.streams import UNREADABLE, BadTake, Channel, Description, Piece, SourceError, Stream

if TYPE_CHECKING:
    from tacit.data.formats.hdf5_tree import Dataset, Group

PIECE_BYTES = 64 << 20
LOOKED_AT = 3  # takes whose datasets are listed


class Hdf5:
    """Reads HDF5 files, or a folder of them; an episode is a take, and a dataset below it a channel, `observations/qpos`.

    Row t of an episode is at t periods, or has its time in a dataset. A dataset of T rows beside ones of T + 1 holds actions and other
    values of steps: its row t belongs to the step from t to t + 1. `next_obs/...` is stamped one row later, when it was seen.

    The layouts robomimic, Minari, ALOHA, and flat arrays (`ep_len` and `ep_offset`, `ep_idx`, `terminals`) are recognised; any other is
    described by the options. Arrays of images are cameras, read when they are asked for. Links are not followed.
    """

    name: str = "hdf5"
    summary: str = "HDF5 files of episodes: robomimic, Minari, ALOHA, flat arrays as OGBench's, or your own layout"
    extra: str | None = "formats"

    def recognises(self, path: Path) -> bool:
        try:
            return any(is_hdf5(file) for file in _files(path)[:3])
        except OSError:
            return False

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        h5()
        chosen = Hdf5Options.read(options)
        takes: list[str] = []
        channels: dict[str, Channel] = {}
        looked, steps, layout, period = 0, 0.0, chosen.layout, chosen.period
        failure: SourceError | None = None
        files = _existing(path)
        for file in files:
            try:
                with opened(file) as source:
                    found = layout_of(source, chosen, file)
                    for episode in episodes_of(source, found, chosen, file):
                        takes.append(_take(path, file, episode.name))
                        try:
                            here = _Reading(path=file, source=source, layout=found, episode=episode, options=chosen)
                            if looked < LOOKED_AT:
                                channels = {c.name: c for c in here.channels()} | channels
                                layout, looked, period = found, looked + 1, period or here.period
                            steps += here.steps
                        except BadTake as error:
                            failure = failure or error
            except SourceError as error:
                failure = failure or error
                if (name := _take(path, file, "")) not in takes:
                    takes.append(name)
        if not channels:
            raise SourceError(str(failure or f"{path}: has no dataset of numbers with a row per step"))
        rate = 1 / period if period and not chosen.time else None
        note = "" if rate or chosen.time else "the file says no rate: set period (seconds) under [options]"
        known = {"layout": layout, **{f.name: getattr(chosen, f.name) for f in fields(chosen) if f.name != "layout"}}
        return Description(
            channels=tuple(replace(c, rate=rate, note="; ".join(n for n in (c.note, note) if n)) for c in channels.values()),
            takes=tuple(takes),
            seconds=steps / rate if rate else None,
            options={name: value for name, value in (known | {"period": None if chosen.time else period}).items() if value is not None},
        )

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        h5()
        chosen = Hdf5Options.read(options)
        files = _existing(path)
        file = next((f for f in files if take == (n := _take(path, f, "")) or take.startswith(n + "/")), files[0])
        with opened(file) as source:
            try:
                layout = layout_of(source, chosen, file)
                episodes = {_take(path, file, e.name): e for e in episodes_of(source, layout, chosen, file)}
            except SourceError as error:
                raise BadTake(str(error)) from error
            if take not in episodes:
                raise SourceError(f"{path}: there is no take {take!r}{suggestion(take, episodes)}")
            here = _Reading(path=file, source=source, layout=layout, episode=episodes[take], options=chosen)
            if lacking := [name for name in names if here.found(name) is None]:
                known = [c.name for c in self.describe(path, options).channels]
                kind = BadTake if lacking[0] in known else SourceError
                where = f"take {take} of {path}" if kind is BadTake else str(path)
                near = known if kind is SourceError else [name for name, _ in members(here.group)]
                raise kind(f"{where}: there is no dataset {lacking[0]!r}{suggestion(lacking[0], near)}")
            yield from here.pieces(names)


HDF5 = Hdf5()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = {f for pattern in PATTERNS for f in path.glob(pattern) if f.is_file()}
    return sorted(found, key=lambda f: natural_order(f.relative_to(path).as_posix()))


def _existing(path: Path) -> list[Path]:
    files = _files(path)
    if not files or not any(is_hdf5(file) for file in files):
        raise SourceError(f"{path}: {'has no HDF5 file' if path.is_dir() else 'is not an HDF5 file'}; is another format meant?")
    return files


def _take(path: Path, file: Path, episode: str) -> str:
    if not path.is_dir():
        return episode or file.name
    return f"{file.relative_to(path).as_posix()}/{episode}".rstrip("/")


@dataclass(frozen=True, kw_only=True)
class _Column:
    """The rows of a dataset that are of one episode."""

    name: str
    dataset: Dataset
    start: int
    time: NDArray[np.float64]
    images: Layout | None

    @property
    def row_bytes(self) -> int:
        return 0 if self.images else int(self.dataset.dtype.itemsize * math.prod(self.dataset.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """One episode of a file that is open."""

    path: Path
    source: Group
    layout: str
    episode: Episode
    options: Hdf5Options

    @property
    def group(self) -> Group:
        return self.source[self.episode.group]

    @property
    def where(self) -> str:
        return f"{self.path}, {self.episode.name}" if self.episode.name else str(self.path)

    @property
    def steps(self) -> int:
        """Steps T: datasets have T rows, or T + 1 where an episode is a group."""
        if self.episode.stop is not None:
            return self.episode.stop - self.episode.start
        return rows_of(self.group, self.layout, self.where)

    @property
    def period(self) -> float | None:
        return self.options.period or period_of(self.source, self.group)

    def found(self, name: str) -> Dataset | str | None:
        return dataset(self.group, name)

    def channels(self) -> Iterator[Channel]:
        """What the datasets with a row per step hold."""
        steps = self.steps
        for name, item in members(self.group):
            hint = hint_of(self.layout, name)
            if isinstance(item, str):
                yield Channel(name=name, note=UNREADABLE + item)
            elif item.shape and name not in BOOKKEEPING and self._fits(len(item), steps):
                try:
                    images = self._images(name, item)
                except ValueError as error:
                    yield Channel(name=name, dtype="uint8", camera=True, note=f"{UNREADABLE}the first image {error}")
                    continue
                shape, dtype = images.shape if images else item.shape[1:], "uint8" if images else item.dtype.name
                note = "the observation after the step" if name.startswith("next_") else ""
                yield Channel(name=name, shape=shape, dtype=dtype, camera=images is not None, hint=hint, note=note)

    def pieces(self, names: tuple[str, ...]) -> Iterator[Piece]:
        """The rows of some datasets, a piece at a time."""
        steps = self.steps
        columns = [self._column(name, steps) for name in dict.fromkeys(names)]
        rows = max((len(column.time) for column in columns), default=0)
        if not rows:
            raise BadTake(f"{self.where}: is empty: no rows")
        at_once = max(1, PIECE_BYTES // max(1, sum(column.row_bytes for column in columns)))
        for begin in range(0, rows, at_once):
            end = begin + at_once
            later = [float(np.fmin.reduce(column.time[end:], initial=np.inf)) for column in columns]
            streams = {c.name: self._stream(c, begin, min(end, len(c.time))) for c in columns if len(c.time) > begin}
            yield Piece(streams=streams, until=min(later) if end < rows else math.inf)

    def _fits(self, length: int, steps: int) -> bool:
        return length >= (self.episode.stop or 0) if self.episode.stop is not None else length in (steps, steps + 1)

    def _images(self, name: str, item: Dataset) -> Layout | None:
        encoded = self.layout == "aloha" and name.startswith("observations/images/") and bool(self.source.attrs.get("compress", False))
        return image_layout_of(item, encoded)

    def _column(self, name: str, steps: int) -> _Column:
        item = self.found(name)
        where = f"{self.where}: dataset {name}"
        if isinstance(item, str):
            raise SourceError(f"{where} {item}")
        if item is None or not item.shape:
            raise SourceError(f"{where} {'is missing' if item is None else 'is a single value'}")
        if not self._fits(len(item), steps):
            wanted = f"{self.episode.stop} or more" if self.episode.stop is not None else f"{steps} or {steps + 1}"
            raise BadTake(f"{where} has {len(item)} rows where {wanted} belong; was its recording cut short?")
        try:
            images = self._images(name, item)
        except ValueError as error:
            raise BadTake(f"{where}: the first image {error}") from error
        count = len(item) if self.episode.stop is None else steps
        time = self._time(count, later=name.startswith("next_"))
        return _Column(name=name, dataset=item, start=self.episode.start, time=time, images=images)

    def _time(self, count: int, later: bool) -> NDArray[np.float64]:
        """Times of the first rows, or, of what was seen one row later, of the rows after them as far as they are known."""
        shift = int(later)
        if self.options.time is None:
            if (period := self.period) is None:
                hint = "; ALOHA records at 50 Hz, period = 0.02, where nobody changed it" if self.layout == "aloha" else ""
                raise SourceError(f"{self.path}: says nothing of its rate: set period = (seconds from row to row) under [options]{hint}")
            return np.arange(shift, count + shift, dtype=np.float64) * period
        found = self.found(self.options.time)
        if found is None or isinstance(found, str):
            near = "" if found else suggestion(self.options.time, [name for name, _ in members(self.group)])
            raise SourceError(f"{self.where}: dataset {self.options.time}, options.time, {found or 'is missing'}{near}")
        stop = self.episode.stop if self.episode.stop is not None else len(found)
        times = np.asarray(found[self.episode.start : stop], np.float64).reshape(-1) * UNITS[self.options.time_unit]
        if len(times) < count:
            raise BadTake(f"{self.where}: dataset {self.options.time} has times for {len(times)} of {count} rows; use a period instead")
        return np.append(times[shift:], [math.nan] * shift)[:count]

    def _stream(self, column: _Column, begin: int, end: int) -> Stream:
        first, last = column.start + begin, column.start + end
        path = f"{self.episode.group}/{column.name}".replace("//", "/")
        where = f"{self.path}, dataset {path}"
        values: NDArray[np.generic] | Hdf5Frames
        if column.images is not None:
            values = Hdf5Frames(file=self.path, dataset=path, start=first, count=last - first, layout=column.images)
        else:
            values = np.asarray(column.dataset[first:last])
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return Stream(time=column.time[begin:end], values=values, where=where, rows=np.arange(first, last))
