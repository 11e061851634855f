"""`tacit why`: one decision of a ledger, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tacit.cli.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Why:
    """Say in plain words why a machine did what it did: what it saw, what it expected, which limits there were, why it acted or not.

    $ tacit why line3.ledger --step 120 --page why.html
    """

    ledger: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LEDGER")]
    """The ledger."""
    step: Annotated[int, tyro.conf.arg(metavar="N")]
    """Which decision, counted from 0 since the ledger began."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="(default: not compared)")] = None
    """Folder of the run that should have decided; another one is refused."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write a page with pictures here."""


def run(options: Why, terminal: Terminal) -> int:
    from tacit.assurance import why
    from tacit.assurance.chain import check
    from tacit.training.folder import digest_of_run

    if options.page is not None and not options.page.absolute().parent.is_dir():
        raise FileNotFoundError(2, "no such folder for --page", str(options.page.parent))
    told = why.story(options.ledger, options.step)
    if options.run is not None and digest_of_run(options.run) != told.session.model:
        raise ValueError(f"{options.run} did not decide this: step {options.step} is of the run with SHA-256 {told.session.model}")
    checked = check(options.ledger)
    if checked.finding is not None:
        terminal.warn(f"the ledger is damaged behind this step: {checked.finding.sentence}")
    terminal.say(why.headline(told))
    for title, lines in (
        ("It saw", why.saw(told)),
        ("It expected", why.expected(told)),
        ("Limits", why.limits(told)),
        ("It watched", why.watched(told)),
    ):
        terminal.say(f"{title}:")
        for line in lines:
            terminal.say(f"  {line}")
    terminal.say(f"record {told.record:,}, run {told.session.model[:12]}, task {told.session.task_digest[:12]}, on {told.session.machine}")
    if options.page is not None:
        from tacit.evaluation.why_page import render_why

        render_why(options.page, told, ledger=options.ledger.name, head=checked.head)
        terminal.say(f"page: {options.page}")
    return 0
