"""Which sensor answers to which action, how late, and how strongly.

Plain cross-correlation finds an effect where a controller only reacted. So both sides are first cleared of everything that was known
before the action: its own past and the observations up to now. What is left of the action is an experiment; a later sensor value that
correlates with it was moved by it. (Local projections: O. Jorda, American Economic Review 95 (2005), 161-182.)
An effect may change sign with the state or with another action, so the experiment is also multiplied with those.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing import regression
from tacit.data.auditing.excitation import Excitation
from tacit.data.auditing.feedback import LAGS, ActionFeedback, observed
from tacit.data.auditing.finding import Finding, Severity
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]

HORIZON = 40  # steps ahead at most
ERROR = 0.01  # chance of any false effect of an action in the whole audit
WITH = 6  # sensors with which an effect may change
WEAKEST = 0.01  # partial correlation under which an effect is too small to use


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How one sensor answers to one action.

    Attributes:
        action: Name.
        sensor: Name.
        dead_time: Steps before the first significant answer: 0 when the next observation shows it; None when there is none.
        peak: Steps from the action to the strongest answer.
        strength: Largest partial correlation, 0 to 1.
        by_lag: Largest partial correlation at 1, 2, ... steps after the action.
    """

    action: str
    sensor: str
    dead_time: int | None
    peak: int
    strength: float
    by_lag: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Effects:
    """All pairs, and what to make of each action.

    Attributes:
        pairs: By action, then by sensor.
        threshold: Partial correlation above which an effect is significant, of the typical pair: Bonferroni over all that was tried.
        findings: One for each action that moves.
    """

    pairs: tuple[Effect, ...]
    threshold: float
    findings: tuple[Finding, ...]

    def dead_times(self) -> dict[str, int]:
        """Steps until the first sensor answers, of every action that one answers."""
        found: dict[str, int] = {}
        for pair in self.pairs:
            if pair.dead_time is not None:
                found[pair.action] = min(pair.dead_time, found.get(pair.action, pair.dead_time))
        return found


def effects(logs: Logs, excited: Excitation, laws: tuple[ActionFeedback, ...]) -> Effects:
    """Look for an answer to every action that moves."""
    moving = [i for i, action in enumerate(excited.actions) if not action.is_still]
    targets = np.flatnonzero(logs.is_target)
    horizon = int(np.clip(logs.shortest(0.1) // 4, 1, HORIZON))
    rows = logs.rows(LAGS, horizon)
    if not moving or not len(targets) or len(rows) < 50:
        return Effects(pairs=(), threshold=1.0, findings=())
    past = [logs.a[rows - lag] for lag in range(1, LAGS + 1)]
    cleared = regression.Clearing(regression.bent(np.concatenate([observed(logs, rows), *past], axis=1)))
    experiment = cleared(logs.a[rows][:, moving])
    trials = _trials(logs, rows, regression.standardised(experiment))  # (N, A, W)
    # Half of the error is left to the plain experiment, which most machines answer, and half to all products.
    plain = len(moving) * horizon
    tests = plain * len(targets) * np.array([1, *[trials.shape[2] - 1] * (trials.shape[2] - 1)])
    critical = np.array([NormalDist().inv_cdf(1 - ERROR / n / 4) for n in tests])[:, None]
    joint = np.zeros((len(moving), horizon), bool)
    strength = np.empty((len(moving), len(targets), horizon))
    significant = np.zeros(strength.shape, bool)
    flat = trials.reshape(len(rows), -1)
    power = np.sqrt((flat**2).sum(axis=0))
    for lag in range(1, horizon + 1):
        answer = cleared(logs.o[rows + lag][:, targets])
        shared = flat.T @ answer
        # Robust to a noise that is larger where the action is larger.
        score = np.abs(shared) / np.sqrt(np.maximum((flat**2).T @ answer**2, 1e-300))
        size = np.abs(shared) / np.maximum(power[:, None] * np.sqrt((answer**2).sum(axis=0)), 1e-300)
        size, score = (v.reshape(trials.shape[1], trials.shape[2], -1) for v in (size, score))
        strength[:, :, lag - 1] = size.max(axis=1)
        significant[:, :, lag - 1] = ((score > critical) & (size > WEAKEST)).any(axis=1)
        joint[:, lag - 1] = [_together(trials[:, m, 0], answer) > _chi_square(len(targets), ERROR / plain) for m in range(len(moving))]
    _credit(significant, strength, joint)
    pairs = tuple(
        Effect(
            action=logs.actions[i],
            sensor=logs.sensors[j],
            dead_time=int(significant[m, n].argmax()) if significant[m, n].any() else None,
            peak=int(strength[m, n].argmax()) + 1,
            strength=float(strength[m, n].max()),
            by_lag=tuple(strength[m, n].tolist()),
        )
        for m, i in enumerate(moving)
        for n, j in enumerate(targets)
    )
    hidden = {f.action: "it has no movement of its own" for f in laws if f.is_law}
    hidden |= {f.action: "a sensor repeats it within the step, and so knows it already" for f in laws if f.shows_at_once}
    by_action = [(logs.actions[i], [p for p in pairs if p.action == logs.actions[i]]) for i in moving]
    findings = tuple(_judged(action, own, hidden.get(action)) for action, own in by_action)
    return Effects(pairs=pairs, threshold=max(float(critical[0, 0]) / float(np.sqrt(len(rows))), WEAKEST), findings=findings)


def _trials(logs: Logs, rows: NDArray[np.int64], experiment: Floats) -> Floats:
    """Experiments that may have an effect: each action's own, and that times a sensor, another action or itself, (N, A, W)."""
    count = experiment.shape[1]
    # Of actions that move together, each is credited with what the others do not explain.
    own = np.stack([regression.Clearing(np.delete(experiment, k, axis=1))(experiment[:, k : k + 1])[:, 0] for k in range(count)], axis=1)
    sensors = regression.standardised(logs.o[rows][:, :WITH])
    trials = [own, *(own * sensors[:, k : k + 1] for k in range(sensors.shape[1]))]
    trials += [np.roll(own, shift, axis=1) * own for shift in range(1, min(count, 4))]
    trials.append(own**2 - (own**2).mean(axis=0))
    stacked = np.stack(trials, axis=2)
    centred: Floats = stacked - stacked.mean(axis=0)
    return centred


def _together(experiment: Floats, answer: Floats) -> float:
    """Wald statistic of all sensors at once, which sees a small effect that noise common to the sensors hides from each."""
    shared = answer.T @ experiment
    spread = (answer * (experiment**2)[:, None]).T @ answer
    spread += 1e-9 * max(float(np.trace(spread)), 1e-300) * np.eye(len(spread))
    return float(shared @ np.linalg.solve(spread, shared))


def _chi_square(freedom: int, error: float) -> float:
    """Value that a chi-square variable exceeds with a probability of `error` (Wilson and Hilferty's approximation)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + NormalDist().inv_cdf(1 - error) * np.sqrt(part)) ** 3)


def _credit(significant: NDArray[np.bool_], strength: Floats, joint: NDArray[np.bool_]) -> None:
    """An action that only all sensors together answer is credited to the strongest of them, from the first such step on."""
    for m in np.flatnonzero(joint.any(axis=1) & ~significant.any(axis=(1, 2))):
        lag = int(joint[m].argmax())
        significant[m, int(strength[m, :, lag].argmax()), lag] = True


def _judged(action: str, pairs: list[Effect], hidden: str | None) -> Finding:
    answering = sorted((p for p in pairs if p.dead_time is not None), key=lambda p: -p.strength)
    if answering:
        best = answering[0]
        others = f", and {len(answering) - 1} other sensor{'s' if len(answering) > 2 else ''}" if len(answering) > 1 else ""
        late = "at once" if best.dead_time == 0 else f"after {best.dead_time} step{'s' if best.dead_time != 1 else ''} of dead time"
        sentence = f"{action} moves {best.sensor} {late} (partial correlation {best.strength:.2f}){others}."
        return Finding(theme="effects", subject=action, severity=Severity.FINE, sentence=sentence)
    if hidden:
        sentence = f"Whether {action} does anything cannot be told: {hidden}."
        return Finding(theme="effects", subject=action, severity=Severity.CAREFUL, sentence=sentence, weight=0.1)
    sentence = (
        f"{action} moves, and no sensor answers within {len(pairs[0].by_lag)} steps: it is disconnected, or its effect drowns in noise. "
        "Check the actuator; record larger moves of it, add a sensor that sees its effect, or leave it out of the schema."
    )
    return Finding(theme="effects", subject=action, severity=Severity.STOP, sentence=sentence, weight=0.85)
