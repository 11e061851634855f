"""Frames of a camera that lie in an HDF5 dataset, read in slices when they are asked for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tacit.data.formats.hdf5_tree import CACHE, h5
from tacit.data.formats.stills import EncodedStill
from tacit.data.streams import BadTake, scaled

if TYPE_CHECKING:
    import h5py

SMALLEST = 8  # pixels; what is smaller is a matrix of numbers
COLOURS = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the parts of an image are in one element of a dataset.

    Attributes:
        axes: Positions of height, width and channels; two for grey images without channels, none for encoded ones.
        shape: Height, width and channels of a frame.
    """

    axes: tuple[int, ...]
    shape: tuple[int, int, int]


def layout_of(found: h5py.Dataset, encoded: bool) -> Layout | None:
    """How a dataset keeps images, or None when it keeps numbers.

    Args:
        found: Dataset, one frame per row.
        encoded: Rows of bytes are images in JPEG or PNG.

    Raises:
        ValueError: The first image cannot be read; the message is the reason.
    """
    if found.dtype != np.uint8 or not len(found):
        return None
    inner = found.shape[1:]
    if encoded and len(inner) == 1:
        return Layout(axes=(), shape=EncodedStill(data=found[0].tobytes()).shape())
    if len(inner) == 3 and inner[2] in COLOURS and min(inner[:2]) >= SMALLEST:
        return Layout(axes=(0, 1, 2), shape=inner)
    if len(inner) == 3 and inner[0] in COLOURS and min(inner[1:]) >= SMALLEST:
        return Layout(axes=(1, 2, 0), shape=(inner[1], inner[2], inner[0]))
    if len(inner) == 2 and min(inner) >= SMALLEST:
        return Layout(axes=(0, 1), shape=(*inner, 1))
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Frames:
    """Frames in a dataset. The file is open from the first reading until the frames are forgotten.

    Attributes:
        file: HDF5 file.
        dataset: Path of the dataset in it.
        start: Row of the first frame.
        count: Number of frames.
        layout: How a row is an image.
    """

    file: Path
    dataset: str
    start: int
    count: int
    layout: Layout

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.layout.shape

    def __len__(self) -> int:
        return self.count

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        out = np.empty((len(rows), *(size or self.shape[:2]), self.shape[2]), np.uint8)
        wanted, places = np.unique(rows, return_inverse=True)
        done = 0
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1) if len(wanted) else ():
            here = (places >= done) & (places < done + len(run))
            out[here] = scaled(self._images(int(run[0]), len(run)), size)[places[here] - done]
            done += len(run)
        return out

    def _images(self, first: int, count: int) -> NDArray[np.uint8]:
        begin = self.start + first
        where = f"{self.file}, dataset {self.dataset}"
        try:
            values = self._opened[begin : begin + count]
        except (OSError, RuntimeError, KeyError) as error:
            raise BadTake(f"{where}: frames {begin} to {begin + count - 1} cannot be read ({error}); copy the file again") from error
        if self.layout.axes:
            axes = (0, *(axis + 1 for axis in self.layout.axes))
            return np.asarray(values).transpose(axes).reshape(count, *self.shape)
        images = np.empty((count, *self.shape), np.uint8)
        for row, data in enumerate(values):
            try:
                image = EncodedStill(data=data.tobytes()).pixels()
                if image.shape != self.shape:
                    raise ValueError(f"is {image.shape}, the first is {self.shape}")
            except ValueError as error:
                raise BadTake(f"{where}: frame {begin + row} {error}") from error
            images[row] = image
        return images

    @functools.cached_property
    def _opened(self) -> Any:
        return h5().File(self.file, "r", rdcc_nbytes=CACHE)[self.dataset]
