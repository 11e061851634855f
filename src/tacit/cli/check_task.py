"""`tacit check-task`: whether a task file fits a run, and what it limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Terminal

if TYPE_CHECKING:
    from tacit.planning import LinearLimit, RegionLimit, SignalLimit, SignalObjective, StateLimit, Task
    from tacit.signals import Schema, Signal


@dataclass(frozen=True, kw_only=True)
class CheckTask:
    """Check a task file against the signals and readouts of a run, and show what it limits; the exit code is 1 when something is wrong.

    $ tacit check-task task.toml runs/rooms
    """

    task: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """The task file."""
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""


def run(options: CheckTask, terminal: Terminal) -> int:
    from tacit.assurance.intervals import settled_tightening
    from tacit.planning import Task, TaskError, action_limits, signal_objective, state_limits
    from tacit.training.folder import digest_of_run, read_config, read_schema
    from tacit.training.readouts import read_readouts

    schema = read_schema(options.run)
    task = Task.from_toml(options.task)
    action_limits(schema, task)
    readouts = read_readouts(options.run, read_config(options.run).recipe.jepa.latent)
    nothing = {entry.name: [0.0] * task.plan.horizon for entry in task.state_limits}
    channels = {name: fitted.readout for name, fitted in readouts.items()}
    limits = state_limits(task, channels, nothing)
    spreads = {name: spread for fitted in readouts.values() for name, spread in fitted.spreads.items()}
    objective = signal_objective(task, schema, channels, spreads)
    if task.plan.kind.needs_squares and objective is None and task.goal is not None:
        words = (
            "a Newton step needs a cost that is a sum of squares, and the way to a goal that is seen is not: use another planner, "
            "or a program that asks for a cost that is one"
        )
        raise task.located(TaskError(words, "plan", "planner"))
    taken = settled_tightening(options.run, task, digest_of_run(options.run))
    if objective is not None:
        terminal.show(wanted(task, schema, objective))
    terminal.show(limited(schema, task))
    for limit in task.linear:
        terminal.say(combination(limit))
    if limits:
        terminal.show(watched(task, limits, taken))
    plan = task.plan
    deadline = "no deadline" if plan.deadline_ms is None else f"{plan.deadline_ms:g} ms from the observation to the decision"
    ahead = f"{plan.horizon} actions = {plan.horizon * schema.period:g} s ahead"
    terminal.say(f"planned by {plan.planner}: {ahead}, a new plan every {plan.replan_every * schema.period:g} s, {deadline}")
    terminal.say(f"without a plan to trust: {task.fallback}")
    if waiting := [limit.name for limit in limits if limit.confidence is not None and limit.name not in taken]:
        terminal.say(
            f"no interval of {options.run} is for {', '.join(waiting)} with these limits and this planner: record one (Run.settle); "
            "until then its controllers refuse the task"
        )
        return 1
    terminal.say(f"{options.task} fits {options.run}")
    return 0


def wanted(task: Task, schema: Schema, objective: SignalObjective) -> Table:
    """One row per goal on signals, and one per action whose changes cost."""
    import numpy as np

    from tacit.planning import element_names
    from tacit.planning.signal_costs import MOVE_WEIGHT

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("signal", "goal", "weight", "counts as one"):
        table.add_column(name)
    assert task.goal is not None
    channels = dict(zip(objective.read.names, objective.read.units, strict=True))
    for (name, aim), weight in zip(task.goal.signals.items(), objective.weight.tolist(), strict=False):
        unit = "" if channels[name] == "1" else f" {channels[name]}"
        ends = [f"{sign} {value:g}" for sign, value in (("≥", aim.low), ("≤", aim.high)) if value is not None]
        goal = " and ".join(ends) if aim.value is None else f"{aim.value:g}"
        table.add_row(name, goal + unit, f"{aim.weight:g}", f"{(aim.weight / weight) ** 0.5:.3g}{unit}")
    for indicator in task.goal.indicators:
        scale = (
            "from its terms" if indicator.scale is None else f"{indicator.scale:g}{'' if indicator.unit == '1' else ' ' + indicator.unit}"
        )
        table.add_row(indicator.name, "large" if indicator.maximise else "small", f"{indicator.weight:g}", scale)
    given = [np.broadcast_to(task.goal.moves.get(signal.name, MOVE_WEIGHT), signal.size) for signal in schema.actions]
    units = [signal.unit for signal in schema.actions for _ in range(signal.size)]
    for name, weight, calm, unit in zip(element_names(schema), np.concatenate(given), objective.calm.tolist(), units, strict=True):
        one = f"{(weight / calm) ** 0.5:.3g}{'' if unit == '1' else ' ' + unit}" if weight else "–"
        table.add_row(name, "calm", f"{weight:g}", one)
    return table


def watched(task: Task, limits: Sequence[StateLimit], taken: Mapping[str, Sequence[float]]) -> Table:
    """One row per limit on what is predicted."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("predicted", "limit", "kind", "confidence", "taken off"):
        table.add_column(name)
    for entry, limit in zip(task.state_limits, limits, strict=True):
        steps = taken.get(limit.name)
        kind = "hard" if limit.hard else f"soft × {limit.priority:g}"
        none = "–" if limit.confidence is None else "not recorded"
        table.add_row(
            limit.name,
            f"{bounds(entry.limit)}{'' if limit.unit == '1' else ' ' + limit.unit}",
            kind,
            "–" if limit.confidence is None else f"{limit.confidence:g}",
            none if steps is None else f"{steps[0]:.3g} to {max(steps):.3g}{'' if limit.unit == '1' else ' ' + limit.unit}",
        )
    return table


def bounds(limit: SignalLimit | RegionLimit) -> str:
    """The numbers of a limit on what is predicted, as a person writes them."""
    from tacit.planning import SignalLimit

    if isinstance(limit, SignalLimit):
        parts = [f"{sign} {value:g}" for sign, value in (("≥", limit.low), ("≤", limit.high)) if value is not None]
        return " and ".join(parts)
    if limit.centre is not None:
        return f"outside {limit.radius:g} around {_numbers(limit.centre)}"
    assert limit.low is not None
    assert limit.high is not None
    return f"outside {_numbers(limit.low)} to {_numbers(limit.high)}"


def limited(schema: Schema, task: Task) -> Table:
    """One row per action signal: what its limits are, each with its unit."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("action", "range", "largest norm", "rate", f"per step of {schema.period:g} s", "jerk"):
        table.add_column(name)
    for signal in schema.actions:
        low, high = task.range_of(signal)
        limit, norm = task.limits.get(signal.name), task.max_norm_of(signal)
        rate, jerk = (None, None) if limit is None else (limit.rate, limit.jerk)
        table.add_row(
            signal.name,
            f"{_numbers(low.tolist())} to {_numbers(high.tolist())}{_unit(signal)}",
            "–" if norm is None else f"{norm:g}{_unit(signal)}",
            "–" if rate is None else f"{_numbers(rate)}{_unit(signal)}/s",
            "–" if rate is None else f"{_numbers(rate, schema.period)}{_unit(signal)}",
            "–" if jerk is None else f"{_numbers(jerk)}{_unit(signal)}/s²",
        )
    return table


def combination(limit: LinearLimit) -> str:
    """A limit on a weighted sum as a person writes it."""
    terms = []
    for name, weight in limit.weights.items():
        parts = [(name, weight)] if isinstance(weight, float) else [(f"{name}[{n}]", one) for n, one in enumerate(weight)]
        terms += [f"{one:g} {part}" for part, one in parts if one]
    return f"{limit.name}: {' + '.join(terms)} ≤ {limit.at_most:g}{'' if limit.unit == '1' else ' ' + limit.unit}"


def _numbers(values: float | Sequence[float], factor: float = 1.0) -> str:
    """One number, or several that differ."""
    given = values if isinstance(values, Sequence) else [values]
    words = [f"{value * factor:g}" for value in given]
    return words[0] if len(set(words)) == 1 else f"({', '.join(words)})"


def _unit(signal: Signal) -> str:
    return "" if signal.unit == "1" else f" {signal.unit}"
