"""Stills: the images of a camera that a log keeps one by one, encoded or raw, each decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacit.data.streams import BadTake, scaled

GREY = ("1", "L", "LA")
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
RAW = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0,)),
    "8UC1": (1, (0,)),
}
"""Bytes per pixel, and which of them are red, green and blue (or grey), by the name that ROS gives the encoding."""


class Still(Protocol):
    """One image that is not decoded yet."""

    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels, without decoding all of it.

        Raises:
            ValueError: It cannot be read; the message is the reason.
        """
        ...

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, channels).

        Raises:
            ValueError: It cannot be read; the message is the reason.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EncodedStill:
    """A JPEG or PNG image, colour or grey.

    Attributes:
        data: The bytes of the file; what follows its end is ignored.
    """

    data: bytes

    def shape(self) -> tuple[int, int, int]:
        image = self._opened()
        return image.height, image.width, 1 if image.mode in GREY else 3

    def pixels(self) -> NDArray[np.uint8]:
        image = self._opened()
        try:
            pixels = np.asarray(image.convert("L" if image.mode in GREY else "RGB"))
        except Exception as error:  # each decoder of pillow has its own errors
            raise ValueError(f"cannot be decoded: {error}") from error
        return pixels.reshape(*pixels.shape[:2], -1)

    def _opened(self) -> Image.Image:
        try:
            image = Image.open(BytesIO(self.data), formats=("JPEG", "PNG"))
        except Exception as error:
            raise ValueError(f"is neither JPEG nor PNG, or its beginning is damaged ({len(self.data)} bytes)") from error
        if image.mode in DEEP:
            raise ValueError("has more than 8 bits per pixel and channel, as depth images have; only 8 can be read")
        return image


@dataclass(frozen=True, kw_only=True)
class RawStill:
    """An image as its pixels.

    Attributes:
        data: Rows of pixels, each `step` bytes long.
        height: Rows.
        width: Pixels of a row.
        step: Bytes of a row; those after its pixels are padding.
        encoding: One of `RAW`.
    """

    data: bytes
    height: int
    width: int
    step: int
    encoding: str

    def shape(self) -> tuple[int, int, int]:
        if self.encoding not in RAW:
            raise ValueError(f"has the encoding {self.encoding!r}; only {', '.join(RAW)} can be read")
        return self.height, self.width, len(RAW[self.encoding][1])

    def pixels(self) -> NDArray[np.uint8]:
        height, width, _ = self.shape()
        depth, order = RAW[self.encoding]
        if self.step < width * depth or len(self.data) < height * self.step:
            raise ValueError(f"has {len(self.data)} bytes, too few for {height} rows of {self.step} bytes and {width} pixels")
        rows = np.frombuffer(self.data, np.uint8, count=height * self.step).reshape(height, self.step)
        return rows[:, : width * depth].reshape(height, width, depth)[..., list(order)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stills:
    """Frames that are kept as stills.

    Attributes:
        stills: One per frame.
        shape: Height, width and channels that every one of them must have.
        where: What they were read from, for messages.
        time: Timestamps in seconds, for messages, (N,).
    """

    stills: Sequence[Still]
    shape: tuple[int, int, int]
    where: str
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.stills)

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        out = np.empty((len(rows), *(size or self.shape[:2]), self.shape[2]), np.uint8)
        for place, row in enumerate(rows):
            out[place] = out[place - 1] if place and rows[place - 1] == row else scaled(self._pixels(int(row))[None], size)[0]
        return out

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        try:
            if (shape := self.stills[row].shape()) != self.shape:
                raise ValueError(f"is {shape[0]}x{shape[1]}x{shape[2]}, the first is {self.shape[0]}x{self.shape[1]}x{self.shape[2]}")
            return self.stills[row].pixels()
        except ValueError as error:
            raise BadTake(f"{self.where}: the image at {self.time[row]:.6f} s {error}") from error
