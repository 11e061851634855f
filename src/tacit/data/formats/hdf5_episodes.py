"""Episodes in HDF5 files: how the common layouts keep them, and where each one lies."""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tacit.data.formats.hdf5_tree import dataset, groups, h5, members, whole_numbers
from tacit.data.streams import BadTake, SourceError

if TYPE_CHECKING:
    from tacit.data.formats.hdf5_tree import Group

HINTS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "robomimic": (("obs/*", "observation"), ("actions", "action"), ("next_obs/*", None), ("rewards", "label"), ("states", "label")),
    "minari": (("observations*", "observation"), ("actions*", "action"), ("rewards", "label")),
    "aloha": (("observations/*", "observation"), ("action", "action"), ("base_action", "action")),
    "flat": (
        ("observation*", "observation"),
        ("pixels*", "observation"),
        ("proprio*", "observation"),
        ("action*", "action"),
        ("reward*", "label"),
    ),
    "custom": (),
}
"""What the datasets of each layout are, by their names: the first pattern that fits."""

ENDS = ("terminals", "timeouts")
INDEXES = ("ep_idx", "episode_index", "episode_idx")
BOOKKEEPING = (*INDEXES, "ep_len", "ep_offset", "step_idx")
RATES = ("fps", "sampling_rate")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """The table `[options]`.

    Attributes:
        layout: One of `HINTS`, or None to recognise it.
        episodes: With `custom`: pattern of the groups that are one episode each, such as `data/*`; `/` where the file is one.
        episode_ends: With `custom`: dataset with the row after the last one of each episode.
        episode_index: With `custom`: dataset with the number of its episode for each row.
        period: Seconds from one row to the next.
        time: Dataset of an episode with the time of each row; instead of `period`.
        time_unit: Of these times: `s`, `ms`, `us` or `ns`.
    """

    layout: str | None = None
    episodes: str | None = None
    episode_ends: str | None = None
    episode_index: str | None = None
    period: float | None = None
    time: str | None = None
    time_unit: str = "s"

    def __post_init__(self) -> None:
        for name in ("layout", "episodes", "episode_ends", "episode_index", "time", "time_unit"):
            if not isinstance(value := getattr(self, name), str | None):
                raise SourceError(f"options.{name}: must be text, not {value!r}")
        if self.layout is not None and self.layout not in HINTS:
            raise SourceError(f"options.layout: {self.layout!r} is none of: {', '.join(HINTS)}")
        if self.time_unit not in UNITS:
            raise SourceError(f"options.time_unit: {self.time_unit!r} is none of: {', '.join(UNITS)}")
        if self.period is not None:
            number = isinstance(self.period, int | float) and not isinstance(self.period, bool)
            if not number or not (math.isfinite(self.period) and self.period > 0):
                raise SourceError(f"options.period: must be a positive number of seconds, not {self.period!r}")
            if self.time is not None:
                raise SourceError("options.period: either a period or a dataset of times, not both")
        given = [name for name in ("episodes", "episode_ends", "episode_index") if getattr(self, name) is not None]
        if (self.layout == "custom") != (len(given) == 1):
            raise SourceError(
                'options.layout: "custom" goes with exactly one of episodes = "data/*" (groups), episode_ends and episode_index (datasets)'
            )

    @classmethod
    def read(cls, options: Mapping[str, object]) -> Hdf5Options:
        """The options as a mapping file has them.

        Raises:
            SourceError: An option is unknown or wrong.
        """
        known = [f.name for f in fields(cls)]
        if unknown := [name for name in options if name not in known]:
            raise SourceError(f"options.{unknown[0]}: unknown; the format hdf5 has: {', '.join(known)}")
        return cls(**options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Where one episode lies in its file.

    Attributes:
        name: In the file; empty when the file is one episode.
        group: Path of the group that its datasets are below.
        start: First row, where the datasets hold many episodes.
        stop: Row after the last one, or None where the datasets hold one episode.
    """

    name: str
    group: str
    start: int = 0
    stop: int | None = None


def layout_of(file: Group, options: Hdf5Options, where: Path) -> str:
    """The layout of a file, as the options say or as its names tell.

    Raises:
        SourceError: It is none that is known.
    """
    if options.layout is not None:
        return options.layout
    if isinstance(data := file.get("data") if _own(file, "data") else None, h5().Group):
        child = next((data[name] for name in data if _own(data, name)), None)
        if "env_args" in data.attrs or (isinstance(child, h5().Group) and "actions" in child):
            return "robomimic"
    if any(re.fullmatch(r"episode_\d+", name) for name in file):
        return "minari"
    if {"ep_len", "ep_offset"} <= set(file) or any(name in file for name in (*INDEXES, *ENDS)):
        return "flat"
    if "action" in file and isinstance(file.get("observations") if _own(file, "observations") else None, h5().Group):
        return "aloha"
    found = ", ".join(sorted(file)[:8]) or "nothing"
    raise SourceError(
        f"{where}: none of the layouts {', '.join(HINTS)} ({found} at the top); say where its episodes are under [options]: "
        'layout = "custom" with episodes = "data/*" (groups), episode_ends = "..." or episode_index = "..." (datasets)'
    )


def episodes_of(file: Group, layout: str, options: Hdf5Options, where: Path) -> tuple[Episode, ...]:
    """The episodes of a file, in their order.

    Raises:
        SourceError: There is none, or the lists that tell do not fit together.
    """
    patterns = {"robomimic": "data/*", "minari": "episode_*", "aloha": "/", "custom": options.episodes}
    pattern = patterns.get(layout)
    if pattern is not None:
        found = tuple(Episode(name=name, group=f"/{name}") for name, _ in groups(file, pattern))
        if not found:
            raise SourceError(f"{where}: no group fits episodes = {pattern!r}; at the top there are: {', '.join(sorted(file)[:8])}")
        return found
    spans = _spans(file, options, str(where))
    if not len(spans):
        raise SourceError(f"{where}: its lists of episodes are empty")
    return tuple(Episode(name=f"episode_{n}", group="/", start=int(a), stop=int(b)) for n, (a, b) in enumerate(spans))


def _own(group: Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5().HardLink)


def _spans(file: Group, options: Hdf5Options, where: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """First row and row after the last one of each episode, (N, 2)."""
    index = options.episode_index or next((name for name in INDEXES if name in file), None)
    if options.episode_ends is not None:
        stops = whole_numbers(file, options.episode_ends, where)
    elif options.episode_index is None and {"ep_len", "ep_offset"} <= set(file):
        starts, lengths = whole_numbers(file, "ep_offset", where), whole_numbers(file, "ep_len", where)
        if len(starts) != len(lengths) or (starts < 0).any() or (lengths < 0).any():
            raise SourceError(f"{where}: ep_offset and ep_len do not fit together: {len(starts)} and {len(lengths)} values, none below 0")
        return np.stack([starts, starts + lengths], axis=1)
    elif index is not None:
        numbers = whole_numbers(file, index, where)
        stops = np.append(np.flatnonzero(np.diff(numbers)) + 1, len(numbers))[: len(numbers)]
        first = numbers[np.append(0, stops[:-1])[: len(stops)]]
        if len(np.unique(first)) != len(first):
            again = next(int(n) for n in first if (first == n).sum() > 1)
            raise SourceError(f"{where}: the rows of episode {again} in {index} are not together; sort the rows by episode")
    else:
        flags = [_flags(file, name, where) for name in ENDS if name in file]
        if len({len(found) for found in flags}) > 1:
            lengths = " and ".join(str(len(found)) for found in flags)
            raise SourceError(f"{where}: {' and '.join(ENDS)} have {lengths} rows; was its recording cut short?")
        ended = np.logical_or.reduce(flags)
        stops = np.flatnonzero(ended) + 1
        if len(ended) and not ended[-1]:
            stops = np.append(stops, len(ended))  # the recording ended in the middle of an episode
    if (np.diff(stops, prepend=0) < 0).any():
        raise SourceError(f"{where}: dataset {options.episode_ends}: the ends of the episodes must ascend")
    return np.stack([np.append(0, stops[:-1])[: len(stops)], stops], axis=1)


def _flags(file: Group, name: str, where: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = dataset(file, name)
    if found is None or isinstance(found, str) or not found.shape:
        raise SourceError(f"{where}: dataset {name} {found if isinstance(found, str) else 'is missing, or a single value'}")
    flags: np.ndarray[tuple[int], np.dtype[np.bool_]] = found[:].reshape(-1) != 0
    return flags


def hint_of(layout: str, name: str) -> str | None:
    """What a dataset of a layout is, by its name."""
    return next((hint for pattern, hint in HINTS[layout] if fnmatch.fnmatchcase(name, pattern)), None)


def period_of(file: Group, group: Group) -> float | None:
    """Seconds from row to row as the attributes of an episode, its file or robomimic's `env_args` say; None when they do not."""
    places = [group.attrs, file.attrs, *([file["data"].attrs] if "data" in file and _own(file, "data") else [])]
    rates = [place[name] for place in places for name in RATES if name in place]
    for place in places:
        try:
            rates.append(json.loads(str(place["env_args"]))["env_kwargs"]["control_freq"])
        except (KeyError, TypeError, ValueError):
            continue
    for rate in rates:
        try:
            if (value := float(np.asarray(rate).reshape(-1)[0])) > 0 and math.isfinite(value):
                return 1 / value
        except (IndexError, TypeError, ValueError):
            continue
    return None


def rows_of(group: Group, layout: str, where: str) -> int:
    """Steps T of an episode that is a group: its datasets have T or T + 1 rows.

    Raises:
        BadTake: It has no actions, or no rows.
    """
    named = {"robomimic": "actions", "minari": "actions", "aloha": "action"}.get(layout)
    found = dataset(group, named) if named else None
    if isinstance(found, str):
        raise BadTake(f"{where}: {named} {found}")
    if found is not None and found.shape:
        return len(found)
    lengths = [len(item) for _, item in members(group) if not isinstance(item, str) and item.shape]
    if not lengths:
        raise BadTake(f"{where}: has no datasets of numbers")
    common = max(set(lengths), key=lambda n: (lengths.count(n), n))
    return common - 1 if common - 1 in lengths else common
