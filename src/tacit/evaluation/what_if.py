"""What would have happened: interventions at a moment of the logs, what a run says of them, and which is best by an indicator.

    answer = ask(run, store, Moment(episode=3, step=480), ["pump_1=3.2 from 2min", "pump_2+=0.1"], steps=120, kpi=Kpi(...))

The run knows what was seen up to the moment, and nothing after it. Outside its changes an intervention does what was logged, so a
controller that was running does not answer to it. Where a question leaves what the logs can answer (`tacit.training.support`), the
prediction is shown and not ranked.

Dimensions: H horizon, A action, N channels, W held-out stretches, K interventions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.data import EpisodeStore
from tacit.evaluation.what_if_reasons import leaves, reasons
from tacit.planning.interventions import Intervention, action_channels, parse_intervention
from tacit.run import Run
from tacit.signals import Schema
from tacit.training.correction import LOOKED_BACK
from tacit.training.forecasts import foreseen, imagined, known
from tacit.training.readouts import CONFIDENCE, conformal_half_widths
from tacit.training.recipes import sensors_of
from tacit.training.support import REFUSED, Support

AS_LOGGED = "as logged"
PAST = LOOKED_BACK  # moments that are shown to the model
NORMAL = 1.645  # standard deviations that hold 90 % of a normal distribution

Floats = NDArray[np.float32]


class Wish(StrEnum):
    """What an indicator should be."""

    SMALL = "minimise"
    LARGE = "maximise"
    NEAR = "target"


@final
@dataclass(frozen=True, kw_only=True)
class Kpi:
    """A number to rank by: the mean of a channel or of an action over the horizon, or its mean distance from a target.

    Attributes:
        channel: Which.
        wish: What it should be.
        target: Where it should be, for `Wish.NEAR`.
    """

    channel: str
    wish: Wish
    target: float = 0.0

    @property
    def name(self) -> str:
        """In words."""
        return f"mean distance of {self.channel} from {self.target:g}" if self.wish is Wish.NEAR else f"mean of {self.channel}"

    @property
    def sign(self) -> float:
        """1 where less is better, else -1."""
        return -1.0 if self.wish is Wish.LARGE else 1.0

    def of(self, path: NDArray[Any]) -> NDArray[Any]:
        """Its value for paths of the channel (..., H), not counting what is not finite: (...)."""
        found: NDArray[Any] = np.nanmean(np.abs(path - self.target) if self.wish is Wish.NEAR else path, axis=-1)
        return found


@final
@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of a store.

    Attributes:
        episode: Its episode.
        step: Frames since the episode began.
    """

    episode: int
    step: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Situation:
    """What is known at a moment, and what was done after it.

    Attributes:
        seen: Observations and disturbances up to now by name, (T, *shape) each.
        applied: Actions between them, (T - 1, A).
        actions: Actions from now on as they were logged, (H, A).
        logged: How many of these were; the last one stands for the rest.
        happened: What the channels showed after each of them, (H, N), not finite where nothing was measured.
    """

    seen: Mapping[str, NDArray[Any]]
    applied: Floats
    actions: Floats
    logged: int
    happened: Floats


@final
@dataclass(frozen=True, kw_only=True)
class Value:
    """An indicator with its interval."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a run says of one intervention.

    Attributes:
        text: As it was asked for.
        actions: What is done, (H, A).
        median: What the channels will show, (H, N); row k is after action k.
        low: Lower end of the interval of each step, (H, N).
        high: Upper end, (H, N).
        kpi: The indicator; None where none was asked for.
        against: How much more the indicator is than as logged.
        p_value: Share of stretches of the logs that are at least as strange.
        reasons: Why it is not ranked, in words; empty where it is.
        rank: Place by the indicator, from 1; None where it is not ranked.
        ties: Texts of the others that the prediction cannot tell it from.
    """

    text: str
    actions: Floats
    median: Floats
    low: Floats
    high: Floats
    p_value: float
    reasons: tuple[str, ...]
    kpi: Value | None = None
    against: Value | None = None
    rank: int | None = None
    ties: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.reasons)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """An answered question.

    Attributes:
        names: Of the N channels.
        units: Of the channels.
        actions: Names of the A action elements.
        action_units: Of them.
        period: Control period in seconds.
        kpi: What is ranked by, or None.
        situation: The moment, with what happened then.
        outcomes: As logged first, then the interventions in the order of the question.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    actions: tuple[str, ...]
    action_units: tuple[str, ...]
    period: float
    kpi: Kpi | None
    situation: Situation
    outcomes: tuple[Outcome, ...]

    @property
    def ranking(self) -> tuple[Outcome, ...]:
        """What is ranked, best first."""
        return tuple(sorted((o for o in self.outcomes if o.rank is not None), key=lambda o: o.rank or 0))

    @property
    def really(self) -> float | None:
        """The indicator of what really happened; None where it was not logged."""
        if self.kpi is None:
            return None
        if self.kpi.channel in self.actions:
            return float(self.kpi.of(self.situation.actions[:, self.actions.index(self.kpi.channel)]))
        path = self.situation.happened[:, self.names.index(self.kpi.channel)]
        return float(self.kpi.of(path)) if np.isfinite(path).any() and self.situation.logged == len(path) else None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "period": self.period,
            "channels": dict(zip(self.names, self.units, strict=True)),
            "actions": dict(zip(self.actions, self.action_units, strict=True)),
            "kpi": None if self.kpi is None else {"channel": self.kpi.channel, "wish": str(self.kpi.wish), "target": self.kpi.target},
            "confidence": CONFIDENCE,
            "logged_steps": self.situation.logged,
            "happened": _by_name(self.names, self.situation.happened),
            "really": self.really,
            "outcomes": [
                {
                    "text": o.text,
                    "rank": o.rank,
                    "kpi": None if o.kpi is None else vars(o.kpi),
                    "against_as_logged": None if o.against is None else vars(o.against),
                    "ties": list(o.ties),
                    "p_value": o.p_value,
                    "refused": list(o.reasons),
                    "actions": _by_name(self.actions, o.actions),
                    "median": _by_name(self.names, o.median),
                    "low": _by_name(self.names, o.low),
                    "high": _by_name(self.names, o.high),
                }
                for o in self.outcomes
            ],
        }


def situation(store: EpisodeStore, schema: Schema, moment: Moment, steps: int) -> Situation:
    """Read a moment of a store.

    Args:
        store: The logs.
        schema: Of the run; no label is read.
        moment: Which.
        steps: H.

    Raises:
        ValueError: There is no such moment.
    """
    if not 0 <= moment.episode < len(store):
        raise ValueError(f"{store.path} has no episode {moment.episode}: it has {len(store)}, counted from 0")
    episode = store.view([s.name for s in schema.signals])[moment.episode]
    if not 0 <= moment.step <= episode.steps:
        raise ValueError(f"episode {moment.episode} has no moment {moment.step}: it has {episode.steps} steps of {schema.period:g} s")
    first, now = max(0, moment.step - PAST + 1), moment.step
    rows = [np.asarray(episode.signals[s.name], np.float32).reshape(episode.steps, -1) for s in schema.actions]
    done = np.concatenate(rows, axis=1)
    ahead = np.minimum(np.arange(now, now + steps), episode.steps - 1)
    logged = min(steps, episode.steps - now)
    happened = [_shown(episode.signals, schema, s.name, episode.steps + 1) for s in sensors_of(schema)]
    after = np.full((steps, sum(h.shape[1] for h in happened)), np.nan, np.float32)
    after[:logged] = np.concatenate(happened, axis=1)[now + 1 : now + 1 + logged]
    return Situation(
        seen={s.name: np.array(episode.signals[s.name][first : now + 1]) for s in schema.seen},
        applied=done[first:now],
        actions=done[ahead],
        logged=logged,
        happened=after,
    )


def ask(
    run: Run,
    support: Support,
    now: Situation,
    interventions: Sequence[str | Intervention],
    *,
    kpi: Kpi | None = None,
    refused: float = REFUSED,
) -> Answer:
    """Say what interventions would bring.

    Args:
        run: With readouts of its sensors.
        support: What its logs can answer.
        now: The moment.
        interventions: What would be done instead of what was logged.
        kpi: What they are ranked by; None ranks nothing.
        refused: Interventions with a p-value up to this are not ranked, nor those that leave a logged range by far.

    Raises:
        InterventionError: An intervention is none, or does not fit the machine.
        ValueError: The horizon is longer than what is known of the errors, or the run has no such channel.
    """
    schema, steps = run.schema, len(now.actions)
    if steps > support.longest:
        raise ValueError(
            f"a horizon of {steps * schema.period:g} s is longer than the {support.longest * schema.period:g} s "
            "that the held-out logs tell the errors of; ask for less"
        )
    names = tuple(name for fitted in run.readouts.values() for name in fitted.readout.names)
    units = tuple(fitted.readout.unit for fitted in run.readouts.values() for _ in fitted.readout.names)
    elements = action_channels(schema)
    rankable = (*names, *(name for name, _ in elements))
    if kpi is not None and kpi.channel not in rankable:
        raise ValueError(f"there is no {kpi.channel!r} to rank by; there are: {', '.join(rankable)}")
    parsed = [each if isinstance(each, Intervention) else parse_intervention(each, schema) for each in interventions]
    previous = now.applied[-1] if len(now.applied) else now.actions[0]
    done = np.stack([now.actions, *(each.applied(now.actions, previous, schema) for each in parsed)])
    with torch.no_grad():
        trajectory = imagined(run.model, now.seen, now.applied, done)
        fitted = tuple(run.readouts.values())
        shown = torch.cat([each.readout(trajectory) for each in fitted], -1)
        if run.correction is not None:  # of what follows as logged; what an intervention changes stays as it was predicted
            lately = known(run.model, run.readouts, now.seen, now.applied, run.correction)
            shown[:, 1:] += foreseen(schema, fitted, trajectory[:1, 1:], run.correction, lately) - shown[:1, 1:]
    median = shown[:, 1:].numpy()
    past = torch.from_numpy(now.applied if len(now.applied) else now.actions[:1])
    distances = support.distances(trajectory, past, torch.from_numpy(done))
    scores = torch.maximum(*(each.amax(1) for each in distances)).tolist()
    widths = conformal_half_widths(support.residuals[:, :steps], CONFIDENCE).numpy()
    wide = np.hypot(widths, NORMAL * support.gain.numpy() * (median - median[:1]))
    outcomes = []
    for k, text in enumerate((AS_LOGGED, *(each.text for each in parsed))):
        p_value = support.p_value(scores[k], steps)
        why: tuple[str, ...] = ()
        doing = torch.from_numpy(done[k])
        if p_value <= refused or leaves(support, shown[k], doing):
            why = reasons(run, support, trajectory[k], past, doing, shown[k], tuple(each[k] for each in distances))
        outcomes.append(
            Outcome(
                text=text,
                actions=done[k],
                median=median[k],
                low=median[k] - wide[k],
                high=median[k] + wide[k],
                p_value=p_value,
                reasons=why,
            )
        )
    return Answer(
        names=names,
        units=units,
        actions=tuple(name for name, _ in elements),
        action_units=tuple(signal.unit for _, signal in elements),
        period=schema.period,
        kpi=kpi,
        situation=now,
        outcomes=tuple(outcomes if kpi is None else _ranked(outcomes, kpi, support, names, [name for name, _ in elements])),
    )


def _ranked(outcomes: Sequence[Outcome], kpi: Kpi, support: Support, names: Sequence[str], elements: Sequence[str]) -> list[Outcome]:
    """Outcomes with their indicator, place and ties."""
    if kpi.channel in elements:
        column = elements.index(kpi.channel)
        paths = np.stack([o.actions[:, column] for o in outcomes])
        residuals, gain = np.zeros((1, paths.shape[1])), 0.0
    else:
        column = names.index(kpi.channel)
        paths = np.stack([o.median[:, column] for o in outcomes])
        residuals, gain = _continuous(support.residuals[:, : paths.shape[1], column].numpy()), float(support.gain[column])
    both = np.concatenate((residuals, -residuals))
    possible = kpi.of(paths[:, None] + both)  # (K, 2 W)
    noise = NORMAL * float(residuals[:, 0].std()) * math.sqrt(2 / paths.shape[1])

    def difference(one: int, other: int) -> Value:
        effect = NORMAL * gain * float(np.abs(paths[one] - paths[other]).mean())
        return _interval(possible[one] - possible[other], effect + noise)

    ranked = sorted((k for k, o in enumerate(outcomes) if not o.is_refused), key=lambda k: kpi.sign * possible[k].mean())
    found = []
    for k, outcome in enumerate(outcomes):
        ties = []
        for other in ranked:
            between = difference(k, other)
            if k in ranked and other != k and between.low <= 0 <= between.high:
                ties.append(outcomes[other].text)
        found.append(
            replace(
                outcome,
                kpi=_interval(possible[k], NORMAL * gain * float(np.abs(paths[k] - paths[0]).mean())),
                against=difference(k, 0),
                rank=ranked.index(k) + 1 if k in ranked else None,
                ties=tuple(ties),
            )
        )
    return found


def _interval(possible: NDArray[Any], more: float) -> Value:
    """The mean of what is possible, with the interval that holds `CONFIDENCE` of it, wider by an independent error."""
    value = float(possible.mean())
    low, high = np.quantile(possible, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Value(value=value, low=value - math.hypot(value - low, more), high=value + math.hypot(high - value, more))


def _continuous(residuals: NDArray[Any]) -> NDArray[Any]:
    """Residuals (W, H) with straight lines where nothing was measured; stretches without any measurement are left out."""
    steps, rows = np.arange(residuals.shape[1]), []
    for row in residuals:
        there = np.isfinite(row)
        if there.any():
            rows.append(np.interp(steps, steps[there], row[there]))
    return np.array(rows) if rows else np.zeros((1, len(steps)))


def _shown(signals: Mapping[str, NDArray[Any]], schema: Schema, name: str, frames: int) -> Floats:
    values = np.array(signals[name], np.float32).reshape(frames, -1)
    if name in schema.masks:
        values[~np.asarray(signals[schema.masks[name].name], np.bool_).reshape(frames, -1)] = np.nan
    return values


def _by_name(names: Sequence[str], values: Floats) -> dict[str, list[float | None]]:
    rounded = np.round(values.astype(np.float64), 6)
    return {name: [None if math.isnan(v) else v for v in rounded[:, n].tolist()] for n, name in enumerate(names)}
