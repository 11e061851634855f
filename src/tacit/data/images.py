"""Image files as the frames of a camera."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacit.data.streams import BadTake

PILLOW = ("JPEG", "PNG", "BMP", "PPM", "WEBP", "TIFF")  # whatever a file is called: others start programs, as EPS does Ghostscript

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")
EIGHT_BITS = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class ImageFrames:
    """One image file per frame, decoded when it is asked for; a `tacit.data.streams.Frames`.

    Grey and transparent images come out as red, green and blue. All have the size of the first one.

    Args:
        files: One per frame, in the order of time.
        remedy: What a person can do about a missing or broken file, for messages.
    """

    def __init__(self, files: Sequence[Path], *, remedy: str = "restore the file, or leave this take out") -> None:
        self.files = tuple(files)
        self._remedy = remedy

    @functools.cached_property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels (3: red, green, blue) of one decoded frame.

        Raises:
            BadTake: There is no image, or the first one is broken.
        """
        if not self.files:
            raise BadTake(f"there is no image, so frame 0 is missing: {self._remedy}")
        try:
            with Image.open(self.files[0], formats=PILLOW) as image:
                return image.height, image.width, 3
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._fault(0, error) from error

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Decode frames.

        Args:
            rows: Numbers of frames, (K,), ascending; repeats are allowed.
            size: Height and width to scale to, by the mean over the area of each pixel; None for the frame's own.

        Returns:
            (K, height, width, 3) uint8.

        Raises:
            BadTake: A file is missing, broken, of another size than the first or not of 8 bits; the message names it.
        """
        height, width = size or self.shape[:2]
        images = np.empty((len(rows), height, width, 3), np.uint8)
        for place, row in enumerate(rows):
            if place and row == rows[place - 1]:
                images[place] = images[place - 1]
            else:
                images[place] = self._decoded(int(row), (height, width))
        return images

    def _decoded(self, row: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        if not 0 <= row < len(self.files):
            raise BadTake(f"frame {row} was asked for, and there are {len(self.files)} images; {self._remedy}")
        file, (height, width), (own_height, own_width, _) = self.files[row], size, self.shape
        try:
            with Image.open(file, formats=PILLOW) as image:
                if image.size != (own_width, own_height):
                    found = f"{image.width} x {image.height}, and the first image {own_width} x {own_height}"
                    raise BadTake(f"{file} (frame {row}) is {found}; scale them alike, or put them into folders of their own")
                if image.mode not in EIGHT_BITS:
                    raise BadTake(f"{file} (frame {row}) has pixels {image.mode!r}; write images of 8 bits per colour")
                image.draft("RGB", (width, height))  # a JPEG is scaled by halves while it is decoded, to no less than what is asked for
                colour: Image.Image = image.convert("RGB")
        except BadTake:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._fault(row, error) from error
        if colour.size != (width, height):
            colour = colour.resize((width, height), Image.Resampling.BOX)
        return np.asarray(colour)

    def _fault(self, row: int, error: Exception) -> BadTake:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be decoded ({error})"
        return BadTake(f"{self.files[row]} (frame {row}) {what}: {self._remedy}")
