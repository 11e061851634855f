"""One self-contained page about a plant in closed loop: trends with setpoints and limits, actuators, what was expected, and a table.

    render_plant(Path("plant.html"), traces, make_plant, task, run="runs/tanks")

The page looks like the report of a trained model, whose style it takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tacit.evaluation.closed_loop import Trace
from tacit.evaluation.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, WIDE, chart
from tacit.evaluation.page import Tile, duration, significant, write_page
from tacit.evaluation.plant_score import Score, truth
from tacit.planning import Task
from tacit.signals import Schema
from tacit.worlds.plants import Plant

COLOURS = (BLUE, ORANGE, PURPLE, GREEN, GREY)
FLOOR = "constant"  # a policy that is in the table and not in the trends: its scale would hide the others
HOUR = 3600.0
Spread = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One scenario under one policy."""

    trace: Trace
    score: Score


def render_plant(path: Path, results: Sequence[Result], plant: Plant, task: Task, *, run: str, spread: Spread | None = None) -> None:
    """Write the page as one HTML file that opens without a network, runs no script and prints on A4.

    Args:
        path: File to write; it is replaced in one step. Its folder must exist.
        results: Every scenario under every policy; the first policy is what the page is about, the second what it is measured by.
        plant: Which.
        task: What was asked for.
        run: What the run is called.
        spread: Root mean square error of what was predicted 1, 2, ... steps ahead on held-out logs, by signal; it is shaded around what was
            expected.

    Raises:
        OSError: The file cannot be written.
    """
    policies = tuple(dict.fromkeys(result.trace.policy for result in results))
    names = tuple(dict.fromkeys(result.trace.scenario.name for result in results))
    shown = [name for name in policies if name != FLOOR]
    lead = max(result.trace.scenario.lead for result in results)
    scenes = []
    for name in names:
        found = [result for result in results if result.trace.scenario.name == name]
        drawn = [result.trace for result in found if result.trace.policy in shown]
        scenes.append(
            {
                "name": name,
                "rows": [row(result, found) for result in found],
                "signals": _signals(drawn, plant.schema, task, spread or {}),
                "actions": _actions(drawn, plant, task),
                "length": duration(found[0].trace.scenario.steps * plant.step_seconds),
            }
        )
    words = {
        "plant": plant.name,
        "run": run,
        "headline": headline(results, policies),
        "is_good": is_good(results, policies[0]),
        "tiles": tiles(results, policies),
        "scenes": scenes,
        "is_shaded": spread is not None,
        "policies": [(name, COLOURS[place % len(COLOURS)]) for place, name in enumerate(shown)],
        "period": duration(plant.step_seconds),
        "watched": duration(lead * plant.step_seconds) if lead else "",
        "planned": f"{task.plan.planner}, {task.plan.horizon} steps = {duration(task.plan.horizon * plant.step_seconds)} ahead",
        "goals": goals(task, plant.schema),
    }
    write_page(path, "plant.html.j2", words)


def of(results: Sequence[Result], policy: str) -> list[Score]:
    """The scores of one policy, in the order of the scenarios."""
    return [result.score for result in results if result.trace.policy == policy]


def gain(results: Sequence[Result], policies: Sequence[str]) -> float | None:
    """How much less integrated squared error the first policy has than the second, as a share; None without a second."""
    if len(policies) < 2:
        return None
    mine, theirs = (sum(score.tracking for score in of(results, policy)) for policy in policies[:2])
    return 1 - mine / theirs if theirs > 0 else None


def worst_offset(results: Sequence[Result], policy: str) -> tuple[float, str]:
    """The largest mean error at the end of a scenario, and of which signal."""
    found = [(abs(value), name) for score in of(results, policy) for name, value in score.offset.items()]
    return max(found, default=(0.0, ""))


def is_good(results: Sequence[Result], policy: str) -> bool:
    """No hard limit was broken, and a plan was followed throughout."""
    scores = of(results, policy)
    return not sum(score.broken for score in scores) and not sum(score.fallbacks for score in scores)


def headline(results: Sequence[Result], policies: Sequence[str]) -> str:
    """What came out, in a sentence."""
    first, share = policies[0], gain(results, policies)
    broken = sum(score.broken for score in of(results, first))
    words = f"{first} broke a hard limit at {broken} steps" if broken else f"{first} broke no hard limit"
    if share is None:
        return words + "."
    more = "less" if share >= 0 else "more"
    return f"{words} and left {100 * abs(share):.0f} % {more} integrated squared error than {policies[1]}."


def tiles(results: Sequence[Result], policies: Sequence[str]) -> tuple[Tile, ...]:
    """The numbers a reader looks for first."""
    first, share = policies[0], gain(results, policies)
    scores = of(results, first)
    offset, name = worst_offset(results, first)
    steps = sum(result.trace.scenario.steps for result in results if result.trace.policy == first)
    return (
        Tile(
            label="Integrated squared error",
            value=None if share is None else f"{-100 * share:+.0f}\u202f%",
            note="" if len(policies) < 2 else f"against {policies[1]}, all scenarios",
        ),
        Tile(label="Hard limits broken", value=str(sum(s.broken for s in scores)), note=f"of {steps} steps"),
        Tile(label="Largest offset at the end", value=significant(offset), note=name),
        Tile(label="Without a plan", value=str(sum(s.fallbacks for s in scores)), note=f"of {steps} steps"),
        Tile(label="Time to decide", value=f"{max(s.ms_p99 for s in scores):.1f} ms", note="99th percentile, one thread"),
        Tile(label="Scenarios", value=str(len(scores)), note=f"{', '.join(policies)}"),
    )


def row(result: Result, beside: Sequence[Result]) -> dict[str, object]:
    """One row of a scenario's table."""
    score = result.score
    best = min(other.score.tracking for other in beside)
    return {
        "policy": result.trace.policy,
        "is_best": score.tracking == best,
        "tracking": significant(score.tracking),
        "offset": ", ".join(f"{name} {value:+.3g}" for name, value in score.offset.items()),
        "moves": ", ".join(f"{name} {value:.3g}" for name, value in score.moves.items()),
        "indicators": ", ".join(f"{name} {value:.4g}" for name, value in score.indicators.items()) or "–",
        "broken": score.broken,
        "fallbacks": score.fallbacks,
    }


def goals(task: Task, schema: Schema) -> list[str]:
    """What was asked for, a line each."""
    goal, lines = task.goal, []
    if goal is None:
        return []
    for name, aim in goal.signals.items():
        signal = schema.by_name.get(name)
        unit = "" if signal is None or signal.unit == "1" else f" {signal.unit}"
        bounds = [f"{sign} {value:g}{unit}" for sign, value in (("≥", aim.low), ("≤", aim.high)) if value is not None]
        where = "at its setpoint" if aim.value is not None else f"kept {' and '.join(bounds)}"
        lines.append(f"{name} {where}, weight {aim.weight:g}")
    lines += [f"{i.name} as {'large' if i.maximise else 'small'} as possible, weight {i.weight:g}" for i in goal.indicators]
    for name, limit in task.signals.items():
        ends = [f"{sign} {value:g}" for sign, value in (("≥", limit.low), ("≤", limit.high)) if value is not None]
        lines.append(f"{name} {' and '.join(ends)}, {'hard' if limit.hard else 'soft'}")
    return lines


@chart
def _signals(traces: Sequence[Trace], schema: Schema, task: Task, spread: Spread) -> Figure:
    first, names = traces[0], list(traces[0].setpoints)
    per, label = _clock(first, schema.period)
    figure, axes = _stack(len(names))
    for ax, name in zip(axes, names, strict=True):
        for place, trace in reversed(list(enumerate(traces))):
            values = truth(trace, name)
            ax.plot(np.arange(len(values)) * per, values, color=COLOURS[place % len(COLOURS)], linewidth=1.6)
        for fan in first.fans:
            if name in fan.channels:
                expected = fan.channels[name]
                ahead = (fan.step + 1 + np.arange(len(expected))) * per
                ax.plot(ahead, expected, color=SKY, linewidth=1.1)
                if name in spread:
                    wide = np.resize(np.append(spread[name], [spread[name][-1]] * len(expected)), len(expected))
                    ax.fill_between(ahead, expected - wide, expected + wide, color=SKY, alpha=0.25, linewidth=0)
        wanted = first.setpoints[name]
        ax.step(np.arange(len(wanted)) * per, wanted, where="post", color=INK, linestyle="--", linewidth=1.1)
        if (limit := task.signals.get(name)) is not None:
            _bounds(ax, (limit.low, limit.high))
        ax.set_title(_title(name, schema))
    axes[-1].set_xlabel(label)
    return figure


@chart
def _actions(traces: Sequence[Trace], plant: Plant, task: Task) -> Figure:
    schema, (per, label) = plant.schema, _clock(traces[0], plant.step_seconds)
    figure, axes = _stack(len(schema.actions))
    for column, (ax, signal) in enumerate(zip(axes, schema.actions, strict=True)):
        for place, trace in reversed(list(enumerate(traces))):
            ax.step(
                np.arange(len(trace.actions)) * per,
                trace.actions[:, column],
                where="post",
                color=COLOURS[place % len(COLOURS)],
                linewidth=1.3,
            )
        low, high = task.range_of(signal)
        _bounds(ax, (float(low[0]), float(high[0])))
        ax.set_title(_title(signal.name, schema))
    axes[-1].set_xlabel(label)
    return figure


def _stack(rows: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDE, 0.6 + 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
    for ax in axes:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return figure, list(axes)


def _bounds(ax: Axes, bounds: Sequence[float | None]) -> None:
    """Limits, where they are near enough to be seen."""
    low, high = ax.get_ylim()
    for bound in bounds:
        if bound is not None and low - 0.5 * (high - low) <= bound <= high + 0.5 * (high - low):
            ax.axhline(bound, color=ORANGE, linestyle=":", linewidth=1.3)


def _clock(trace: Trace, seconds: float) -> tuple[float, str]:
    """What a step is on the axis of time, and the axis' name."""
    return (seconds / HOUR, "hours") if trace.scenario.steps * seconds > 3 * HOUR else (seconds / 60, "minutes")


def _title(name: str, schema: Schema) -> str:
    unit = schema.by_name[name].unit
    return name if unit == "1" else f"{name} in {unit}"


def numbers(results: Sequence[Result]) -> Mapping[str, object]:
    """The scores as JSON values, by policy and scenario; null where there is no number, with the reason beside it."""
    found: dict[str, dict[str, object]] = {}
    for result in results:
        each = vars(result.score)
        values = {name: _finite(value) for name, value in each.items()}
        missing = [name for name, value in values.items() if value != each[name]]
        if missing:
            values["null"] = f"nothing finite was measured that tells {', '.join(missing)}"
        found.setdefault(result.trace.policy, {})[result.trace.scenario.name] = values
    return found


def _finite(value: object) -> object:
    """A number, or None where it is not finite; the same of those of a mapping."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
