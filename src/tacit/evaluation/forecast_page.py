"""One self-contained page about the forecasts of a run.

render_validation(Path("validation.html"), validate(run, store, logs), title="Tank farm", date=date.today())
"""

from __future__ import annotations

import datetime
from pathlib import Path

from tacit.evaluation import forecast_figures
from tacit.evaluation.page import Tile, duration, grouped, percent, write_page
from tacit.evaluation.validation import NO_CHANGE, RUN, Validation


def render_validation(path: Path, found: Validation, *, title: str, date: datetime.date) -> None:
    """Write what was found as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        found: What was found.
        title: What the logs are called.
        date: Of the validation.

    Raises:
        OSError: The file cannot be written.
    """
    others = [method for method in found.methods if method.name not in (RUN, NO_CHANGE)]
    words = {
        "found": found,
        "title": title,
        "date": date,
        "tiles": tiles(found),
        "figures": forecast_figures,
        "run": found.methods[0],
        "others": others,
        "worse": worse(found),
    }
    write_page(path, "validation.html.j2", words)


def tiles(found: Validation) -> tuple[Tile, ...]:
    """The numbers a reader looks for first."""
    run, mean = found.methods[0], found.mean_coverage.value[:, 0]
    first, last = found.ahead[0], found.ahead[-1]
    ahead = f"{duration(last * found.period)} ahead"
    return (
        Tile(label="Skill, one step ahead", value=f"{run.mean.value[0, 0]:.2f}", note=_interval(run.mean.low[0, 0], run.mean.high[0, 0])),
        Tile(
            label=f"Skill, {last} steps ahead",
            value=f"{run.mean.value[-1, 0]:.2f}",
            note=_interval(run.mean.low[-1, 0], run.mean.high[-1, 0]),
        ),
        Tile(
            label=f"Inside the {percent(found.confidence)} intervals",
            value=f"{100 * mean.min():.0f}–{100 * mean.max():.0f}\u202f%",
            note=f"mean of all sensors, {first} to {last} steps ahead",
        ),
        *(
            Tile(
                label=f"Error of {method.name} taken away",
                value=percent(round(float(method.mean_lead.value[-1, 0]), 3)),
                note=f"{last} steps ahead; {100 * method.mean_lead.low[-1, 0]:.0f} to {100 * method.mean_lead.high[-1, 0]:.0f}\u202f%",
            )
            for method in found.methods
            if method.mean_lead is not None and method.name != NO_CHANGE
        ),
        Tile(label="Forecasts", value=grouped(found.moments), note=f"in {found.episodes} episodes, up to {ahead}"),
    )


def worse(found: Validation) -> list[str]:
    """Where another forecaster is better, in words: its interval of what the run takes away lies below zero."""
    lines = []
    for method in found.methods:
        if method.lead is None:
            continue
        for n, name in enumerate(found.names):
            if steps := [str(step) for k, step in enumerate(found.ahead) if method.lead.high[k, n] < 0]:
                lines.append(f"{name}, {', '.join(steps)} step{'s' if steps != ['1'] else ''} ahead: {method.name} is better")
    return lines


def _interval(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f} (95\u202f% bootstrap); 1 is perfect, 0 is “no change”"
