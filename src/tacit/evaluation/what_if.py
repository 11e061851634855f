"""What would have happened: interventions at a moment of the logs, what a run says of them, and which is best by an indicator.

    answer = ask(run, store, Moment(episode=3, step=480), ["pump_1=3.2 from 2min", "pump_2+=0.1"], steps=120, kpi=Kpi(...))

The run knows what was seen up to the moment, and nothing after it, unless it is asked in hindsight (`tacit.evaluation.hindsight`):
then what was measured after the moment counts as well. Outside its changes an intervention does what was logged, so a controller that was
running does not answer to it. Where a question leaves what the logs can answer (`tacit.training.support`), the prediction is shown and not
ranked.

Dimensions: H horizon, A action, N channels, W held-out stretches, K interventions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.data import EpisodeStore
from tacit.evaluation.hindsight import aftermath, left_out
from tacit.evaluation.what_if_answer import Answer, Floats, Kpi, Moment, Outcome, Situation, Value
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
    hindsight: bool = False,
) -> Answer:
    """Say what interventions would bring.

    Args:
        run: With readouts of its sensors.
        support: What its logs can answer.
        now: The moment.
        interventions: What would be done instead of what was logged.
        kpi: What they are ranked by; None ranks nothing.
        refused: Interventions with a p-value up to this are not ranked, nor those that leave a logged range by far.
        hindsight: Whether what was measured after the moment counts: the answer is then what would have been otherwise, with the same
            disturbances, and "as logged" is what was measured.

    Raises:
        InterventionError: An intervention is none, or does not fit the machine.
        ValueError: The horizon is longer than what is known of the errors, or in hindsight than the log, or the run has no such channel.
    """
    schema, steps = run.schema, len(now.actions)
    if steps > support.longest:
        raise ValueError(
            f"a horizon of {steps * schema.period:g} s is longer than the {support.longest * schema.period:g} s "
            "that the held-out logs tell the errors of; ask for less"
        )
    if hindsight and now.logged < steps:
        raise ValueError(
            f"in hindsight all of the {steps * schema.period:g} s must have been logged, and the episode ends "
            f"{now.logged * schema.period:g} s after the moment; ask for less, or for a forecast"
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
        if hindsight:
            shown[:, 1:] += torch.from_numpy(aftermath(now.happened, shown[0, 1:].numpy())).float()
        elif run.correction is not None:  # of what follows as logged; what an intervention changes stays as it was predicted
            lately = known(run.model, run.readouts, now.seen, now.applied, run.correction)
            shown[:, 1:] += foreseen(schema, fitted, trajectory[:1, 1:], run.correction, lately) - shown[:1, 1:]
    median = shown[:, 1:].numpy()
    past = torch.from_numpy(now.applied if len(now.applied) else now.actions[:1])
    distances = support.distances(trajectory, past, torch.from_numpy(done))
    scores = torch.maximum(*(each.amax(1) for each in distances)).tolist()
    residuals = support.residuals[:, :steps].double().numpy()
    if hindsight:
        for n in np.flatnonzero(np.isfinite(now.happened).any(0)):
            residuals[..., n] = left_out(residuals[..., n])
    widths = conformal_half_widths(torch.from_numpy(residuals), CONFIDENCE).numpy()
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
    if kpi is not None:
        outcomes = _ranked(outcomes, kpi, residuals, support.gain, (names, tuple(name for name, _ in elements)), hindsight)
    return Answer(
        names=names,
        units=units,
        actions=tuple(name for name, _ in elements),
        action_units=tuple(signal.unit for _, signal in elements),
        period=schema.period,
        kpi=kpi,
        situation=now,
        outcomes=tuple(outcomes),
        hindsight=hindsight,
    )


def _ranked(
    outcomes: Sequence[Outcome],
    kpi: Kpi,
    residuals: NDArray[Any],
    gains: Tensor,
    names: tuple[Sequence[str], Sequence[str]],
    hindsight: bool,
) -> list[Outcome]:
    """Outcomes with their indicator, place and ties; names of the channels, and of the action elements."""
    channels, elements = names
    if kpi.channel in elements:
        column = elements.index(kpi.channel)
        paths = np.stack([o.actions[:, column] for o in outcomes])
        errors, gain = np.zeros((1, paths.shape[1])), 0.0
    else:
        column = channels.index(kpi.channel)
        paths = np.stack([o.median[:, column] for o in outcomes])
        errors, gain = _continuous(residuals[..., column]), float(gains[column])
    both = np.concatenate((errors, -errors))
    possible = kpi.of(paths[:, None] + both)  # (K, 2 W)
    values = (kpi.of(paths.astype(np.float64)) if hindsight else possible.mean(1)).tolist()  # what was measured has its noise in it already
    noise = NORMAL * float(errors[:, 0].std()) * math.sqrt(2 / paths.shape[1])

    def difference(one: int, other: int) -> Value:
        effect = NORMAL * gain * float(np.abs(paths[one] - paths[other]).mean())
        return _interval(values[one] - values[other], possible[one] - possible[other], effect + noise)

    ranked = sorted((k for k, o in enumerate(outcomes) if not o.is_refused), key=lambda k: kpi.sign * values[k])
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
                kpi=_interval(values[k], possible[k], NORMAL * gain * float(np.abs(paths[k] - paths[0]).mean())),
                against=difference(k, 0),
                rank=ranked.index(k) + 1 if k in ranked else None,
                ties=tuple(ties),
            )
        )
    return found


def _interval(value: float, possible: NDArray[Any], more: float) -> Value:
    """A value with the interval that holds `CONFIDENCE` of what is possible, wider by an independent error."""
    low, high = np.quantile(possible, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    below, above = max(0.0, value - float(low)), max(0.0, float(high) - value)
    return Value(value=value, low=value - math.hypot(below, more), high=value + math.hypot(above, more))


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
