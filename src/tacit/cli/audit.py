"""`tacit audit`: can these logs teach a model what the actions do? Asked before any training."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Stopped, Terminal, stoppable

if TYPE_CHECKING:
    from tacit.data.audit import Audit as Found

MOST_LINES = 20  # of findings


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Say before any training whether logs can teach a model what actions do; the exit code is 1 when they cannot.

    $ tacit audit data/plant --html audit.html
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of the store."""
    html: Path | None = None
    """Write a page with all numbers and drawings here."""
    json: Path | None = None
    """Write all numbers here."""
    seed: int = 0
    """Of the sample that is looked at."""
    held_out: float = 0.1
    """Share of episodes that training will hold out."""


def run(options: Audit, terminal: Terminal) -> int:
    from tacit.atomic import atomic_write
    from tacit.data import EpisodeStore
    from tacit.data.audit import Answer, audit

    for path in (options.html, options.json):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{path.parent} is not a folder; make it first, or write {path.name} elsewhere")
    store = EpisodeStore(options.data)
    with stoppable(lambda: Stopped("nothing was changed", terminal.command)), terminal.phases() as phases:
        found = audit(store, seed=options.seed, held_out=options.held_out, progress=phases.phase("audit"))
    terminal.say(found.verdict.sentence)
    if found.verdict.reasons:
        terminal.show(reasons(found))
    terminal.say(
        f"looked at {found.sample.moments:,} of {found.sample.of_moments:,} moments in {found.sample.episodes:,} of "
        f"{found.sample.of_episodes:,} episodes (seed {found.sample.seed})"
    )
    if options.json is not None:
        atomic_write(options.json, found.to_json())
        terminal.say(f"numbers: {options.json}")
    if options.html is not None:
        from tacit.evaluation.audit_page import render_audit

        title = str(store.source.get("world") or options.data.resolve().name)
        render_audit(options.html, found, title=title, date=datetime.date.today())
        terminal.say(f"page: {options.html}")
    return 1 if found.verdict.answer is Answer.NOT_ENOUGH else 0


def reasons(found: Found) -> Table:
    """What stands in the way, the gravest first; a long list is cut."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("about", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for finding in found.verdict.reasons[:MOST_LINES]:
        table.add_row(str(finding.severity), finding.subject, finding.sentence)
    if len(found.verdict.reasons) > MOST_LINES:
        table.add_row("", "", f"and {len(found.verdict.reasons) - MOST_LINES} more")
    return table
