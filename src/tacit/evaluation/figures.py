"""The drawings of the report: each function returns one image as a `data:` URI that needs nothing else.

Charts are SVG in the page's own typeface, camera images are PNG at their native size. Colours are Okabe and Ito's, told apart by
people who do not see red or green; nothing is said by colour alone. The same numbers give the same bytes.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from tacit.evaluation.scores import Kind, Results
from tacit.evaluation.sections import Curve, Dynamics, HorizonError, Probe, Timing, ValueMap

BLUE, ORANGE, GREEN, SKY, PURPLE, GREY, INK, LINE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#A7AEB4", "#1E2930", "#DDE2E6"
EPISODE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
KIND_COLOURS = {Kind.PLANNER: BLUE, Kind.ABLATION: SKY, Kind.FLOOR: GREY}
WIDE, HALF = 9.2, 4.45  # inches; the page shows one inch as 100 px on a screen

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": "#5A666E",
    "ytick.color": "#5A666E",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: sharp, small, and in the page's typeface
    "svg.hashsalt": "tacit",  # the same figure gets the same identifiers every time
}
TYPEFACE = "Inter, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

Array = NDArray[Any]
P = ParamSpec("P")


def data_uri(contents: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(contents).decode('ascii')}"


def png(image: Array) -> str:
    """A camera image, uint8 (H, W, C) with 1 or 3 channels, as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, format="png", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def chart(draw: Callable[P, Figure]) -> Callable[P, str]:
    """Give a function that draws a figure the house style, and let it return an SVG."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        with mpl.rc_context(STYLE):
            buffer = io.StringIO()
            draw(*args, **kwargs).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        # Laid out with the widest of the faces, which every matplotlib brings; shown in the page's own.
        svg = buffer.getvalue().replace("'DejaVu Sans'", TYPEFACE)
        return data_uri(svg.encode(), "image/svg+xml")

    return drawn


def panels(columns: int, *, width: float = WIDE, height: float = 2.2, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, sharey=sharey)
    return figure, list(axes[0])


def count_axis(axes: Axes, label: str) -> None:
    """Few whole numbers along x: steps and episodes are counted."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f"))


def wide_range_axis(axes: Axes, *values: Array) -> None:
    """Logarithmic along y where positive values span more than a decade, from zero otherwise."""
    low, high = min(float(np.nanmin(v)) for v in values), max(float(np.nanmax(v)) for v in values)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif low >= 0:
        axes.set_ylim(0, 1.05 * high or 1.0)


@chart
def loss_curves(curves: tuple[Curve, ...]) -> Figure:
    """One panel per term of the loss, each on its own scale."""
    figure, axes = panels(len(curves))
    for ax, curve in zip(axes, curves, strict=True):
        ax.plot(curve.steps, curve.values, color=BLUE)
        wide_range_axis(ax, curve.values)
        ax.set_title(curve.name)
        count_axis(ax, "optimiser step")
    axes[0].set_ylabel("loss (no unit)")
    return figure


@chart
def spread_curves(rank: Curve | None, min_std: Curve | None) -> Figure:
    """Whether the latent space stays open: dimensions in use, and the flattest one."""
    shown = [(c, y) for c, y in ((rank, "dimensions"), (min_std, "standard deviation (no unit)")) if c is not None]
    figure, axes = panels(len(shown), width=HALF if len(shown) == 1 else WIDE)
    for ax, (curve, label) in zip(axes, shown, strict=True):
        ax.plot(curve.steps, curve.values, color=BLUE)
        ax.set_ylim(bottom=0)
        ax.set_title(curve.name)
        ax.set_ylabel(label)
        count_axis(ax, "optimiser step")
    return figure


@chart
def horizon_error(error: HorizonError) -> Figure:
    """Held-out error of the model and of the copied last latent, per step ahead."""
    figure, (ax,) = panels(1, height=2.6)
    ahead = np.arange(1, error.model.size + 1)
    ax.plot(ahead, error.floor, color=GREY, linestyle="--", label="floor: copy the last latent")
    ax.plot(ahead, error.model, color=BLUE, marker="o", markersize=3.5, label="model")
    wide_range_axis(ax, error.model, error.floor)
    ax.set_ylabel("mean squared latent error")
    count_axis(ax, "steps ahead")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@chart
def probe_scatter(probe: Probe) -> Figure:
    """Predicted against true values with the diagonal of a perfect readout."""
    figure, (ax,) = panels(1, width=3.0, height=3.0)
    both = np.concatenate([probe.true, probe.predicted])
    low, high = float(both.min()), float(both.max())
    margin = 0.04 * (high - low) or 1.0
    ax.plot([low, high], [low, high], color=INK, linewidth=0.9, linestyle="--")
    ax.scatter(probe.true, probe.predicted, s=7, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
    ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    unit = "" if probe.unit == "1" else f" ({probe.unit})"
    ax.set(xlabel=f"logged{unit}", ylabel=f"read from latent{unit}")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return figure


@chart
def latent_paths(dynamics: Dynamics) -> Figure:
    """Real and predicted latent paths, one panel per episode on common axes."""
    episodes = len(dynamics.real)
    figure, axes = panels(episodes, height=2.75, sharey=True)
    everything = np.concatenate([dynamics.real, dynamics.predicted]).reshape(-1, 2)
    low, high = everything.min(0), everything.max(0)
    centre, reach = (low + high) / 2, 0.56 * float((high - low).max()) or 1.0
    first, second = (f"{100 * share:.0f} % of variance" for share in dynamics.explained)
    for n, (ax, real, predicted) in enumerate(zip(axes, dynamics.real, dynamics.predicted, strict=True)):
        colour = EPISODE_COLOURS[n]
        ax.plot(*real.T, color=GREY, linewidth=3.5, label="real" if n == 0 else None, solid_capstyle="round")
        ax.plot(*predicted.T, color=colour, label="predicted" if n == 0 else None)
        ax.plot(*real[0], "o", color=INK, markersize=6, label="start" if n == 0 else None, linestyle="none")
        ax.plot(*real[-1], "s", color=GREY, markersize=7, label="real end" if n == 0 else None, linestyle="none")
        ax.plot(*predicted[-1], "X", color=colour, markersize=7, label="predicted end" if n == 0 else None, linestyle="none")
        ax.set(xlim=(centre[0] - reach, centre[0] + reach), ylim=(centre[1] - reach, centre[1] + reach), aspect="equal")
        ax.set_title(f"episode {'ABCD'[n]}")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=3))
    figure.supxlabel(f"principal component 1 ({first})", fontsize=9)
    axes[0].set_ylabel(f"principal component 2\n({second})")
    figure.legend(loc="outside upper left", ncols=5)
    return figure


@chart
def path_errors(dynamics: Dynamics) -> Figure:
    """Squared latent error of each drawn episode, per step ahead."""
    figure, (ax,) = panels(1, height=2.2)
    for n, errors in enumerate(dynamics.errors):
        ax.plot(
            np.arange(1, errors.size + 1), errors, color=EPISODE_COLOURS[n], label=f"episode {'ABCD'[n]}", marker="oXsD"[n], markersize=3.5
        )
    ax.set_ylim(bottom=0)
    ax.set_ylabel("squared latent error")
    count_axis(ax, "steps ahead")
    figure.legend(loc="outside upper left", ncols=4)
    return figure


@chart
def value_map(chosen: ValueMap) -> Figure:
    """The learned steps-to-go and the plain latent distance over the same layout, each on its own scale."""
    figure, axes = panels(2, height=4.1)
    rows, columns = chosen.background.shape[:2]
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    named = (("learned steps to go", chosen.steps_to_go, "steps"), ("latent distance", chosen.latent_distance, "distance (no unit)"))
    for ax, (title, grid, label) in zip(axes, named, strict=True):
        ax.imshow(chosen.background, cmap="gray", extent=extent, interpolation="nearest")
        shown = ax.imshow(np.ma.masked_invalid(grid), cmap="viridis_r", extent=extent, interpolation="nearest")
        ax.plot(*chosen.goal, marker="*", markersize=17, color="white", markeredgecolor=INK, markeredgewidth=1.2)
        ax.set(xticks=[], yticks=[], title=title, xlim=extent[:2], ylim=extent[2:])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        if min(grid.shape) > 1 and np.nanmax(grid) > np.nanmin(grid):
            x, y = (np.linspace(-0.5, n - 0.5, 2 * m + 1)[1::2] for n, m in ((columns, grid.shape[1]), (rows, grid.shape[0])))
            ax.contour(x, y, np.ma.masked_invalid(grid), levels=8, colors="white", linewidths=0.6, alpha=0.6)
        bar = figure.colorbar(shown, cax=ax.inset_axes((1.03, 0, 0.045, 1)), label=label)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(nbins=5)
        bar.update_ticks()
    return figure


@chart
def success_bars(results: Results) -> Figure:
    """Success rate of every method with its interval, one panel per split."""
    methods = results.methods
    figure, axes = panels(len(results.splits), height=0.75 + 0.34 * len(methods), sharey=True)
    for ax, split in zip(axes, results.splits, strict=True):
        for row, method in enumerate(methods):
            if (score := results.score(method, split)) is None:
                ax.text(2, row, "not measured", va="center", color="#5A666E", fontsize=8)
                continue
            low, high = score.interval
            ax.barh(row, 100 * score.rate, height=0.62, color=KIND_COLOURS[score.kind])
            ax.plot([100 * low, 100 * high], [row, row], color=INK, linewidth=1.3, marker="|", markersize=6)
            ax.text(103, row, f"{score.successes}/{score.episodes}", va="center", fontsize=8)
        ax.set_title(split)
        ax.set(xlim=(0, 118), ylim=(len(methods) - 0.45, -0.55), xticks=[0, 25, 50, 75, 100], xlabel="goals reached (%)")
        ax.grid(visible=False, axis="y")
        ax.spines["left"].set_visible(False)
        ax.spines["bottom"].set_bounds(0, 100)
    axes[0].set_yticks(range(len(methods)), methods, color=INK)
    return figure


@chart
def plan_times(timing: Timing) -> Figure:
    """Histogram of the time of one plan, with its median and 99th percentile."""
    figure, (ax,) = panels(1, height=2.6)
    counts, *_ = ax.hist(timing.plan_ms, bins=min(60, max(10, timing.plan_ms.size // 10)), color=SKY, edgecolor="white", linewidth=0.4)
    marks = [
        (f"p{p}: {value:.1f} ms", value, style) for p, style in ((50, "-"), (99, "--")) for value in [np.percentile(timing.plan_ms, p)]
    ]
    if timing.deadline_ms is not None:
        marks.append((f"deadline: {timing.deadline_ms:g} ms", timing.deadline_ms, ":"))
    for label, value, style in marks:
        ax.axvline(float(value), color=ORANGE if style == ":" else INK, linestyle=style, linewidth=1.5, label=label)
    ax.set_ylim(0, 1.08 * float(np.max(counts)))
    ax.set_xlim(left=0)
    ax.set_ylabel("plans")
    ax.set_xlabel("time of one plan (ms)")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    figure.legend(loc="outside upper left", ncols=3)
    return figure
