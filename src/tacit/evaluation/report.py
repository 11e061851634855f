"""One self-contained page about a trained world model: everything a person needs to judge it, nothing from outside.

    render_report(run / "report.html", Report(title=..., verdict=..., date=..., results=Results(...), ...))

The values live in `sections`, the drawings in `figures`, the words and the layout in `report.html.j2`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tacit.evaluation import figures
from tacit.evaluation.checks import ReportError
from tacit.evaluation.page import Tile, grouped, interval, percent, significant, write_page
from tacit.evaluation.scores import Kind, Results, Score
from tacit.evaluation.sections import (
    Curve,
    Data,
    Dynamics,
    Episode,
    HorizonError,
    Planning,
    Probe,
    Probes,
    Provenance,
    Report,
    Timing,
    Training,
    ValueMap,
    Values,
)

__all__ = [
    "Curve",
    "Data",
    "Dynamics",
    "Episode",
    "HorizonError",
    "Kind",
    "Planning",
    "Probe",
    "Probes",
    "Provenance",
    "Report",
    "ReportError",
    "Results",
    "Score",
    "Timing",
    "Training",
    "ValueMap",
    "Values",
    "render_report",
]

SECTIONS = {
    "results": "Results",
    "planning": "Planning",
    "values": "Value map",
    "dynamics": "Dynamics",
    "probes": "Probes",
    "timing": "Timing",
    "training": "Training",
    "data": "Data",
    "provenance": "Provenance",
}  # from what a reader asks first to how it came about


def render_report(path: Path, report: Report) -> None:
    """Write the report as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        report: What was measured.

    Raises:
        OSError: The file cannot be written.
    """
    measured = {key: name for key, name in SECTIONS.items() if getattr(report, key) is not None}
    missing = [name for key, name in SECTIONS.items() if key not in measured]
    words = {
        "report": report,
        "measured": measured,
        "missing": missing,
        "tiles": key_tiles(report),
        "figures": figures,
        "Kind": Kind,
        "np": np,
    }
    write_page(path, "report.html.j2", words)


def key_tiles(report: Report) -> tuple[Tile, ...]:
    """The six numbers a reader looks for first, always in the same places."""
    return (*result_tiles(report.results), probe_tile(report.probes), plan_tile(report.timing), speed_tile(report.training))


def result_tiles(results: Results | None) -> tuple[Tile, Tile, Tile]:
    """Success over all splits, on the hard split, and of the best floor."""
    if results is None:
        return Tile(label="Goals reached"), Tile(label="Goals reached, hard split"), Tile(label="Best floor")
    ours = results.total(results.methods[0])
    split = results.hard_split
    hard = None if split is None else results.score(ours.method, split)
    floor = results.best(Kind.FLOOR)
    return (
        score_tile("Goals reached", ours),
        score_tile(f"Goals reached, {split or 'hard split'}", hard),
        score_tile("Best floor" if floor is None else f"Best floor: {floor.method}", floor),
    )


def score_tile(label: str, score: Score | None) -> Tile:
    if score is None:
        return Tile(label=label)
    note = f"{interval(score.interval)} (95\u202f% Wilson) · {grouped(score.episodes)} episodes"
    return Tile(label=label, value=percent(score.rate), note=note)


def probe_tile(probes: Probes | None) -> Tile:
    """The worst channel speaks for all of them."""
    if probes is None:
        return Tile(label="R² of the linear probe")
    worst = min(probes.probes, key=lambda p: p.r2_linear)
    among = f"worst of {len(probes.probes)} labels" if len(probes.probes) > 1 else f"label {worst.label}"
    return Tile(
        label="R² of the linear probe", value=f"{worst.r2_linear:.3f}", note=f"{among} · {grouped(probes.episodes)} held-out episodes"
    )


def plan_tile(timing: Timing | None) -> Tile:
    label = "Time of one plan, p50 / p99"
    if timing is None:
        return Tile(label=label)
    p50, p99 = np.percentile(timing.plan_ms, (50, 99))
    threads = "1 thread" if timing.threads == 1 else f"{timing.threads} threads"
    value = f"{significant(p50)} / {significant(p99)} ms"
    return Tile(label=label, value=value, note=f"{grouped(timing.plan_ms.size)} plans · {threads}")


def speed_tile(training: Training | None) -> Tile:
    if training is None:
        return Tile(label="Training speed")
    note = f"{significant(training.minutes)} minutes in all"
    return Tile(label="Training speed", value=f"{grouped(round(training.frames_per_second))} frames/s", note=note)
