"""Do the actions move at all, far enough, and independently of each other?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]

ORDERS = 8  # looked for at most
RICH = 1e-4  # smallest eigenvalue of the lagged covariance that counts as excited; white noise has 1
FEW_MOVES, SOME_MOVES = 20, 100  # changes of the command in the whole sample
FLAT, NARROW = 0.005, 0.03  # spread over declared range
CELLS = 20  # of a range
JOINT_CELLS = 8


@dataclass(frozen=True, kw_only=True)
class ActionExcitation:
    """How one action element moves.

    Attributes:
        action: Its name.
        low: Lowest value that the schema allows, else that was seen.
        high: Highest value.
        declared: Whether the schema says so.
        spread: Standard deviation over range.
        changes: Share of steps on which it differs from the step before.
        moves: How often that was.
        bandwidth: Share of all frequencies over which its movement is spread (the exponential of the entropy of its spectrum), 0 to 1.
        visited: Share of `CELLS` equal parts of the range in which it was seen.
        finding: What to make of it.
    """

    action: str
    low: float
    high: float
    declared: bool
    spread: float
    changes: float
    moves: int
    bandwidth: float
    visited: float
    finding: Finding

    @property
    def is_still(self) -> bool:
        """True when the command never changes."""
        return self.moves == 0


@dataclass(frozen=True, kw_only=True)
class PairCoverage:
    """Share of the cells of two actions' ranges, `JOINT_CELLS` a side, in which both were seen together."""

    first: str
    second: str
    visited: float


@dataclass(frozen=True, kw_only=True)
class Excitation:
    """How all actions move.

    Attributes:
        actions: One by one.
        order: Highest order up to which the actions are persistently exciting, `ORDERS` at most.
        smallest: Smallest eigenvalue of the covariance of the standardised actions over `max(order, 1)` steps.
        condition: Largest eigenvalue over the smallest.
        pairs: Joint coverage.
        finding: What to make of it.
    """

    actions: tuple[ActionExcitation, ...]
    order: int
    smallest: float
    condition: float
    pairs: tuple[PairCoverage, ...]
    finding: Finding


def excitation(logs: Logs) -> Excitation:
    """Look at the actions alone."""
    actions = tuple(_action(logs, i) for i in range(len(logs.actions)))
    moving = [i for i, action in enumerate(actions) if not action.is_still]
    spectrum = [_eigenvalues(logs, moving, n) for n in range(1, ORDERS + 1)] if moving else []
    order = next((n for n, values in enumerate(spectrum) if values[0] < RICH), len(spectrum))
    values = spectrum[max(order, 1) - 1] if spectrum else np.zeros(1)
    pairs = tuple(
        PairCoverage(first=logs.actions[i], second=logs.actions[j], visited=_jointly(logs, actions, i, j))
        for n, i in enumerate(moving[:12])
        for j in moving[n + 1 : 12]
    )
    return Excitation(
        actions=actions,
        order=order,
        smallest=float(max(values[0], 0.0)),
        condition=float(values[-1] / values[0]) if values[0] > 0 else float("inf"),
        pairs=pairs,
        finding=_together(len(moving), order, pairs),
    )


def _together(moving: int, order: int, pairs: tuple[PairCoverage, ...]) -> Finding:
    severity, sentence = Severity.FINE, f"The actions excite a model of {order} steps of memory{' or more' if order == ORDERS else ''}."
    if not moving:
        severity, sentence = (
            Severity.STOP,
            "No action ever changes: nothing can be learnt about what they do. Record again while they move.",
        )
    elif order == 0:
        severity = Severity.STOP
        sentence = "The actions always move together, so their effects cannot be told apart. Move them one at a time, or keep one of them."
    elif order == 1:
        severity = Severity.CAREFUL
        sentence = "The actions hardly vary from one step to the next, so only slow effects can be learnt. Add small steps at random times."
    elif sparse := [p for p in pairs if p.visited < 0.1]:
        severity = Severity.CAREFUL
        sentence = (
            f"{sparse[0].first} and {sparse[0].second} were seen together in {percent(sparse[0].visited)} of their "
            "joint range only. Record more combinations, or limit the plans to those seen."
        )
    return Finding(theme="excitation", subject="actions", severity=severity, sentence=sentence, weight=0.9)


def _action(logs: Logs, i: int) -> ActionExcitation:
    name = logs.actions[i]
    low, high, declared = logs.range_of(i)
    rows = logs.rows(1, 1)
    values = logs.a[logs.rows(0, 1), i]
    step = logs.a[rows, i] - logs.a[rows - 1, i]
    # A change below a millionth of the spread is rounding.
    moved = np.abs(step) > 1e-6 * max(values.std(), 1e-12 * (1 + np.abs(values).max()))
    breadth = high - low
    visited = len(np.unique(_cell(values, low, high, CELLS))) / CELLS if breadth > 0 else 0.0
    spread = float(values.std() / breadth) if breadth > 0 else 0.0
    changes, moves = float(moved.mean()) if len(moved) else 0.0, int(moved.sum())
    severity, sentence, weight = _judged(name, declared, spread=spread, changes=changes, moves=moves, visited=visited)
    return ActionExcitation(
        action=name,
        low=low,
        high=high,
        declared=declared,
        spread=spread,
        changes=changes,
        moves=moves,
        bandwidth=_bandwidth(logs, i),
        visited=visited,
        finding=Finding(theme="excitation", subject=name, severity=severity, sentence=sentence, weight=weight),
    )


def _judged(name: str, declared: bool, *, spread: float, changes: float, moves: int, visited: float) -> tuple[Severity, str, float]:
    more = "Record again with small random changes of it, or leave it out of the schema if nothing depends on it."
    if not moves:
        return Severity.STOP, f"{name} never changes: its command is dead or it was held. {more}", 1.0
    if moves < FEW_MOVES:
        return Severity.STOP, f"{name} changes {moves} times in all the sampled logs, too few to learn what it does. {more}", 0.8
    if declared and spread < FLAT:
        return Severity.STOP, f"{name} moves by {percent(spread)} of its range only: it was held at a constant setpoint. {more}", 0.8
    if moves < SOME_MOVES:
        return Severity.CAREFUL, f"{name} changes only {moves} times in the sampled logs. {more}", 0.5
    if declared and spread < NARROW:
        return (
            Severity.CAREFUL,
            (
                f"{name} moves by {percent(spread)} of its range only: expect no good forecast outside of it. Record wider "
                "moves, or narrow its limits in the task."
            ),
            0.5,
        )
    if declared and visited < 0.25:
        return (
            Severity.CAREFUL,
            f"{name} was seen in {percent(visited)} of its declared range. Limit the plans to that part, or record the rest.",
            0.3,
        )
    return (
        Severity.FINE,
        (
            f"{name} moves on {percent(changes)} of the steps with a spread of {percent(spread)} of its "
            f"{'declared' if declared else 'seen'} range."
        ),
        0.0,
    )


def _cell(values: Floats, low: float, high: float, cells: int) -> NDArray[np.int64]:
    return np.clip(((values - low) / (high - low) * cells).astype(np.int64), 0, cells - 1)


def _jointly(logs: Logs, actions: tuple[ActionExcitation, ...], i: int, j: int) -> float:
    """Over the ranges in use, so that a range declared too wide is told once, by its own action."""
    a = logs.a[logs.rows(0, 1)]
    cells = [_cell(a[:, k], float(a[:, k].min()), float(a[:, k].max()), JOINT_CELLS) for k in (i, j)]
    return len(np.unique(cells[0] * JOINT_CELLS + cells[1])) / JOINT_CELLS**2


def _bandwidth(logs: Logs, i: int) -> float:
    """Entropy width of the mean periodogram of the first common length of the stretches."""
    length = min(max(logs.shortest(0.2), 8), 256)
    starts = logs.bounds[:-1][np.diff(logs.bounds) - 1 >= length]
    if not len(starts):
        return 0.0
    pieces = logs.a[starts[:, None] + np.arange(length), i]
    pieces = (pieces - pieces.mean(axis=1, keepdims=True)) * np.hanning(length)
    power = (np.abs(np.fft.rfft(pieces, axis=1)) ** 2).mean(axis=0)[1:]
    if power.sum() <= 0:
        return 0.0
    share = power / power.sum()
    return float(np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum()) / len(share))


def _eigenvalues(logs: Logs, moving: list[int], order: int) -> Floats:
    """Eigenvalues of the covariance of standardised actions over `order` steps, ascending; their mean is 1."""
    rows = logs.rows(order - 1, 1)
    if len(rows) <= order * len(moving):
        return np.zeros(1)
    stacked = np.concatenate([logs.a[rows - lag][:, moving] for lag in range(order)], axis=1)
    centred = stacked - stacked.mean(axis=0)
    spread = np.maximum(centred.std(axis=0), 1e-300)
    values: Floats = np.linalg.eigvalsh((centred / spread).T @ (centred / spread) / len(rows))
    return values
