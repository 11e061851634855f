"""Intervals of a run's limits on states: the first ones, from its held-out logs, and those that are settled for a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from tacit.assurance.conformal import Interval, settle
from tacit.assurance.intervals import write_intervals
from tacit.planning import Task, TaskError
from tacit.training.readouts import FittedReadout

Record = Callable[[Mapping[str, Interval]], Mapping[str, ArrayLike]]


def first_intervals(readouts: Mapping[str, FittedReadout], task: Task, reach: Mapping[str, float], factor: float) -> dict[str, Interval]:
    """Intervals to begin recording with; see `tacit.run.Run.first_intervals`.

    Args:
        readouts: Of the run, with how their errors grow along the horizon.
        task: Its limits with a confidence get one each.
        reach: Margins above it count as it, by limit, in its unit; more than will be taken off.
        factor: What the scale is multiplied by.

    Raises:
        TaskError: A limit names what no readout reads.
    """
    plan, found = task.plan, {}
    for entry in task.state_limits:
        if entry.limit.confidence is None:
            continue
        used = [f for f in readouts.values() if set(f.readout.names) & set(entry.channels)]
        if not used:
            raise task.located(TaskError(f"no readout of this run reads {entry.channels[0]!r}", *entry.key))
        spread = [max(f.spread[min(k, len(f.spread) - 1)] for f in used) for k in range(plan.horizon)]
        found[entry.name] = Interval(scale=tuple(spread), factor=factor, reach=reach[entry.name], applied=plan.replan_every)
    return found


def settled(
    folder: Path, digest: str, task: Task, record: Record, intervals: Mapping[str, Interval], *, rounds: int, slack: float
) -> dict[str, Interval]:
    """Record until the intervals are those of the planner that plans with them, and keep them; see `tacit.run.Run.settle`.

    Args:
        folder: Of the run; they are kept there.
        digest: SHA-256 of the run (`tacit.training.folder.digest_of_run`).
        task: With limits on states.
        record: Scores of fresh episodes that are driven with given intervals, by limit.
        intervals: To begin with.
        rounds: At most.
        slack: How much more than was asked for the next round takes off, as a share of it.

    Raises:
        CalibrationError: Too few episodes, or no interval is wide enough; see `tacit.assurance.settle`. Then none is kept.
    """
    confidence = {entry.name: entry.limit.confidence for entry in task.state_limits if entry.limit.confidence is not None}
    found = settle(record, intervals, confidence, rounds=rounds, slack=slack)
    write_intervals(folder, task, digest, found)
    return found
