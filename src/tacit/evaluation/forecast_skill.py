"""What a run's forecasts are worth, from logs alone: skill and coverage on episodes that it was not trained on, beside other forecasters.

Skill is `1 - MSE / MSE of no change`: 1 is perfect, 0 is no better than saying that nothing changes. Intervals are of a block bootstrap,
because moments that follow each other are wrong together (Künsch, Annals of Statistics 17, 1989).

Dimensions: B moments, H horizon, P steps ahead that are reported, N sensor channels, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.data import EpisodeStore, StoreError
from tacit.evaluation.forecasters import WARM_UP, Forecaster, Lstm, Persistence, ProcessLog, best_arx, process_log
from tacit.evaluation.validation import ARX, LSTM, NO_CHANGE, RUN, Estimate, Example, Floats, Method, Validation
from tacit.models.ensemble import dynamics_size
from tacit.run import Run
from tacit.training.correction import lately
from tacit.training.fit import Display, Silent
from tacit.training.following import FollowedWidths, followed
from tacit.training.forecasts import foreseen, half_widths
from tacit.training.latents import LatentLog, encode_log
from tacit.training.readouts import CONFIDENCE

STEPS_AHEAD = (1, 2, 5, 10, 20, 50)
RESAMPLES = 1000
MOST_MOMENTS = 4000  # that forecasts begin at
CHUNK = 512  # forecasts made at once
EXAMPLES = 3  # forecasts drawn
LSTM_STEPS = 1500  # of its training, at most
CPU = torch.device("cpu")


@final
class OfRun:
    """The run itself as a forecaster.

    Args:
        run: With readouts of all sensors.
        log: The episodes that are forecast, encoded.
        shown: What the sensors showed in them, (F, N), not finite where nothing was measured.
    """

    def __init__(self, run: Run, log: LatentLog, shown: Tensor) -> None:
        self._run, self._log, self._readouts = run, log, tuple(run.readouts.values())
        self._lately = None
        if (correction := run.correction) is not None:
            fitted = [each.readout for each in self._readouts]
            self._lately = lately(run.model, fitted, log, shown, usual=correction.usual, scale=correction.scale)

    @torch.no_grad()
    def forecast(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        model, own = self._run.model, self._log
        row = own.first[episode] + t
        actions = own.actions[row[:, None] + torch.arange(horizon)]
        latents = model.rollout(own.history(episode, t, model.history), actions[:, None])[:, 0]
        known = None if self._lately is None else self._lately.at(row)
        return foreseen(model.schema, self._readouts, latents, self._run.correction, known)


def validate(
    run: Run,
    store: EpisodeStore,
    logs: EpisodeStore,
    *,
    episodes: Sequence[int] | None = None,
    lstm_steps: int = LSTM_STEPS,
    seed: int = 0,
    display: Display | None = None,
) -> Validation:
    """Forecast episodes that a run was not trained on, and compare with forecasters fitted on those that it was.

    Args:
        run: With readouts of its sensors.
        store: What is forecast: all episodes of another store, or the held-out ones of the run's own.
        logs: The run's own store, which the other forecasters are fitted on.
        episodes: Of the store, which are forecast; None for those above.
        lstm_steps: Of the LSTM's training, at most: as many on a busy machine as on one at rest.
        seed: Of the LSTM and of the bootstrap.
        display: Where progress goes.

    Raises:
        ValueError: The run has no readouts.
        StoreError: No episode is long enough.
        SchemaError: A store is of another machine.
    """
    if not run.readouts:
        raise ValueError(f"{run.path} has no readouts to forecast with: train it again with this version")
    run.schema.require_same(store.schema, f"the store {store.path}")
    run.schema.require_same(logs.schema, f"the store {logs.path}")
    display = display or Silent()
    training, held_out = (part.tolist() for part in run.config.division(logs))
    own = store.path.resolve() == logs.path.resolve()
    chosen = list(episodes) if episodes is not None else held_out if own else store.healthy().tolist()
    log, known = process_log(store, chosen, run.schema), process_log(logs, training, run.schema)
    widths_to = min(len(fitted.half_widths) for fitted in run.readouts.values())
    longest = min(int(log.steps.max()), int(known.steps.max()), max(STEPS_AHEAD), widths_to)
    ahead = tuple(step for step in STEPS_AHEAD if step <= longest)
    horizon = ahead[-1]
    past = WARM_UP if int(log.steps.max()) >= horizon + WARM_UP else 0
    episode, t = log.moments(horizon, past)
    if not len(t):
        raise StoreError(f"{store.path}: no episode is long enough for a forecast of {horizon} steps")
    kept = torch.linspace(0, len(t) - 1, min(MOST_MOMENTS, len(t))).long()
    episode, t = episode[kept], t[kept]

    measured = torch.where(log.there, log.seen[:, : log.sensors], torch.nan)
    shown = display.phase("fit the others")
    shown(0.0, "ARX")
    arx = best_arx(known, horizon)
    size = dynamics_size(run.model)
    width = lstm_width(size, known.seen.shape[1] + known.actions.shape[1], known.seen.shape[1])
    shown(0.1, "LSTM")
    lstm = Lstm(known, width=width, steps=lstm_steps, horizon=horizon, seed=seed, progress=lambda done: shown(0.1 + 0.9 * done, "LSTM"))
    shown(1.0, "done")
    forecasters: dict[str, tuple[str, Forecaster]] = {
        RUN: (f"{size:,} weights", OfRun(run, encode_log(store, chosen, run.model, device=CPU), measured)),
        NO_CHANGE: ("no change", Persistence()),
        ARX: (f"least squares of order {arx.order}", arx),
        LSTM: (f"{lstm.size:,} weights, {lstm.steps:,} steps, best after {lstm.best:,}", lstm),
    }
    shown = display.phase("forecast")
    predicted = {}
    for n, (name, (_, forecaster)) in enumerate(forecasters.items()):
        shown(n / len(forecasters), name)
        parts = [slice(start, start + CHUNK) for start in range(0, len(t), CHUNK)]
        predicted[name] = torch.cat([forecaster.forecast(log, episode[part], t[part], horizon) for part in parts])
    rows = log.rows(episode, t, torch.arange(1, horizon + 1))
    truth = measured[rows]
    widths = half_widths(tuple(run.readouts.values()), horizon, run.correction)
    outside = (predicted[RUN] - truth).abs() > widths
    inside = torch.where(truth.isfinite(), (~outside).float(), torch.nan)

    picked = [step - 1 for step in ahead]
    blocks = _blocks(episode, t, horizon)
    boot = _Bootstrap(blocks, seed)
    sums = {name: boot.sums((values - truth)[:, picked].square()) for name, values in predicted.items()}
    methods = tuple(_method(name, forecasters[name][0], sums) for name in forecasters)
    shares = _shares(boot, inside[:, picked])
    follows = None
    if run.correction is not None:
        shown(1.0, "intervals that follow")
        ahead_of = _followed_widths(forecasters[RUN][1], log, measured, run.correction.half_widths[:horizon], past, kept)
        within = ((predicted[RUN] - truth).abs() <= ahead_of).float()
        follows = _shares(boot, torch.where(truth.isfinite(), within, torch.nan)[:, picked])
    drawn = torch.linspace(0, len(t) - 1, EXAMPLES + 2).long()[1:-1].tolist()
    return Validation(
        ahead=ahead,
        period=run.schema.period,
        names=log.names,
        units=log.units,
        methods=methods,
        coverage=_estimate(shares),
        mean_coverage=_estimate(np.nanmean(shares, axis=-1, keepdims=True)),
        followed=None if follows is None else _estimate(follows),
        mean_followed=None if follows is None else _estimate(np.nanmean(follows, axis=-1, keepdims=True)),
        confidence=CONFIDENCE,
        moments=len(t),
        episodes=len(set(episode.tolist())),
        own=own,
        examples=tuple(_example(log, int(episode[n]), int(t[n]), predicted[RUN][n], truth[n], widths) for n in drawn),
    )


def _followed_widths(forecaster: Forecaster, log: ProcessLog, measured: Tensor, first: Tensor, past: int, kept: Tensor) -> Tensor:
    """Half-widths that follow the errors of forecasts of all moments, from `first` (H, N) on; of the moments that are `kept`, by their
    numbers, (B, H, N)."""
    horizon, widths, found = len(first), FollowedWidths(first), []
    episodes, times = log.moments(horizon, past)

    def errors(own: Tensor, t: Tensor) -> Iterator[NDArray[np.floating]]:
        for e, part in zip(torch.split(own, CHUNK), torch.split(t, CHUNK), strict=True):
            yield from (measured[log.rows(e, part, torch.arange(1, horizon + 1))] - forecaster.forecast(log, e, part, horizon)).numpy()

    number, wanted = count(), set(kept.tolist())
    for episode in range(len(log)):
        own = episodes == episode
        found += [now for now in followed(widths, errors(episodes[own], times[own])) if next(number) in wanted]
    rows = torch.unique(kept, return_inverse=True)[1]
    return torch.from_numpy(np.stack(found)).float()[rows]


def lstm_width(weights: int, inputs: int, outputs: int) -> int:
    """Width of an LSTM with about as many weights, at least 16."""
    widths = np.arange(16, 513)
    sizes = 4 * widths * (widths + inputs + 2) + (widths + 1) * outputs
    return int(widths[np.abs(sizes - weights).argmin()])


def _blocks(episode: Tensor, t: Tensor, length: int) -> NDArray[np.int64]:
    """Number of the block of each moment: stretches of an episode as long as a forecast, which share no step with the one after next."""
    numbers = (episode * (int(t.max()) // length + 1) + t // length).numpy()
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


@final
class _Bootstrap:
    """Sums over resampled blocks. Row 0 of every result is the sample itself, the R rows after it are resamples."""

    def __init__(self, blocks: NDArray[np.int64], seed: int) -> None:
        self._blocks = blocks
        count = int(blocks.max()) + 1
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        self._weights = np.concatenate((np.ones((1, count)), drawn))

    def sums(self, values: Tensor) -> tuple[Floats, Floats]:
        """Sums and counts of what is finite in values (B, P, N), (1 + R, P, N) each."""
        array = values.double().numpy()
        good = np.isfinite(array)
        found = []
        for each in (np.where(good, array, 0.0), good.astype(np.float64)):
            blocks = np.zeros((self._weights.shape[1], *array.shape[1:]))
            np.add.at(blocks, self._blocks, each)
            found.append(np.tensordot(self._weights, blocks, axes=(1, 0)))
        return found[0], found[1]


def _shares(boot: _Bootstrap, inside: Tensor) -> Floats:
    """The share of what is 1 of (B, P, N), with what it is in resamples, (1 + R, P, N)."""
    sums, counts = boot.sums(inside)
    return sums / counts


def _method(name: str, about: str, sums: Mapping[str, tuple[Floats, Floats]]) -> Method:
    """Skill of one forecaster, and what the run takes away of its error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mse = sums[name][0] / sums[name][1]
        skill = 1 - sums[name][0] / sums[NO_CHANGE][0]
        lead = 1 - sums[RUN][0] / sums[name][0]
    is_run = name == RUN
    return Method(
        name=name,
        about=about,
        rmse=np.sqrt(mse[0]),
        skill=_estimate(skill),
        mean=_estimate(np.nanmean(skill, axis=-1, keepdims=True)),
        lead=None if is_run else _estimate(lead),
        mean_lead=None if is_run else _estimate(np.nanmean(lead, axis=-1, keepdims=True)),
    )


def _estimate(values: Floats) -> Estimate:
    """Row 0 of (1 + R, P, N) with the interval of the other rows."""
    low, high = np.nanquantile(values[1:], (0.025, 0.975), axis=0)
    return Estimate(value=values[0], low=low, high=high)


def _example(log: ProcessLog, episode: int, t: int, median: Tensor, truth: Tensor, widths: Tensor) -> Example:
    rows = log.rows(torch.tensor([episode]), torch.tensor([t]), torch.arange(-WARM_UP, 1))[0]
    past = log.seen[rows][:, : log.sensors]
    return Example(
        past=past.double().numpy(),
        truth=truth.double().numpy(),
        median=median.double().numpy(),
        low=(median - widths).double().numpy(),
        high=(median + widths).double().numpy(),
    )
