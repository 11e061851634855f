"""HDF5 files: what is in one, and which of it cannot be read or must not be followed."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tacit.data.formats.names import natural_order
from tacit.data.streams import BadTake, SourceError
from tacit.extras import extra

if TYPE_CHECKING:
    import h5py

    Group: TypeAlias = h5py.Group
    Dataset: TypeAlias = h5py.Dataset

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PATTERNS = ("*.hdf5", "*.h5", "*.hdf", "*/*.hdf5", "*/*.h5", "*/*.hdf")
CACHE = 64 << 20  # bytes of chunks kept, for images that share a chunk


def h5() -> Any:
    """The library h5py.

    Raises:
        MissingExtra: It is missing; the message names the extra.
    """
    with extra("formats", "reading HDF5 files"):
        import h5py
    return h5py


def is_hdf5(path: Path) -> bool:
    """Does a file begin as HDF5 does?"""
    try:
        with path.open("rb") as stream:
            begin = stream.read(512 + len(SIGNATURE))
    except OSError:
        return False
    return begin.startswith(SIGNATURE) or begin[512:] == SIGNATURE


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Group]:
    """A file, open for reading while the block runs.

    Raises:
        BadTake: It cannot be opened, or something in it cannot be read.
    """
    try:
        with h5().File(path, "r", rdcc_nbytes=CACHE) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # what h5py makes of a file that is cut short or overwritten
        reason = str(error).strip("'\"")
        raise BadTake(f"{path}: cannot be read as HDF5 ({reason}); it is truncated or damaged, or being written: copy it again") from error


def groups(group: Group, pattern: str) -> Iterator[tuple[str, Group]]:
    """Groups whose path from `group` fits a pattern such as `data/*`, in the order of their numbers."""
    first, _, rest = pattern.strip("/").partition("/")
    if not first:
        yield "", group
        return
    for name in sorted(fnmatch.filter(group, first), key=natural_order):
        if isinstance(child := _own(group, name), h5().Group):
            yield from ((f"{name}/{inner}".rstrip("/"), found) for inner, found in groups(child, rest))


def members(group: Group, prefix: str = "", above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Dataset | str]]:
    """Datasets below a group by their path from it, or the reason why one cannot be read."""
    for name in group:
        child = _own(group, name)
        if isinstance(child, str):
            yield prefix + name, child
        elif isinstance(child, h5().Dataset):
            yield prefix + name, unreadable(child) or child
        elif isinstance(child, h5().Group) and child not in (group, *above):  # a group may hold itself
            yield from members(child, f"{prefix}{name}/", (*above, group))


def dataset(group: Group, name: str) -> Dataset | str | None:
    """One dataset by its path, or the reason why it cannot be read, or None when there is none."""
    *parents, last = name.strip("/").split("/")
    for parent in parents:
        child = _own(group, parent) if parent in group else None
        if isinstance(child, str):
            return child
        if not isinstance(child, h5().Group):
            return None
        group = child
    found = _own(group, last) if last in group else None
    if isinstance(found, h5().Dataset):
        return unreadable(found) or found
    return found if isinstance(found, str) else None


def unreadable(found: Dataset) -> str:
    """Why a dataset cannot be read, or empty."""
    if found.dtype.kind not in "biuf":
        kind = "values of variable length, or text" if found.dtype.kind in "OSU" else f"values of type {found.dtype}"
        return f"holds {kind}; write it again as an array of numbers"
    if found.is_virtual or found.external:
        return "keeps its values in other files, which are not followed; copy them into this one"
    creation = found.id.get_create_plist()
    for number in range(creation.get_nfilters()):
        code, _, _, label = creation.get_filter(number)
        if not h5().h5z.filter_avail(code):
            with contextlib.suppress(ImportError):
                import hdf5plugin  # noqa: F401 (registers the filters that it has)
        if not h5().h5z.filter_avail(code):
            return f"is compressed with {label.decode(errors='replace') or code}, which h5py lacks: pip install hdf5plugin"
    return ""


def whole_numbers(group: Group, name: str, where: str) -> Any:
    """A dataset of whole numbers, read into memory as int64 (N,).

    Raises:
        SourceError: It is missing, or not a list of whole numbers.
    """
    found = dataset(group, name)
    if found is None or isinstance(found, str):
        raise SourceError(f"{where}: dataset {name} {found or 'is missing'}")
    if found.dtype.kind not in "iub" or not found.shape or found.size != len(found):
        raise SourceError(f"{where}: dataset {name} must be a list of whole numbers, not {found.dtype} {found.shape}")
    return found[:].reshape(-1).astype("int64")


def _own(group: Group, name: str) -> Group | Dataset | str:
    """What is in a group itself; the reason, where it is only linked."""
    link = group.get(name, getlink=True)
    if link is None:
        return "cannot be found again under its name: the file is damaged"
    if isinstance(link, h5().ExternalLink):
        return f"is a link into another file ({link.filename}), which is not followed; copy it into this one"
    if not isinstance(link, h5().HardLink):
        return f"is a link to {link.path}, which is not followed; use that name"
    return group[name]
