"""The drawings of the page about forecasts, in the style of the report's."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tacit.evaluation.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, WIDE, chart
from tacit.evaluation.validation import ARX, LSTM, NO_CHANGE, RUN, Example, Validation

COLOURS = {RUN: BLUE, NO_CHANGE: GREY, ARX: ORANGE, LSTM: GREEN}
MARKS = {RUN: "o", NO_CHANGE: ".", ARX: "s", LSTM: "^"}
COLUMNS = 3
MOST = 12  # channels drawn
LOWEST = -1.0  # skill; what is worse is drawn there


@chart
def skills(found: Validation) -> Figure:
    """Skill of every method by step ahead, the mean of all channels first, with the run's interval."""
    named = ["mean of all", *found.names[:MOST]]
    figure, axes = _grid(len(named))
    for n, (name, ax) in enumerate(zip(named, axes, strict=True)):
        for method in found.methods:
            estimate, column = (method.mean, 0) if n == 0 else (method.skill, n - 1)
            value, low, high = (np.maximum(part[:, column], LOWEST) for part in (estimate.value, estimate.low, estimate.high))
            ax.plot(
                found.ahead, value, color=COLOURS[method.name], marker=MARKS[method.name], markersize=4, linewidth=1.4, label=method.name
            )
            if method.name == RUN:
                ax.fill_between(found.ahead, low, high, color=BLUE, alpha=0.15, linewidth=0)
        ax.set_xscale("log")
        ax.set_xticks(found.ahead, [str(step) for step in found.ahead])
        ax.set_title(name)
        ax.set_ylim(top=1.02)
    figure.supxlabel("steps ahead", fontsize=9)
    figure.supylabel("skill over “no change”", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


@chart
def coverages(found: Validation) -> Figure:
    """Share of the measurements inside the intervals, by step ahead and channel."""
    figure, axes = _grid(1)
    (ax,) = axes
    for column in range(min(MOST, len(found.names))):
        ax.plot(found.ahead, 100 * found.coverage.value[:, column], color=GREY, linewidth=1.0)
    ax.plot(found.ahead, 100 * found.mean_coverage.value[:, 0], color=BLUE, marker="o", markersize=4)
    if found.mean_followed is not None:
        ax.plot(found.ahead, 100 * found.mean_followed.value[:, 0], color=PURPLE, marker="o", markersize=4)
    ax.axhline(100 * found.confidence, color=INK, linewidth=0.9, linestyle="--")
    ax.set_xscale("log")
    ax.set_xticks(found.ahead, [str(step) for step in found.ahead])
    ax.set_xlabel("steps ahead")
    ax.set_ylabel("inside the interval (%)")
    return figure


@chart
def fans(found: Validation, example: Example) -> Figure:
    """One forecast with its interval, beside what was measured before and after."""
    figure, axes = _grid(min(MOST, len(found.names)))
    before, after = np.arange(-len(example.past) + 1, 1), np.arange(1, len(example.truth) + 1)
    for column, ax in enumerate(axes):
        ax.plot(before, example.past[:, column], color=INK, linewidth=1.2)
        ax.plot(after, example.truth[:, column], color=INK, linewidth=1.2, marker=".", markersize=2)
        ax.plot(after, example.median[:, column], color=PURPLE)
        ax.fill_between(after, example.low[:, column], example.high[:, column], color=PURPLE, alpha=0.2, linewidth=0)
        ax.axvline(0, color=GREY, linewidth=0.9)
        ax.set_title(f"{found.names[column]} ({found.units[column]})")
    figure.supxlabel("steps from now", fontsize=9)
    return figure


def _grid(count: int) -> tuple[Figure, list]:  # type: ignore[type-arg]
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDE if columns > 1 else WIDE / 2, 2.3 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for extra in axes.flat[count:]:
        extra.set_visible(False)
    return figure, list(axes.flat[:count])
