"""Formats: what logs are read from. One file per format; `FORMATS` is the list of all of them.

Their libraries are imported when a source is read, so that a missing one is missed only then, with the name of the extra.
"""

from __future__ import annotations

from pathlib import Path

from tacit.data.formats.donkeycar import DONKEYCAR
from tacit.data.formats.hdf5 import HDF5
from tacit.data.formats.lerobot import LEROBOT
from tacit.data.formats.mcap import MCAP
from tacit.data.formats.npz import NPZ
from tacit.data.formats.table import TABLE
from tacit.data.formats.video import VIDEO
from tacit.data.streams import Format, SourceError

FORMATS: dict[str, Format] = {known.name: known for known in (LEROBOT, HDF5, MCAP, TABLE, VIDEO, DONKEYCAR, NPZ)}


def format_named(name: str) -> Format:
    """A format by name.

    Raises:
        SourceError: There is none of that name.
    """
    if name not in FORMATS:
        raise SourceError(f"there is no format {name!r}; use one of: {', '.join(FORMATS)}")
    return FORMATS[name]


def recognised(path: Path) -> Format:
    """The one format that a source is of, judged by its contents.

    Raises:
        SourceError: The path does not exist, or none or several formats fit.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    fitting = [known for known in FORMATS.values() if known.recognises(path)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"may be any of {', '.join(f.name for f in fitting)}" if fitting else f"is none of {', '.join(FORMATS)}, as far as can be told"
    raise SourceError(f'{path} {found}; say which with --format, or format = "..." in the mapping')
