"""Atomic writes: a reader sees the old file or the new file, never a part of one."""

from __future__ import annotations

import os
from pathlib import Path


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace a file's contents in one step that survives a crash.

    The data goes to a temporary sibling, is synced to disk, takes the place of `path` in one rename, and the folder is synced
    so that the rename itself is on disk. When anything fails, `path` is as it was and no temporary file is left.

    Args:
        path: File to write; its folder must exist.
        data: New contents; text is written as UTF-8 with its newlines as they are.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    contents = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Bring the names in a folder to disk, so that a file just created or renamed there outlives a power failure.

    Args:
        folder: An existing folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
