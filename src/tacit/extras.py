"""Libraries that not everybody needs: what they are for, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtra(ImportError):
    """Something needs a library that is not installed; the message names the extra that brings it."""


@contextmanager
def extra(name: str, wanted: str) -> Iterator[None]:
    """Where the libraries of an extra are imported.

    Args:
        name: Of the extra.
        wanted: What needs it, as the beginning of a sentence.

    Raises:
        MissingExtra: An import inside fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"{wanted} needs the extra: pip install 'tacit[{name}]' ({error})") from error
