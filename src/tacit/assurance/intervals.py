"""Intervals of a run, by the task that they were recorded for, in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tacit.assurance.canonical import digest
from tacit.assurance.conformal import CalibrationError, Interval
from tacit.atomic import atomic_write
from tacit.planning.task import Task

INTERVALS = "intervals.json"
VERSION = 1


def key_of(task: Task, run: str) -> str:
    """SHA-256, in hex, of a run's own and of all of a task that makes other plans: limits, planner settings, fallback, and what errors,
    indicators and moves cost. Where to be is not among them: goals and setpoints change from episode to episode."""
    about: dict[str, Any] = {"task": replace(task, goal=None), "run": run}
    if task.goal is not None and task.goal.has_signals:
        goal = task.goal
        signals = {
            name: {"weight": aim.weight, "scale": aim.scale, "is_setpoint": aim.value is not None} for name, aim in goal.signals.items()
        }
        about["cost"] = {"signals": signals, "indicators": goal.indicators, "moves": goal.moves}
    return digest(about)


def read_intervals(folder: Path, task: Task, run: str) -> dict[str, Interval]:
    """The intervals that were settled for a task, by limit; empty when none were.

    Args:
        folder: Of the run.
        task: With limits on states.
        run: SHA-256 of the run (`tacit.training.folder.digest_of_run`), with the readouts that it has now.

    Raises:
        CalibrationError: The file is damaged or of another version.
    """
    entries = _read(folder / INTERVALS).get(key_of(task, run), {})
    return {name: Interval.from_json(values) for name, values in entries.items()}


def settled_tightening(folder: Path, task: Task, run: str) -> dict[str, tuple[float, ...]]:
    """What was settled to be taken off a task's limits on states, (H,) by limit; without limits that nothing was settled for.

    Raises:
        CalibrationError: As of `read_intervals`.
    """
    wanted = {entry.name: entry.limit.confidence for entry in task.state_limits if entry.limit.confidence is not None}
    found = read_intervals(folder, task, run) if wanted else {}
    return {name: found[name].tightening for name, confidence in wanted.items() if name in found and found[name].holds(confidence)}


def write_intervals(folder: Path, task: Task, run: str, intervals: Mapping[str, Interval]) -> None:
    """Add the intervals of a task to a run's folder, in place of those it had for the same task; atomically."""
    tasks = _read(folder / INTERVALS) | {key_of(task, run): {name: interval.to_json() for name, interval in intervals.items()}}
    atomic_write(folder / INTERVALS, json.dumps({"version": VERSION, "tasks": tasks}, indent=1, allow_nan=False) + "\n")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        if found["version"] != VERSION:
            raise CalibrationError(f"{path} has format version {found['version']}; this Tacit reads version {VERSION}")
        return dict(found["tasks"])
    except CalibrationError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(f"{path} is damaged: {error}; record its intervals again, or restore it from a copy") from error
