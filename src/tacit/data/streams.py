"""Streams: samples as a source has them, each on its own clock, before they are brought to one control clock.

A format reads a source as *takes* (an episode, a bag, a file: stretches of time that are never joined), and each take as *pieces* in
the order of time, so that a take may be larger than memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacit.signals import Signal

UNREADABLE = "cannot be read: "  # how the note of a channel begins that a format lists and cannot read


class SourceError(ValueError):
    """A source cannot be read as the format says; the message names the file, the row where there is one, and the remedy."""


class BadTake(SourceError):
    """One take is unusable; the others of the source may be good."""


@runtime_checkable
class Frames(Protocol):
    """The images of a camera, decoded when they are asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one decoded frame."""
        ...

    def __len__(self) -> int:
        """Number of frames, N."""
        ...

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Decode frames.

        Args:
            rows: Numbers of frames, (K,), ascending; repeats are allowed.
            size: Height and width to scale to, by the mean over the area of each pixel; None for the frame's own.

        Returns:
            (K, height, width, channels) uint8.

        Raises:
            BadTake: A frame cannot be decoded; the message names the file and the frame.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFrames:
    """Images that are in memory, or in an array that reads like it.

    Attributes:
        images: (N, height, width, channels) uint8.
    """

    images: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        taken: NDArray[np.uint8] = self.images[rows]
        return scaled(taken, size)


def scaled(images: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Images (K, height, width, channels) of another height and width, each pixel the mean over the area it covers."""
    if size is None or images.shape[1:3] == size:
        return images
    out = np.empty((len(images), *size, images.shape[3]), np.uint8)
    whole = images.shape[3] == 3  # of four, Pillow takes the last for an opacity that weighs the others
    for image, target in zip(images, out, strict=True):
        for part in [slice(None)] if whole else range(images.shape[3]):
            picture = Image.fromarray(np.ascontiguousarray(image[..., part]))
            target[..., part] = np.asarray(picture.resize(size[::-1], Image.Resampling.BOX))
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Samples of one source channel on its own clock, in the order of the source.

    Attributes:
        time: Timestamps in seconds, float64 (N,). Not yet checked: they may repeat, go back, or be NaN.
        values: (N, *shape) numbers in the source's unit, NaN where it has none; or the frames of a camera.
        where: What the samples were read from, for messages: a file, and a column or topic in it.
        valid: False where the source itself says that a sample is bad (a quality flag), bool (N,); None when it says nothing.
        rows: Row of each sample in its file, int64 (N,), counted as a person would find it; None when it is the place in `time`.
    """

    time: NDArray[np.float64]
    values: NDArray[np.generic] | Frames
    where: str
    valid: NDArray[np.bool_] | None = None
    rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        counts = {"values": len(self.values)}
        counts |= {name: len(part) for name, part in (("valid", self.valid), ("rows", self.rows)) if part is not None}
        for name, count in counts.items():
            if count != len(self.time):
                raise SourceError(f"{self.where}: {len(self.time)} timestamps and {count} {name}")

    def __len__(self) -> int:
        return len(self.time)

    def row(self, sample: int) -> int:
        """Where a sample is found in its file."""
        return int(self.rows[sample]) if self.rows is not None else sample


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A stretch of a take.

    Attributes:
        streams: Samples by source name; a channel without samples in this piece may be left out.
        until: Every sample of the take before this time, in seconds, is in this piece or an earlier one; infinite in the last piece.
    """

    streams: Mapping[str, Stream]
    until: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What a format found in a source: something that a signal may be made of.

    Attributes:
        name: As `Mapping.source` will call it.
        shape: Of one sample; (height, width, channels) for a camera.
        dtype: numpy name of what the source holds.
        unit: As the source says, or None.
        rate: Samples per second, or None when it cannot be told.
        camera: True for images.
        hint: Role when the format's own convention says so, `observation`, `action`, `disturbance` or `label`; None when only a person
            can know.
        note: Something that a person should know, or empty.
        signal: The signal that this was in a store, when the source was exported from one.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    unit: str | None = None
    rate: float | None = None
    camera: bool = False
    hint: str | None = None
    note: str = ""
    signal: Signal | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a format found in a source.

    Attributes:
        channels: Everything that a signal may be made of.
        takes: Names of the takes, unique and always in the same order, so that an import can go on where it was.
        seconds: Recorded time of all takes, or None when only reading would tell.
        options: What the format took for each of its options, as JSON values, to be written into a draft.
    """

    channels: tuple[Channel, ...]
    takes: tuple[str, ...]
    seconds: float | None = None
    options: Mapping[str, object] | None = None


class Format(Protocol):
    """Reads one kind of source. A plain object, registered in `tacit.data.formats`."""

    @property
    def name(self) -> str:
        """As mapping files and the command line call it."""

    @property
    def summary(self) -> str:
        """One line: what it reads."""

    @property
    def extra(self) -> str | None:
        """Extra of the package that brings the libraries, as `formats`; None when the core has them."""

    def recognises(self, path: Path) -> bool:
        """Is this a source of the format, judged by its contents? Cheap, and never an exception."""
        ...

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        """Look at a source without reading it all.

        Args:
            path: File or folder.
            options: The table `[options]` of the mapping file.

        Raises:
            SourceError: The source is not of this format, or damaged as a whole; or an option is unknown or wrong.
            MissingExtra: A library is missing; the message names the extra.
        """
        ...

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        """Read some channels of one take, piece by piece in the order of time.

        Args:
            path: File or folder.
            take: One of `Description.takes`.
            names: Names of channels.
            options: The table `[options]` of the mapping file.

        Raises:
            BadTake: This take is damaged; the message names file, row and remedy.
            SourceError: The source lacks a channel, for every take.
        """
        ...
