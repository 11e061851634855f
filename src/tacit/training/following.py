"""Intervals of forecasts that follow what forecasts are wrong by, while a plant drifts away from its logs.

    log w ← log w + RATE (outside - (1 - CONFIDENCE))

w is half the width of an interval, of one channel and so many steps ahead. What was left out of the training logs says how wide it is at
first. Whenever a measurement comes that a forecast was made of, it grows by much if that lay outside the interval that the forecast had,
and shrinks by little if it lay inside. So over T measurements the share outside differs from 1 - CONFIDENCE by no more than
log(MOST) / (RATE T), whatever the plant does, as long as no width is at its bound. That is about the average over time: a single hour
is promised nothing.

Source: Gibbs and Candès, Adaptive conformal inference under distribution shift, NeurIPS 2021 (arXiv 2106.00170), Proposition 4.1. That the
width follows, instead of a level, is from Angelopoulos, Candès and Tibshirani, Conformal PID control for time series prediction,
NeurIPS 2023 (arXiv 2307.16895).

Dimensions: T moments, B moments that forecasts are made at, H horizon, N channels, K candidates, A action.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.training.correction import Correction, lately
from tacit.training.forecasts import Forecast, forecast, foreseen, recent
from tacit.training.readouts import CONFIDENCE, FittedReadout

RATE = 0.02  # how fast a width follows, of its logarithm and in one measurement
MOST = 8.0  # times as wide as at first, or as narrow, is the most: a sensor that stood still for a day is not believed to do so for ever

Floats = NDArray[np.float64]


@final
class FollowedWidths:
    """Half-widths that follow.

    Args:
        first: Half-widths at first, (H, N).

    Attributes:
        now: Half-widths of a forecast that is made now, (H, N) float64.
    """

    def __init__(self, first: Tensor) -> None:
        self.now: Floats = first.double().numpy().copy()
        self._low, self._high = self.now / MOST, self.now * MOST
        self._given: deque[Floats] = deque(maxlen=len(self.now))

    def step(self, errors: NDArray[np.floating]) -> None:
        """One control step has passed.

        Args:
            errors: Of the forecast that was made k + 1 steps ago, what it said of now, (up to H, N) for k = 0, 1, ...; not finite where
                nothing was measured. Forecasts from before `begin` are not looked at.
        """
        self._given.appendleft(self.now)
        error = np.abs(errors.astype(np.float64))[: len(self._given)]
        due = len(error)
        given = np.array([self._given[k][k] for k in range(due)]).reshape(error.shape)
        step = np.where(np.isfinite(error), RATE * ((error > given) - (1 - CONFIDENCE)), 0.0)
        self.now = self.now.copy()
        self.now[:due] = (self.now[:due] * np.exp(step)).clip(self._low[:due], self._high[:due])

    def begin(self) -> None:
        """A new episode begins: what was forecast before is of another one. The widths stay."""
        self._given.clear()


def followed(widths: FollowedWidths, errors: Iterable[NDArray[np.floating]]) -> Iterator[Floats]:
    """Half-widths at moments that follow each other without a gap, which errors they follow, (H, N) for each moment.

    Logs may be long, so no more is kept than the errors of the last H moments.

    Args:
        widths: Go on from here; when all moments were taken, they are where all errors are known.
        errors: Of the forecasts made at each of these moments, (H, N); not finite where nothing was measured.
    """
    widths.begin()
    horizon = len(widths.now)
    made: deque[NDArray[np.floating]] = deque(maxlen=horizon)
    for each in errors:
        if made:
            widths.step(_told_of_now(made))
        yield widths.now
        made.appendleft(each)
    if made:
        for _ in range(horizon):  # no forecast is made any more, but what was made is measured
            widths.step(_told_of_now(made))
            made.appendleft(np.full_like(made[0], np.nan))


def _told_of_now(made: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Errors of what forecasts made one, two, ... steps ago said of now, one row each."""
    return np.stack([each[k] for k, each in enumerate(made)])


@final
class LiveForecasts:
    """Forecasts of a machine that runs, whose intervals follow.

    Args:
        model: On the CPU.
        readouts: Of it, by name.
        correction: Of forecasts; its half-widths are the first ones.
    """

    def __init__(self, model: WorldModel, readouts: Mapping[str, FittedReadout], correction: Correction) -> None:
        self._model, self._readouts, self._correction = model, readouts, correction
        self._widths = FollowedWidths(correction.half_widths)
        self._seen = False

    @property
    def half_widths(self) -> Floats:
        """Of a forecast that is made now, (H, N)."""
        return self._widths.now

    @torch.no_grad()
    def saw(self, seen: Mapping[str, ArrayLike], applied: ArrayLike) -> None:
        """Take in what is seen now; to be called once in every control step. It looks back at what would have been forecast of it.

        Args:
            seen: Observations and disturbances of this operation up to now, as `forecast` takes them; the last 258 moments tell something.
            applied: Actions between them, (T - 1, A).

        Raises:
            ValueError: As of `forecast`.
        """
        horizon, model, correction = len(self._correction.half_widths), self._model, self._correction
        log, shown = recent(model, self._readouts, seen, applied, moments=horizon)
        last = len(log.latents) - 1
        if self._seen:
            errors = shown.new_empty(0, shown.shape[1])
            if last:
                fitted = tuple(self._readouts.values())
                known = lately(model, [each.readout for each in fitted], log, shown, usual=correction.usual, scale=correction.scale)
                row = last - torch.arange(1, min(last, horizon) + 1)  # of the forecasts made one, two, ... steps ago
                ahead = (row[:, None] + torch.arange(len(row))).clamp(max=last)
                latents = model.rollout(log.history(torch.zeros_like(row), row, model.history), log.actions[ahead][:, None])[:, 0]
                predicted = foreseen(model.schema, fitted, latents, correction, known.at(row))
                errors = shown[last] - predicted[torch.arange(len(row)), torch.arange(len(row))]
            self._widths.step(errors.numpy())
        self._seen = True

    def forecast(self, seen: Mapping[str, ArrayLike], applied: ArrayLike, actions: ArrayLike) -> Forecast:
        """What sensors will show, as `tacit.training.forecasts.forecast` says it, with the intervals of now.

        Args:
            seen: Observations and disturbances up to now.
            applied: Actions between them, (T - 1, A).
            actions: Actions from now on, (K, H, A).

        Raises:
            ValueError: As of that.
        """
        own = replace(self._correction, half_widths=torch.from_numpy(self._widths.now).float())
        return forecast(self._model, self._readouts, seen, applied, actions, own)
