"""One self-contained page about a what-if question: what each intervention does, what the sensors would show, and the ranking.

    render_what_if(Path("ask.html"), answer, run="tanks", moment="episode 3, step 480")

The page looks like the report of a trained model, whose style it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tacit.evaluation.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, WIDE, chart
from tacit.evaluation.page import Tile, duration, significant, write_page
from tacit.evaluation.what_if_answer import Answer, Outcome, Value

COLOURS = (BLUE, ORANGE, PURPLE, GREEN, SKY)
DRAWN = 5  # interventions in the plots: more cannot be told apart


def render_what_if(path: Path, answer: Answer, *, run: str, moment: str) -> None:
    """Write the page as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        answer: What is shown.
        run: What the run is called.
        moment: When, in words.

    Raises:
        OSError: The file cannot be written.
    """
    ordered = sorted(answer.outcomes[1:], key=lambda o: (o.is_refused, o.rank or 0))
    drawn = ordered[:DRAWN]
    words = {
        "run": run,
        "moment": moment,
        "kpi": None if answer.kpi is None else f"{answer.kpi.name}, {'large' if answer.kpi.sign < 0 else 'small'} is good",
        "is_good": not any(o.is_refused for o in answer.outcomes),
        "hindsight": answer.hindsight,
        "headline": headline(answer),
        "tiles": tiles(answer),
        "rows": [row(o, answer) for o in sorted(answer.outcomes, key=lambda o: (o.is_refused, o.rank or 0))],
        "refused": [o for o in answer.outcomes if o.is_refused],
        "key": [(o.text, COLOURS[n]) for n, o in enumerate(drawn)],
        "left_out": len(ordered) - len(drawn),
        "signals": _signals(answer, drawn),
        "actions": _actions(answer, drawn),
        "length": duration(len(answer.situation.actions) * answer.period),
    }
    write_page(path, "what_if.html.j2", words)


def headline(answer: Answer) -> str:
    """What came out, in a sentence."""
    if answer.kpi is None:
        return f"{len(answer.outcomes) - 1} interventions beside what was logged."
    ranking = answer.ranking
    if not ranking:
        return "Nothing is ranked: all of it leaves what the logs can answer."
    best = ranking[0]
    if best.ties:
        others = ", ".join(f"“{text}”" for text in best.ties)
        return f"“{best.text}” has the best {answer.kpi.name}, but the prediction cannot tell it from {others}."
    return f"“{best.text}” has the best {answer.kpi.name}."


def tiles(answer: Answer) -> tuple[Tile, ...]:
    """The numbers a reader looks for first."""
    found = [Tile(label="Not ranked", value=str(sum(o.is_refused for o in answer.outcomes)), note=f"of {len(answer.outcomes)}")]
    if answer.kpi is None or not answer.ranking:
        return tuple(found)
    best, logged, really = answer.ranking[0], answer.outcomes[0], answer.really
    assert best.kpi is not None
    assert logged.kpi is not None
    happened = "" if really is None else f"; really {significant(really)}"
    return (
        Tile(label=f"Best: {best.text}", value=significant(best.kpi.value), note=_between(best.kpi)),
        Tile(
            label="As logged, measured" if answer.hindsight else "As logged, predicted",
            value=significant(logged.kpi.value),
            note=_between(logged.kpi) + happened,
        ),
        *found,
    )


def row(outcome: Outcome, answer: Answer) -> dict[str, object]:
    """One row of the ranking."""
    return {
        "place": "not ranked" if outcome.is_refused else "" if outcome.rank is None else str(outcome.rank),
        "text": outcome.text,
        "is_best": outcome.rank == 1,
        "kpi": "–" if outcome.kpi is None else f"{significant(outcome.kpi.value)} ({_between(outcome.kpi)})",
        "against": "–"
        if outcome.against is None or outcome is answer.outcomes[0]
        else f"{outcome.against.value:+.3g} ({_between(outcome.against)})",
        "ties": ", ".join(outcome.ties) or "–",
        "p_value": f"{outcome.p_value:.2g}",
    }


def _between(value: Value) -> str:
    return f"{value.low:.4g} to {value.high:.4g}"


@chart
def _signals(answer: Answer, drawn: list[Outcome]) -> Figure:
    figure, axes = _stack(len(answer.names))
    time, label = _clock(answer)
    for n, (ax, name, unit) in enumerate(zip(axes, answer.names, answer.units, strict=True)):
        logged = answer.outcomes[0]
        ax.fill_between(time, logged.low[:, n], logged.high[:, n], color=GREY, alpha=0.25, linewidth=0)
        ax.plot(time, logged.median[:, n], color=GREY, linestyle="--")
        for colour, outcome in zip(COLOURS, drawn, strict=False):
            ax.fill_between(time, outcome.low[:, n], outcome.high[:, n], color=colour, alpha=0.10, linewidth=0)
            ax.plot(time, outcome.median[:, n], color=colour, linestyle=":" if outcome.is_refused else "-")
        happened = answer.situation.happened[:, n]
        there = np.isfinite(happened)
        ax.plot(time[there], happened[there], color=INK, linewidth=1.1, marker="." if there.mean() < 0.5 else None)
        if answer.kpi is not None and answer.kpi.channel == name and answer.kpi.target:
            ax.axhline(answer.kpi.target, color=INK, linestyle=(0, (1, 3)), linewidth=1.1)
        _fit(ax, [o for o in (logged, *drawn) if not o.is_refused] or [logged], n, happened[there])
        ax.set_title(name if unit == "1" else f"{name} in {unit}")
    axes[-1].set_xlabel(label)
    return figure


@chart
def _actions(answer: Answer, drawn: list[Outcome]) -> Figure:
    figure, axes = _stack(len(answer.actions))
    time, label = _clock(answer)
    begun = time - time[0]
    for n, (ax, name, unit) in enumerate(zip(axes, answer.actions, answer.action_units, strict=True)):
        for colour, outcome in zip(COLOURS, drawn, strict=False):
            ax.step(begun, outcome.actions[:, n], where="post", color=colour, linestyle=":" if outcome.is_refused else "-")
        ax.step(begun, answer.situation.actions[:, n], where="post", color=INK, linewidth=1.1)
        ax.set_title(name if unit == "1" else f"{name} in {unit}")
    axes[-1].set_xlabel(label)
    return figure


def _fit(ax: Axes, ranked: list[Outcome], n: int, happened: NDArray[Any]) -> None:
    """Let the axis hold what is ranked and what happened: what is not ranked may leave it."""
    ends = [end for o in ranked for end in (float(o.low[:, n].min()), float(o.high[:, n].max()))] + happened.tolist()
    margin = 0.08 * (max(ends) - min(ends)) + 1e-9
    ax.set_ylim(min(ends) - margin, max(ends) + margin)


def _stack(rows: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDE, 0.6 + 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
    for ax in axes:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return figure, list(axes)


def _clock(answer: Answer) -> tuple[NDArray[Any], str]:
    """Times after each action, and the name of their axis."""
    seconds = answer.period * np.arange(1, len(answer.situation.actions) + 1)
    return (seconds, "seconds from the moment") if seconds[-1] <= 120 else (seconds / 60, "minutes from the moment")
