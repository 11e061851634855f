"""The charts of bars that stand beside the tables: how they begin, and how they end."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def empty() -> tuple[Figure, Axes]:
    """A chart for bars."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    return figure, figure.subplots()


def written(figure: Figure, axes: Axes, path: Path) -> None:
    """Write a chart of bars as SVG, without a box around it, the legend below; the same chart is the same file."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(path, metadata={"Date": None})
