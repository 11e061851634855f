"""`tacit report`: one page about a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tacit.cli.terminal import Stopped, Terminal, stoppable


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Write the report of a run: one HTML file that opens without a network. What was not evaluated is named as missing.

    $ tacit report runs/rooms
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to write; report.html in the run's folder."""


def run(options: ReportOptions, terminal: Terminal) -> int:
    from tacit.evaluation.report import render_report
    from tacit.evaluation.suites import REPORT
    from tacit.evaluation.summary import report_of

    path = options.out or options.run / REPORT
    with stoppable(lambda: Stopped("nothing was changed", terminal.command)), terminal.phases() as phases:
        phases.phase("report")
        render_report(path, report_of(options.run))
    terminal.say(str(path))
    return 0
