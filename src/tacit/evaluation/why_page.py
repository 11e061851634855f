"""One self-contained page about one decision of a ledger: what was seen, expected and planned, and why it was done or refused.

    render_why(Path("why.html"), story("line3.ledger", 120), ledger="line3", head=check("line3.ledger").head)

The words come from `tacit.assurance.why`; the page looks like the report of a trained model, whose style it takes.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tacit.assurance import why
from tacit.assurance.canonical import Array
from tacit.assurance.chain import Head
from tacit.evaluation.figures import BLUE, GREY, INK, ORANGE, chart, count_axis, panels, png
from tacit.evaluation.page import Tile, grouped, significant, write_page

MOST_PANELS = 4  # of a row
HEADINGS = {"act": "It acted", "abstain": "It abstained", "fallback": "It fell back"}


def render_why(path: Path, told: why.Story, *, ledger: str, head: Head | None) -> None:
    """Write the page as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        told: The decision.
        ledger: What the ledger is called.
        head: Of the ledger as it was checked.

    Raises:
        OSError: The file cannot be written.
    """
    words = {
        "told": told,
        "why": why,
        "ledger": ledger,
        "head": head,
        "heading": HEADINGS[told.made.verdict],
        "when": datetime.datetime.fromtimestamp(told.made.time, datetime.UTC).strftime("%d %B %Y, %H:%M:%S.%f UTC"),
        "tiles": tiles(told),
        "pictures": pictures(told),
        "planned": planned(told),
        "trends": trends(told),
    }
    write_page(path, "why.html.j2", words)


def tiles(told: why.Story) -> tuple[Tile, ...]:
    """The numbers a reader looks for first, always in the same places."""
    margins, evidence = why.margins(told), told.made.evidence
    least = min(margins, key=lambda name: margins[name], default=None)
    surprise, share = evidence.get("surprise"), evidence.get("surprise_p")
    spent = None if told.plan is None else told.plan.spent
    is_cut = spent is not None and spent.cut_by_deadline and told.age == 0
    alarms = [name for name, reading in why.readings(told.made).items() if reading.is_alarm]
    spans = [value for name in ("encode_ms", "plan_ms") if (value := evidence.get(name)) is not None]
    return (
        Tile(label="Action", value=why.few(told.made.action[:2]), note=", ".join(e.name for e in why.elements(told)[:2])),
        Tile(
            label="Cost of the plan",
            value=None if told.plan is None else _number(float(told.plan.cost)),
            note="" if spent is None else f"least of {grouped(spent.candidates)} sequences",
        ),
        Tile(label="Least margin", value=None if least is None else _number(margins[least]), note=least or ""),
        Tile(
            label="Surprise",
            value=None if surprise is None else _number(surprise),
            note="no calibration" if share is None else f"p = {share:.3g}",
        ),
        Tile(label="Alarms", value=str(len(alarms)), note=", ".join(alarms) or "none of the thresholds is passed"),
        Tile(
            label="Time to decide",
            value=f"{significant(sum(spans))} ms" if spans else None,
            note="to encode and to plan" + (", cut by the deadline" if is_cut else ""),
        ),
    )


def pictures(told: why.Story) -> dict[str, str]:
    """Every camera image that was kept, by signal."""
    signals = told.session.schema.by_name
    kept = {name: value for name, value in told.made.inputs.items() if name in signals and signals[name].is_image}
    return {name: png(value) for name, value in kept.items() if isinstance(value, np.ndarray) and value.shape[-1] in (1, 3)}


def planned(told: why.Story) -> str | None:
    """The planned actions between their limits; None without a plan."""
    shown = why.elements(told)[:MOST_PANELS]
    return _planned(shown) if told.plan is not None and shown else None


def trends(told: why.Story) -> str | None:
    """The numbers the decision rests on, until now, against their thresholds; None when there are none."""
    found = why.readings(told.made)
    shown = sorted(found, key=lambda name: (not found[name].is_alarm, found[name].low is None and found[name].high is None))[:MOST_PANELS]
    return _trends(told, shown) if shown else None


@chart
def _planned(shown: tuple[why.Element, ...]) -> Figure:
    figure, axes = panels(len(shown))
    for ax, element in zip(axes, shown, strict=True):
        ax.step(np.arange(len(element.planned)), element.planned, where="post", color=BLUE)
        ax.plot(0, element.value, "o", color=INK, markersize=6, label="emitted")
        for bound in (element.low, element.high):
            ax.axhline(bound, color=ORANGE, linestyle="--", linewidth=1.2)
        ax.set_title(element.name + ("" if element.unit == "1" else f" in {element.unit}"))
        count_axis(ax, "steps from now")
    return figure


@chart
def _trends(told: why.Story, shown: list[str]) -> Figure:
    figure, axes = panels(len(shown))
    for ax, name in zip(axes, shown, strict=True):
        steps, values = _over_time(told, name)
        ax.plot(steps, values, color=GREY, marker="." if len(steps) < 12 else None)
        reading = why.readings(told.made)[name]
        ax.plot(told.made.step, reading.value, "o", color=ORANGE if reading.is_alarm else INK, markersize=6)
        for bound in (reading.low, reading.high):
            if bound is not None:
                ax.axhline(bound, color=ORANGE, linestyle="--", linewidth=1.2)
        ax.set_title(name)
        count_axis(ax, "step")
    return figure


def _over_time(told: why.Story, name: str) -> tuple[Array, Array]:
    found = [(made.step, reading.value) for made in told.history if (reading := why.readings(made).get(name)) is not None]
    points = np.array([point for point in found if np.isfinite(point[1])], dtype=np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _number(value: float) -> str:
    return significant(value) if np.isfinite(value) else str(value)
