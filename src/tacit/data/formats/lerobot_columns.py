"""Parquet files of a LeRobotDataset: their columns as arrays, and the pictures that stand in them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tacit.data.images import PILLOW
from tacit.data.streams import BadTake, SourceError, scaled

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
REFUSED = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow says to bytes that are no picture


def parquet(file: Path, columns: tuple[str, ...] | None = None) -> pa.Table:
    """Some columns of a Parquet file.

    Raises:
        SourceError: The file is missing, damaged or lacks a column.
    """
    with opened(file) as source:
        require_columns(source, file, columns or ())
        try:
            return source.read(columns=None if columns is None else list(columns))
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{file} is damaged: {error}; restore it from a copy") from error


def opened(file: Path) -> pq.ParquetFile:
    """A Parquet file, open.

    Raises:
        SourceError: The file is missing or damaged.
    """
    if not file.is_file():
        raise SourceError(f"{file} is missing; download the dataset again")
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file} is no readable Parquet file: {error}; download it again") from error


def require_columns(source: pq.ParquetFile, file: Path, columns: tuple[str, ...]) -> None:
    """Refuse a file without some columns.

    Raises:
        SourceError: A column is missing.
    """
    present = source.schema_arrow.names
    if missing := [name for name in columns if name not in present]:
        raise SourceError(f"{file} has no column {missing[0]!r}; it has {', '.join(present)}: export the dataset again, or map another one")


def samples(
    column: pa.Array, shape: tuple[int, ...], where: str, rows: NDArray[np.int64]
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """The samples of a numeric column.

    Args:
        column: Numbers, or lists of numbers, nested as deeply as the shape is long; of fixed or variable length.
        shape: Of one sample, as the info.json says.
        where: File and column, for messages.
        rows: Row of each sample in the file, (N,), for messages.

    Returns:
        Samples (N, *shape) of the column's own type, and False where the column has no value, (N,), or None when it has them all. In
        place of a missing value stands NaN, or 0 where there is no NaN.

    Raises:
        BadTake: A row has another number of values, or the column holds no numbers.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    kept = rows[valid]
    flat = column.filter(column.is_valid()) if column.null_count else column
    sizes = [*shape]
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        size = sizes.pop(0) if sizes else 0
        lengths = pc.list_value_length(flat).fill_null(0).to_numpy(zero_copy_only=False)
        if len(wrong := np.flatnonzero(lengths != size)):
            row = kept[wrong[0] * len(kept) // len(flat)]
            raise BadTake(f"{where} row {row} has {lengths[wrong[0]]} values where info.json says {list(shape)}: export this episode again")
        flat = flat.flatten()
    if not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type) or pa.types.is_boolean(flat.type)):
        raise BadTake(f"{where} holds {flat.type}, which are no numbers; leave this column out of the mapping")
    width = math.prod(shape)
    if len(flat) != len(kept) * width:
        raise BadTake(f"{where} row {rows[0]} has single numbers where info.json says {list(shape)}: export this episode again")
    if flat.null_count:
        valid[valid] = flat.is_valid().to_numpy(zero_copy_only=False).reshape(len(kept), width).all(axis=1)
    dense = pc.fill_null(flat, math.nan if pa.types.is_floating(flat.type) else False if pa.types.is_boolean(flat.type) else 0)
    numbers = np.asarray(dense.to_numpy(zero_copy_only=False)).reshape(len(kept), *shape)
    if len(kept) == len(rows):
        return numbers, None if valid.all() else valid
    out = np.full((len(rows), *shape), math.nan if numbers.dtype.kind == "f" else 0, numbers.dtype)
    out[np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)] = numbers
    return out, valid


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Camera images as the files of pictures that stand in a column; a `tacit.data.streams.Frames`.

    Attributes:
        files: Each a struct with the `bytes` of a PNG or JPEG file.
        shape: Height, width and channels.
        where: File and column, for messages.
        rows: Row of each picture in the file, int64 (N,).
    """

    files: pa.Array
    shape: tuple[int, int, int]
    where: str
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Decode pictures, as `Frames.read` says."""
        out = np.empty((len(rows), *(size or self.shape[:2]), self.shape[2]), np.uint8)
        for place, row in enumerate(rows):
            out[place] = scaled(self._picture(int(row))[None], size)[0]
        return out

    def _picture(self, number: int) -> NDArray[np.uint8]:
        where = f"{self.where} row {self.rows[number]}"
        value: Any = self.files[number].as_py()
        contents = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(contents, bytes):
            raise BadTake(f"{where}: the picture is not in the Parquet file; export the dataset again with its pictures embedded")
        try:
            with Image.open(io.BytesIO(contents), formats=PILLOW) as picture:
                if picture.mode[0] in "IF":
                    raise BadTake(
                        f"{where}: the picture has more than 8 bits per pixel (a depth map?); leave this camera out of the mapping"
                    )
                pixels = np.asarray(picture.convert(MODES[self.shape[2]]))
        except BadTake:
            raise
        except REFUSED as error:
            raise BadTake(f"{where}: the picture cannot be decoded: {error}; copy the file again, or leave this take out") from error
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != self.shape:
            raise BadTake(f"{where}: the picture is {pixels.shape}, info.json says {self.shape}; export this episode again")
        return pixels
