"""Can the next observations be foretold at all, and do the actions help?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing import regression
from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AHEAD = (1, 8)  # steps
PAST = 3  # observations
MOST_PAST_ACTIONS = 12
RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Skill of a regression some steps ahead, on episodes that were not fitted: 1 - error / error of "nothing changes".

    Attributes:
        ahead: Steps.
        without_actions: Skill from observations alone.
        with_actions: Skill from observations and the actions up to then.
        gain: Share of the error without actions that the actions take away.
        low: Lower end of its 95 % bootstrap interval over episodes.
        high: Upper end.
        bent: True where random features forecast better than a line.
    """

    ahead: int
    without_actions: float
    with_actions: float
    gain: float
    low: float
    high: float
    bent: bool


@dataclass(frozen=True, kw_only=True)
class Predictability:
    """Forecasts `AHEAD`.

    Attributes:
        forecasts: Fewer when the stretches are short.
        finding: What to make of them.
    """

    forecasts: tuple[Forecast, ...]
    finding: Finding


def predictability(logs: Logs, *, dead_time: int, is_fed_back: bool) -> Predictability:
    """Forecast with and without actions.

    Args:
        logs: The sample.
        dead_time: Steps that the slowest actuator takes, so that the regression sees the actions that are on their way.
        is_fed_back: The actions are mostly a law of the observations, and later actions betray the observations between.
    """
    forecasts = tuple(f for k in AHEAD if (f := _forecast(logs, k, dead_time)) is not None)
    return Predictability(forecasts=forecasts, finding=_judged(forecasts, is_fed_back))


def sure_gain(logs: Logs) -> float:
    """Lower end of the gain from the actions one step ahead, whatever the dead times; 0 when there is too little to tell."""
    forecast = _forecast(logs, 1, MOST_PAST_ACTIONS)
    return 0.0 if forecast is None else forecast.low


def _forecast(logs: Logs, ahead: int, dead_time: int) -> Forecast | None:
    before = min(max(PAST, dead_time + 1), MOST_PAST_ACTIONS)
    rows = logs.rows(before, ahead)
    targets = np.flatnonzero(logs.is_target)
    change = logs.o[rows + ahead][:, targets] - logs.o[rows][:, targets] if len(rows) else np.empty((0, 0))
    scale = np.sqrt((change**2).mean(axis=0)) if change.size else np.empty(0)
    groups = logs.groups_of(rows)
    if len(rows) < 50 or not (scale > 0).any() or len(np.unique(groups)) < 2:
        return None
    change = change[:, scale > 0] / scale[scale > 0]
    fold = regression.folds(groups)
    seen = np.concatenate([logs.o[rows - lag] for lag in range(PAST)], axis=1)
    acted = np.concatenate([logs.a[rows + lag] for lag in range(-before, ahead)], axis=1)
    alone, _ = _errors(seen, change, fold)
    helped, is_bent = _errors(np.concatenate([seen, acted], axis=1), change, fold)
    _, place = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(place, e) for e in (alone, helped)])
    draws = np.random.default_rng(logs.seed).integers(sums.shape[1], size=(RESAMPLES, sums.shape[1]))
    drawn = sums[:, draws].sum(axis=2)
    low, high = np.quantile(1 - drawn[1] / np.maximum(drawn[0], 1e-300), (0.025, 0.975))
    return Forecast(
        ahead=ahead,
        without_actions=float(1 - alone.mean()),
        with_actions=float(1 - helped.mean()),
        gain=float(1 - helped.sum() / max(alone.sum(), 1e-300)),
        low=float(low),
        high=float(high),
        bent=is_bent,
    )


def _errors(x: Floats, y: Floats, fold: Ints) -> tuple[Floats, bool]:
    """Mean squared error of each row by the better regression, and whether that was the bent one."""
    line, curve = (((regression.predicted(features, y, fold) - y) ** 2).mean(axis=1) for features in (x, regression.bent(x)))
    return (curve, True) if curve.mean() < line.mean() else (line, False)


def _judged(forecasts: tuple[Forecast, ...], is_fed_back: bool) -> Finding:
    severity, weight = Severity.FINE, 0.0
    if not forecasts:
        severity, weight = Severity.STOP, 0.7
        sentence = (
            "The observations never change, or the logs are too short to forecast a step. Record longer episodes in "
            "which something happens."
        )
    elif (one := forecasts[0]).low <= 0:
        severity, weight = Severity.CAREFUL, 0.55
        sentence = (
            f"Knowing the actions does not improve a forecast of one step (error {one.gain:+.1%} less). A model will "
            "learn to ignore them; record logs in which they matter."
        )
    elif max(f.with_actions for f in forecasts) <= 0.02:
        severity, weight = Severity.CAREFUL, 0.5
        sentence = (
            "A simple regression forecasts no better than saying that nothing changes. Check the control period and "
            "the noise of the sensors."
        )
    else:
        sentence = (
            f"Knowing the actions takes {percent(one.gain)} off the error of a forecast of one step "
            f"({percent(one.low)} to {percent(one.high)})."
        )
        if is_fed_back and len(forecasts) > 1:
            sentence += " Further ahead the gain flatters: under feedback, later actions betray the observations in between."
    return Finding(theme="predictability", subject="observations", severity=severity, sentence=sentence, weight=weight)
