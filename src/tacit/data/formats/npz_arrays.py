"""Named arrays on disk: an .npz file, or a folder of .npy files that are mapped instead of read. Never with pickle."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tacit.data.streams import BadTake, SourceError

# What numpy, zipfile and zlib raise at a damaged file; the last two are zipfile's words for a method or a password it does not know.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, tokenize.TokenError)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an array before it is read.

    Attributes:
        shape: Of the whole array.
        dtype: Of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def length(self) -> int:
        """Of the first axis; -1 for a single number."""
        return self.shape[0] if self.shape else -1


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The arrays of one .npz file or of one folder of .npy files.

    Attributes:
        path: File or folder.
        headers: Of its arrays, by name.
    """

    path: Path
    headers: Mapping[str, Header]

    @classmethod
    def open(cls, path: Path) -> Arrays:
        """Read the headers.

        Raises:
            SourceError: The file is damaged, or has no arrays.
        """
        headers = {}
        file = path
        try:
            if path.is_dir():
                for file in array_files(path):
                    with file.open("rb") as stream:
                        headers[file.stem] = _header(stream)
            else:
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        if name.endswith(".npy"):
                            with archive.open(name) as member:
                                headers[name.removesuffix(".npy")] = _header(member)  # type: ignore[arg-type]
        except _DAMAGE as error:
            raise SourceError(f"{file}: cannot be read: {error}; save it again, or remove it") from error
        if not headers:
            raise SourceError(f"{path}: has no arrays")
        return cls(path=path, headers=headers)

    def array(self, name: str) -> NDArray[np.generic]:
        """An array, mapped where it is a file of its own, else read.

        Raises:
            SourceError: It holds objects, text or records instead of numbers.
            BadTake: It is damaged, or too large for the memory.
        """
        require_numbers(self.headers[name].dtype, self.where(name))
        try:
            if self.path.is_dir():
                mapped: NDArray[np.generic] = np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                return mapped
            with np.load(self.path, allow_pickle=False) as archive:
                read: NDArray[np.generic] = archive[name]
                return read
        except MemoryError as error:
            raise BadTake(f"{self.where(name)}: does not fit into memory; save it as {name}.npy in a folder, which is mapped") from error
        except _DAMAGE as error:
            raise BadTake(f"{self.where(name)}: cannot be read: {error}; save it again") from error

    def where(self, name: str) -> str:
        """The array, for messages."""
        return f"{self.path}: {name}"


def array_files(folder: Path) -> list[Path]:
    """The .npy files of a folder by name."""
    return sorted(file for file in folder.iterdir() if file.suffix == ".npy" and not file.name.startswith(".") and file.is_file())


def is_number(dtype: np.dtype[np.generic]) -> bool:
    """May the elements be samples?"""
    return dtype.kind in "biuf"


def require_numbers(dtype: np.dtype[np.generic], where: str) -> None:
    """Refuse what is no number or time.

    Raises:
        SourceError: The elements are objects, text, records or complex numbers.
    """
    if dtype.hasobject:
        raise SourceError(
            f"{where}: holds Python objects, which are never loaded because they may run code; save it as an array of numbers"
        )
    if not is_number(dtype) and dtype.kind != "M":
        raise SourceError(f"{where}: holds {dtype}, not numbers; save it as an array of numbers")


def _header(stream: BinaryIO) -> Header:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    return Header(shape=shape, dtype=dtype)
