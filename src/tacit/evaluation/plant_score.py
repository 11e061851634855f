"""What a policy made of a scenario in numbers, with the labels where a plant has them. Dimensions: T steps, A action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.evaluation.closed_loop import Floats, Trace
from tacit.planning import SignalLimit, Task, Verdict
from tacit.worlds.plants import Plant

TRUE = ".true"  # ending of the label that has what a sensor would show without noise
LAST = 0.1  # share of a scenario over which the offset at its end is a mean


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one policy made of one scenario.

    Attributes:
        error: Root mean squared error by controlled signal, in its unit.
        tracking: Integrated squared error, the mean over the controlled signals, each in units of its range of normal operation, times
            seconds.
        offset: Mean error at the end by controlled signal, in its unit.
        moves: Mean absolute change of each action per step, by action.
        indicators: Mean of the task's indicators, by name.
        broken: Steps at which a hard limit was broken: of an action in what was sent, of a signal in what it truly was.
        fallbacks: Steps without a plan that was followed.
        ms_p99: 99th percentile of the time of a decision.
    """

    error: Mapping[str, float]
    tracking: float
    offset: Mapping[str, float]
    moves: Mapping[str, float]
    indicators: Mapping[str, float]
    broken: int
    fallbacks: int
    ms_p99: float


def score(trace: Trace, plant: Plant, task: Task) -> Score:
    """Score a trace, with the labels where the plant has them.

    Args:
        trace: Of any policy.
        plant: Its ranges and limits.
        task: Its limits on signals and its indicators.
    """
    spans = {loop.controlled: loop.high - loop.low for loop in plant.loops}
    error, offset, squares = {}, {}, []
    last = max(1, round(LAST * trace.scenario.steps))
    for name, wanted in trace.setpoints.items():
        missed = truth(trace, name)[1:] - wanted
        error[name], offset[name] = float(np.sqrt(np.nanmean(missed**2))), float(np.nanmean(missed[-last:]))
        squares.append(np.nanmean((missed / spans.get(name, 1.0)) ** 2))
    names = [signal.name for signal in plant.schema.actions]
    moves = np.abs(np.diff(trace.actions, axis=0)).mean(0) if len(trace.actions) > 1 else np.zeros(len(names))
    return Score(
        error=error,
        tracking=float(np.mean(squares)) * trace.scenario.steps * plant.step_seconds,
        offset=offset,
        moves=dict(zip(names, moves.tolist(), strict=True)),
        indicators={} if task.goal is None else {i.name: _indicator(i.terms, trace, names) for i in task.goal.indicators},
        broken=_broken(trace, plant, task),
        fallbacks=sum(verdict is not Verdict.ACT for verdict in trace.verdicts),
        ms_p99=float(np.percentile(trace.ms, 99)),
    )


def truth(trace: Trace, name: str) -> Floats:
    """A signal without noise where a label has that, as it was seen elsewhere, (T + 1,)."""
    return trace.signals.get(name + TRUE, trace.signals[name])


def _indicator(terms: Mapping[str, Any], trace: Trace, actions: Sequence[str]) -> float:
    total = 0.0
    for name, weight in terms.items():
        values = trace.actions[:, actions.index(name)] if name in actions else truth(trace, name)[1:]
        total += float(np.asarray(weight)) * float(np.nanmean(values))
    return total


def _broken(trace: Trace, plant: Plant, task: Task) -> int:
    bad = np.zeros(trace.scenario.steps, dtype=bool)
    rates = np.abs(np.diff(np.concatenate((trace.before[None], trace.actions)), axis=0)) / plant.step_seconds
    for column, signal in enumerate(plant.schema.actions):
        low, high = task.range_of(signal)
        sent = trace.actions[:, column].astype(np.float32)
        bad |= (sent < np.float32(low[0])) | (sent > np.float32(high[0]))
        limit = task.limits.get(signal.name)
        if limit is not None and limit.rate is not None:
            bad |= rates[:, column] > np.asarray(limit.rate).max() * (1 + 1e-6)
    for name, limited in task.signals.items():
        if limited.hard and name in trace.signals:
            bad |= _outside(truth(trace, name)[1:], limited)
    return int(bad.sum())


def _outside(values: Floats, limit: SignalLimit) -> NDArray[np.bool_]:
    low, high = (-np.inf if limit.low is None else limit.low), (np.inf if limit.high is None else limit.high)
    return np.asarray((values < low) | (values > high))
