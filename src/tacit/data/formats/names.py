"""Names in a source: their natural order, and what a mistyped one may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def natural_order(name: str) -> list[tuple[int, str]]:
    """Key that sorts `bag_10` after `bag_9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """End of a message about a name that is not there: the names close to it, or, where none is, the first there are."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=3, cutoff=0.4):
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are: {', '.join(names[:8]) or 'none'}"
