"""Is the time between moments what the schema says, and does each action stand on the row where it was in force?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing import regression
from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]

SHIFTS = (-4, -3, -2, -1, 0, 1)  # rows: which action is tried for the change from t to t+1
PAST = 3
CLEARLY = 1.25  # a gain is better than another when it is so many times as large
WORTH, PLAIN = 0.01, 0.2  # gains that count at all, and that leave no doubt
GAP = 1.5  # periods: a longer step has lost a moment


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time stamps against the control period.

    Attributes:
        period: Of the schema, seconds.
        median: Time between moments, seconds.
        jitter: Its standard deviation without gaps, over the period.
        gaps: Steps longer than `GAP` periods.
        steps: Steps looked at.
        longest: The longest step, seconds.
        finding: What to make of it.
    """

    period: float
    median: float
    jitter: float
    gaps: int
    steps: int
    longest: float
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Whether another row's action explains a change better than its own.

    Attributes:
        shifts: Rows: -1 is the action one step earlier, 1 the one a step later.
        gains: Share of the one-step error that each takes away alone, on episodes that were not fitted.
        finding: What to make of it.
    """

    shifts: tuple[int, ...]
    gains: tuple[float, ...]
    finding: Finding


def clock(logs: Logs) -> Clock:
    """Compare the time stamps with the schema's period."""
    period, steps = logs.schema.period, logs.intervals
    is_gap = steps > GAP * period
    even = steps[~is_gap] if (~is_gap).any() else steps
    median, jitter, lost = float(np.median(steps)), float(even.std() / period), float(is_gap.mean())
    severity, weight, sentence = (
        Severity.FINE,
        0.0,
        f"The steps are even: {median:g} s each, jitter {percent(jitter)} of the period, no gap.",
    )
    if abs(median / period - 1) > 0.02:
        severity, weight = (Severity.STOP, 0.75) if abs(median / period - 1) > 0.2 else (Severity.CAREFUL, 0.5)
        sentence = f"The steps take {median:g} s, and the schema says {period:g} s. Correct the period, or align the logs again."
    elif lost > 0.2:
        severity, weight = Severity.STOP, 0.75
        sentence = f"{percent(lost)} of the steps are longer than {GAP:g} periods. Cut the episodes at the gaps, or take a longer period."
    elif is_gap.any():
        severity, weight = Severity.CAREFUL, 0.45
        sentence = (
            f"{int(is_gap.sum()):,} of {len(steps):,} steps are longer than {GAP:g} periods (up to {steps.max():g} s): "
            "moments are missing there. Cut the episodes at the gaps."
        )
    elif jitter > 0.1:
        severity, weight = Severity.CAREFUL, 0.3
        sentence = f"The steps are uneven: they spread by {percent(jitter)} of the period. Align the logs to an even clock."
    finding = Finding(theme="clock", subject="time", severity=severity, sentence=sentence, weight=weight)
    return Clock(
        period=period, median=median, jitter=jitter, gaps=int(is_gap.sum()), steps=len(steps), longest=float(steps.max()), finding=finding
    )


def alignment(logs: Logs, *, is_fed_back: bool) -> Alignment | None:
    """Try the actions of neighbouring rows.

    Args:
        logs: The sample.
        is_fed_back: The actions are mostly a law of the observations: then the next action always "explains" the change before it.

    Returns:
        None when there is too little to try it on.
    """
    rows = logs.rows(max(PAST, -min(SHIFTS)), 2)
    targets = np.flatnonzero(logs.is_target)
    groups = logs.groups_of(rows)
    if len(rows) < 50 or len(np.unique(groups)) < 2:
        return None
    change = regression.standardised(logs.o[rows + 1][:, targets] - logs.o[rows][:, targets])
    fold = regression.folds(groups)
    seen = np.concatenate([logs.o[rows - lag] for lag in range(PAST)], axis=1)

    def error(x: Floats) -> float:
        return float(((regression.predicted(regression.bent(x), change, fold) - change) ** 2).mean())

    alone = error(seen)
    gains = tuple(1 - error(np.concatenate([seen, logs.a[rows + shift]], axis=1)) / max(alone, 1e-300) for shift in SHIFTS)
    return Alignment(shifts=SHIFTS, gains=gains, finding=_judged(dict(zip(SHIFTS, gains, strict=True)), is_fed_back))


def _judged(gains: dict[int, float], is_fed_back: bool) -> Finding:
    best = max(gains, key=lambda shift: gains[shift])
    severity, weight, sentence = Severity.FINE, 0.0, "Each change is explained best by the action of its own row, as it must be."
    here = max(gain for shift, gain in gains.items() if shift <= 0)
    wins = gains[best] > WORTH and gains[best] > CLEARLY * (here if best == 1 else gains[0])
    if is_fed_back:
        sentence = "Whether the actions stand on the right row cannot be told from logs under feedback; compare the clocks of the two."
    elif best == 1 and wins:
        severity, weight = (Severity.STOP, 0.97) if gains[1] > PLAIN and here < gains[1] / 4 else (Severity.CAREFUL, 0.6)
        sentence = (
            "Changes are explained best by the action of the next row: the actions are logged a step late, or a controller acts on "
            "what it has just seen. Compare the clocks; if they are late, shift them one row earlier."
        )
    elif best < 0 and wins:
        severity, weight = Severity.CAREFUL, 0.35
        sentence = (
            f"Changes are explained best by the action {-best} step{'s' if best < -1 else ''} earlier. If the machine "
            "has no such dead time, the actions are logged too early; if it has, give the model a history at least as "
            "long."
        )
    elif max(gains.values()) <= 0.01:
        sentence = "No action of a neighbouring row explains a change better than its own; none explains much alone."
    return Finding(theme="clock", subject="actions", severity=severity, sentence=sentence, weight=weight)
