"""The drawings of the audit page, in the style of the report's."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tacit.data.audit import ActionFeedback, Alignment, Effect, Effects, Predictability
from tacit.evaluation.figures import BLUE, EPISODE_COLOURS, GREY, HALF, INK, ORANGE, WIDE, chart, panels

MOST_SENSORS, MOST_ACTIONS = 12, 12  # drawn
STRENGTHS = LinearSegmentedColormap.from_list("strengths", ["#FFFFFF", BLUE])


def answering(effects: Effects) -> list[str]:
    """Sensors that are drawn: those that answer most strongly, in the order of the schema."""
    strength: dict[str, float] = {}
    for pair in effects.pairs:
        strength[pair.sensor] = max(strength.get(pair.sensor, 0.0), pair.strength)
    kept = set(sorted(strength, key=lambda name: -strength[name])[:MOST_SENSORS])
    return [name for name in strength if name in kept]


def acting(effects: Effects) -> list[str]:
    """Actions that are drawn."""
    return list(dict.fromkeys(p.action for p in effects.pairs))[:MOST_ACTIONS]


@chart
def answers(effects: Effects) -> Figure:
    """Strength of every pair as a shade, with its dead time in steps."""
    actions, sensors = acting(effects), answering(effects)
    pairs = {(p.action, p.sensor): p for p in effects.pairs}
    strength = np.array([[pairs[a, s].strength for s in sensors] for a in actions])
    figure, (ax,) = panels(1, width=WIDE, height=0.9 + 0.38 * len(actions) + (0.5 if len(sensors) > 6 else 0.0))
    shown = ax.imshow(strength, cmap=STRENGTHS, vmin=0, vmax=max(float(strength.max()), 0.1), aspect="auto")
    for row, action in enumerate(actions):
        for column, sensor in enumerate(sensors):
            dead = pairs[action, sensor].dead_time
            ink = "white" if strength[row, column] > 0.6 * strength.max() and dead is not None else INK
            ax.text(column, row, "–" if dead is None else f"{dead}", ha="center", va="center", color=ink, fontsize=9)
    ax.grid(False)
    ax.set_xticks(range(len(sensors)), sensors, rotation=30 if len(sensors) > 6 else 0, ha="right" if len(sensors) > 6 else "center")
    ax.set_yticks(range(len(actions)), actions)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=ax, pad=0.01, aspect=12)
    bar.outline.set_visible(False)
    bar.set_label("partial correlation")
    return figure


@chart
def answers_by_lag(effects: Effects) -> Figure:
    """The strongest answers of each action over the steps after it."""
    actions = acting(effects)[:4]
    figure, axes = panels(len(actions), width=WIDE, height=2.4, sharey=True)
    for ax, action in zip(axes, actions, strict=True):
        strongest: list[Effect] = sorted((p for p in effects.pairs if p.action == action), key=lambda p: -p.strength)[:3]
        for colour, pair in zip(EPISODE_COLOURS, strongest, strict=False):
            ax.plot(
                np.arange(1, len(pair.by_lag) + 1), pair.by_lag, color=colour, marker="o", markersize=2.5, linewidth=1.2, label=pair.sensor
            )
        ax.axhline(effects.threshold, color=INK, linewidth=0.9, linestyle="--")
        ax.set_title(action)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("steps after the action")
        ax.legend(loc="upper right")
    axes[0].set_ylabel("partial correlation")
    return figure


@chart
def explained(laws: tuple[ActionFeedback, ...], part: float, law: float) -> Figure:
    """How far each action follows from the observations."""
    shown = laws[:MOST_ACTIONS]
    figure, (ax,) = panels(1, width=WIDE, height=0.9 + 0.3 * len(shown))
    place = np.arange(len(shown))
    bars = ax.barh(place, [f.explained for f in shown], height=0.55, color=[ORANGE if f.explained >= law else BLUE for f in shown])
    ax.bar_label(bars, [f"{100 * f.explained:.0f} %" for f in shown], fontsize=8, padding=3)
    for x, words in ((part, "mostly feedback"), (law, "pure")):
        ax.axvline(x, color=INK, linewidth=0.9, linestyle="--")
        is_left = words != "pure"
        ax.text(x - 0.006 if is_left else x + 0.006, -0.6, words, ha="right" if is_left else "left", va="bottom", fontsize=8, color=INK)
    ax.set_yticks(place, [f.action for f in shown])
    ax.set(xlim=(0, 1.06), ylim=(len(shown) - 0.5, -1.2), xlabel="share of what is new in the action that the observations explain")
    ax.grid(axis="y", visible=False)
    return figure


@chart
def skills(found: Predictability) -> Figure:
    """Skill with and without the actions."""
    figure, (ax,) = panels(1, width=HALF, height=2.3)
    place = np.arange(len(found.forecasts))
    for shift, label, colour, values in (
        (-0.19, "observations alone", GREY, [f.without_actions for f in found.forecasts]),
        (0.19, "with the actions", BLUE, [f.with_actions for f in found.forecasts]),
    ):
        bars = ax.bar(place + shift, values, width=0.36, color=colour, label=label)
        ax.bar_label(bars, [f"{100 * v:.0f} %" for v in values], fontsize=8, padding=2)
    ax.axhline(0, color=INK, linewidth=0.9)
    ax.set_xticks(place, [f"{f.ahead} step{'s' if f.ahead > 1 else ''} ahead" for f in found.forecasts])
    ax.set_ylabel("skill over “no change”")
    ax.margins(y=0.15)
    ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@chart
def alignments(found: Alignment) -> Figure:
    """Which row's action explains a change."""
    figure, (ax,) = panels(1, width=HALF, height=2.3)
    place = np.arange(len(found.shifts))
    gains = np.maximum(100 * np.array(found.gains), 0)
    bars = ax.bar(place, gains, width=0.6, color=[BLUE if s == 0 else GREY for s in found.shifts])
    ax.bar_label(bars, [f"{g:.1f} %" for g in gains], fontsize=8, padding=2)
    ax.set_xticks(place, [f"{shift:+d}" if shift else "own" for shift in found.shifts])
    ax.set_xlabel("row of the action, from that of the change")
    ax.set_ylabel("error taken away (%)")
    ax.margins(y=0.15)
    ax.grid(axis="x", visible=False)
    return figure
