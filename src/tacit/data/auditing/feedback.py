"""Are the actions a law of what the sensors show? Then the logs repeat the law, and hold no experiment.

Autocorrelation is not feedback: a slow random command can be read from its own effects. So the question is what the observations
tell about an action that its own past does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing import regression
from tacit.data.auditing.excitation import Excitation
from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]

LAGS = 4  # steps of the past that a law may look at
LAW, PARTLY = 0.94, 0.7  # share of what is new in an action that the observations explain
HALF, THIN = 0.5, 0.05  # this much explained and so little dither: what drives the action besides is too slow to be an experiment
FREE = 0.5  # R2 of the law alone under which something else, such as a setpoint, moves the action
TELLING = 0.3  # share of the forecast error that the actions take away, above which setpoints alone are experiment enough
SHOWS_AT_ONCE = 4.0  # times more that the sensors move when the action does, above which they follow it, and not it them
HELD = 0.2  # share of steps without a change of the action, from which on there is something to compare
FORESEEN = 1e-5  # share of the variance of an action that its own past leaves open, under which the past says everything


@dataclass(frozen=True, kw_only=True)
class ActionFeedback:
    """How far one action element follows from the observations. All shares are scored on episodes that were not fitted.

    Attributes:
        action: Its name.
        linear: R2 of a linear law of the present and past observations.
        bent: R2 of the better of two nonlinear laws: random features, and a line with limits.
        explained: Share of what is new in the action, given its own past, that the observations explain; 0 open loop, 1 pure feedback.
        dither: What neither its past nor the observations explain, as a standard deviation over that of the action.
        at_once: Times more that some sensor changes in the very step in which the action does than in those in which it holds; 1 when
            the action never holds. A law of noisy sensors does not make them jump.
        finding: What to make of it.
    """

    action: str
    linear: float
    bent: float
    explained: float
    dither: float
    at_once: float
    finding: Finding

    @property
    def is_law(self) -> bool:
        """True when there is no experiment in this action: what it does cannot be told from why it was done."""
        return _is_law(self.explained, self.dither) and not self.shows_at_once

    @property
    def shows_at_once(self) -> bool:
        """True when a sensor follows the action within the step, so that the sensor says nothing of why it was done."""
        return self.at_once >= SHOWS_AT_ONCE


def feedback(logs: Logs, excited: Excitation, *, gain: float) -> tuple[ActionFeedback, ...]:
    """Ask what the observations say about each action that moves.

    Args:
        logs: The sample.
        excited: Which actions move.
        gain: Share of the error of a one-step forecast that the actions surely take away: a law with a setpoint of its own in each
            episode is an experiment, if it shows.

    Returns:
        One entry for each action that moves.
    """
    moving = [i for i, action in enumerate(excited.actions) if not action.is_still]
    rows = logs.rows(LAGS, 1)
    groups = logs.groups_of(rows)
    if not moving or len(rows) < 50 or len(np.unique(groups)) < 2:
        return ()
    fold = regression.folds(groups)
    target = regression.standardised(logs.a[rows][:, moving])
    own = np.concatenate([logs.a[rows - lag] for lag in range(1, LAGS + 1)], axis=1)
    seen = observed(logs, rows)
    lone_line, lone_bent = _errors(seen, target, fold)
    past = np.minimum(*_errors(own, target, fold))
    both = np.minimum(*_errors(np.concatenate([seen, own], axis=1), target, fold))
    found = []
    for k, i in enumerate(moving):
        linear, curved = 1 - lone_line[k], 1 - min(lone_line[k], lone_bent[k])
        # A deterministic command leaves nothing new to explain; then the law alone must speak, and speak exactly.
        explained = 1 - both[k] / past[k] if past[k] > FORESEEN else (curved if curved > 0.999 else 0.0)
        dither = float(np.sqrt(max(both[k], 0)))
        jump = _at_once(logs, i, rows)
        found.append(_judged(logs.actions[i], float(linear), float(curved), float(np.clip(explained, 0, 1)), dither, jump, gain))
    return tuple(found)


def _at_once(logs: Logs, action: int, rows: NDArray[np.int64]) -> float:
    """How much more the most telling sensor changes when the action does, as a ratio of mean squares."""
    holds = logs.a[rows, action] == logs.a[rows - 1, action]
    if not HELD < holds.mean() < 1 - HELD / 10:
        return 1.0
    change = (logs.o[rows] - logs.o[rows - 1]) ** 2
    still, moved = change[holds].mean(axis=0), change[~holds].mean(axis=0)
    ratio = np.divide(moved, still, out=np.ones_like(moved), where=still > 0)
    return float(ratio.max(initial=1.0))


def observed(logs: Logs, rows: NDArray[np.int64]) -> Floats:
    """What a law may look at: the present and past observations, and their running means, as an integrator or filter has them."""
    return np.concatenate([*(logs.o[rows - lag] for lag in range(LAGS)), logs.memory[rows]], axis=1)


def _errors(x: Floats, y: Floats, fold: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Held-out squared error per column of `y` by a line, and by the better of two bent ones."""
    line = regression.predicted(x, y, fold)
    curve = regression.predicted(regression.bent(x), y, fold)
    link = np.stack([_switched(x, line[:, k], y[:, k], fold) for k in range(y.shape[1])], axis=1)
    linear, *others = (((p - y) ** 2).mean(axis=0) for p in (line, curve, link))
    return linear, np.minimum(*others)


def _switched(x: Floats, line: Floats, y: Floats, fold: NDArray[np.int64]) -> Floats:
    switched = regression.of_few_levels(x, y, fold)
    return regression.through_a_link(line, y, fold) if switched is None else switched


def _is_law(explained: float, dither: float) -> bool:
    return explained >= LAW or (explained >= HALF and dither < THIN)


def _judged(action: str, linear: float, curved: float, explained: float, dither: float, at_once: float, gain: float) -> ActionFeedback:
    severity, weight = Severity.FINE, 0.0
    sentence = f"{action} is not a law of the observations: they explain {percent(explained)} of what is new in it."
    add = "Record again with a small random signal added to the command, or with setpoints that change often."
    late = "Actions logged a step late look the same: compare the clocks."
    if _is_law(explained, dither) and at_once >= SHOWS_AT_ONCE:
        severity, weight = Severity.CAREFUL, 0.5
        sentence = (
            f"{action} shows in a sensor in the very step in which it changes, as a valve does in the flow behind it: the sensor follows "
            f"the action, not the action the sensor. {late} If they are right, leave that sensor out: it only repeats the command."
        )
    elif _is_law(explained, dither) and (curved >= FREE or gain < TELLING):
        severity, weight = Severity.STOP, 0.95
        sentence = (
            f"{action} follows from the observations ({percent(explained)} of what is new in it): a controller was in charge and added "
            f"nothing of its own (dither {percent(dither)} of its spread), so its effect cannot be told from its cause. {add} {late}"
        )
    elif _is_law(explained, dither):
        severity, weight = Severity.CAREFUL, 0.6
        sentence = f"{action} follows from the observations but for its setpoint, which alone shows what it does. {add}"
    elif explained >= PARTLY:
        severity, weight = Severity.CAREFUL, 0.4
        sentence = (
            f"{action} is mostly feedback ({percent(explained)} of what is new in it); the rest, {percent(dither)} of its spread, is what "
            f"a model can learn from. Judge forecasts with actions of another policy, and record some with more dither. {late}"
        )
    finding = Finding(theme="feedback", subject=action, severity=severity, sentence=sentence, weight=weight)
    return ActionFeedback(action=action, linear=linear, bent=curved, explained=explained, dither=dither, at_once=at_once, finding=finding)
