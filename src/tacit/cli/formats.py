"""`tacit formats`: what logs can be imported."""

from __future__ import annotations

from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from tacit.cli.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Formats:
    """List the formats that `tacit import` reads, and what each one needs.

    $ tacit formats
    """


def run(options: Formats, terminal: Terminal) -> int:
    from tacit.data.formats import FORMATS

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("format", "reads", "needs"):
        table.add_column(name)
    for known in FORMATS.values():
        table.add_row(known.name, known.summary, escape(f"pip install 'tacit[{known.extra}]'") if known.extra else "–")
    terminal.show(table)
    return 0
