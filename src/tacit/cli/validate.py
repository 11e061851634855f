"""`tacit validate`: what a run's forecasts are worth, from logs alone."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Stopped, Terminal, stoppable
from tacit.cli.train import set_threads, verify

if TYPE_CHECKING:
    from tacit.evaluation.validation import Validation


@dataclass(frozen=True, kw_only=True)
class Validate:
    """Forecast logs that a run was not trained on, beside no change, a linear model and a recurrent network, without a simulator.

    The store is that of other logs, of which all episodes are forecast, or the run's own, of which the held-out ones are.

    $ tacit validate runs/tanks data/tanks --html validation.html
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Folder of the store that is forecast."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: where it was)")] = None
    """Store that the run was trained on, which the others are fitted on."""
    steps: Annotated[int, tyro.conf.arg(metavar="N")] = 1500
    """Most steps of the recurrent network's training; held-out episodes of the training logs stop it before."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of the recurrent network and of the bootstrap."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all physical cores)")] = None
    """Threads."""
    html: Path | None = None
    """Write a page with all numbers and drawings here."""
    json: Path | None = None
    """Write all numbers here."""


def run(options: Validate, terminal: Terminal) -> int:
    from tacit.atomic import atomic_write
    from tacit.data import EpisodeStore
    from tacit.evaluation.forecast_skill import validate
    from tacit.run import load

    for path in (options.html, options.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path.parent} is not a folder; make it first, or write {path.name} elsewhere")
    if options.steps < 1:
        raise ValueError("--steps must be at least 1")
    trained = load(options.run)
    set_threads(options.threads, 1, terminal)
    with stoppable(lambda: Stopped("nothing was changed", terminal.command)), terminal.phases() as phases:
        store = EpisodeStore(options.store)
        verify(store, phases, terminal)
        logs = EpisodeStore(options.data or Path(trained.config.store))
        if logs.path.resolve() != store.path.resolve():
            verify(logs, phases, terminal)
        found = validate(trained, store, logs, lstm_steps=options.steps, seed=options.seed, display=phases)
    terminal.show(skills(found))
    mean = found.mean_coverage.value[:, 0]
    terminal.say(
        f"{found.confidence:.0%} intervals hold {mean.min():.1%} to {mean.max():.1%} of the measurements; "
        f"{found.moments:,} forecasts in {found.episodes} episodes"
    )
    if found.mean_followed is not None:
        mean = found.mean_followed.value[:, 0]
        terminal.say(f"intervals that follow what forecasts are wrong by hold {mean.min():.1%} to {mean.max():.1%}")
    if options.json is not None:
        atomic_write(options.json, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
        terminal.say(f"numbers: {options.json}")
    if options.html is not None:
        from tacit.evaluation.forecast_page import render_validation

        title = str(store.source.get("world") or options.store.resolve().name)
        render_validation(options.html, found, title=title, date=datetime.date.today())
        terminal.say(f"page: {options.html}")
    return 0


def skills(found: Validation) -> Table:
    """Mean skill of every forecaster by step ahead, and what the run takes away of the others' error."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("skill, mean of all sensors", no_wrap=True)
    for step in found.ahead:
        table.add_column(f"{step} ahead", justify="right")
    for method in found.methods:
        table.add_row(method.name, *(f"{value:.3f}" for value in method.mean.value[:, 0]))
    for method in found.methods:
        if method.mean_lead is not None:
            table.add_row(f"error of {method.name} taken away", *(f"{value:.1%}" for value in method.mean_lead.value[:, 0]))
    return table
