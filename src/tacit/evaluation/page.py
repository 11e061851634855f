"""Pages that open without a network: what the report and the audit share, from their style to how they write numbers."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from tacit.atomic import atomic_write


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One key number: what it is, the number, and what it must be read with. `value` is None when it was not measured."""

    label: str
    value: str | None = None
    note: str = ""


def write_page(path: Path, template: str, words: Mapping[str, object]) -> None:
    """Fill a template of this room and write it in one step.

    Args:
        path: File to write.
        template: File name of the template; it gets the common style as `style`.
        words: What it shows; anything from outside is escaped.

    Raises:
        OSError: The file cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, interval=interval, grouped=grouped, duration=duration, significant=significant)
    atomic_write(path, environment.from_string(_text(template)).render(style=_text("page.css"), **words))


def _text(name: str) -> str:
    return importlib.resources.files("tacit.evaluation").joinpath(name).read_text("utf-8")


def percent(rate: float) -> str:
    return f"{100 * rate:.1f}".removesuffix(".0") + "\u202f%"


def interval(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:.0f}–{100 * bounds[1]:.0f}\u202f%"


def grouped(count: float) -> str:
    """Thousands apart by a thin space, as ISO 80000-1 asks."""
    return f"{count:,.0f}".replace(",", "\u202f")


def significant(value: float) -> str:
    """Three digits that mean something, without an exponent."""
    value = float(value)
    return grouped(value) if abs(value) >= 100 else np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-")


def duration(seconds: float) -> str:
    """A time in the largest unit that leaves at least one whole."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds)} seconds"
