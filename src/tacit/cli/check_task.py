"""`tacit check-task`: whether a task file fits a run, and what it limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from tacit.cli.terminal import Terminal

if TYPE_CHECKING:
    from tacit.planning import LinearLimit, Task
    from tacit.signals import Schema, Signal


@dataclass(frozen=True, kw_only=True)
class CheckTask:
    """Check a task file against the signals of a run, and show what it limits; the exit code is 1 when something is wrong.

    $ tacit check-task task.toml runs/rooms
    """

    task: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """The task file."""
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""


def run(options: CheckTask, terminal: Terminal) -> int:
    from tacit.planning import Task, action_limits
    from tacit.training.folder import read_schema

    schema = read_schema(options.run)
    task = Task.from_toml(options.task)
    action_limits(schema, task)
    terminal.show(limited(schema, task))
    for limit in task.linear:
        terminal.say(combination(limit))
    plan = task.plan
    deadline = "no deadline" if plan.deadline_ms is None else f"{plan.deadline_ms:g} ms from the observation to the decision"
    ahead = f"{plan.horizon} actions = {plan.horizon * schema.period:g} s ahead"
    terminal.say(f"planned by {plan.planner}: {ahead}, a new plan every {plan.replan_every * schema.period:g} s, {deadline}")
    terminal.say(f"without a plan to trust: {task.fallback}")
    terminal.say(f"{options.task} fits {options.run}")
    return 0


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
