"""Forecasts: what sensors will show under actions that may be taken, with the interval that left-out logs give to every step.

Dimensions: T moments, K candidates, H horizon, A action, N channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.signals import Schema
from tacit.training.correction import LOOKED_BACK, Correction, Lately, lately
from tacit.training.latents import LatentLog
from tacit.training.readouts import CONFIDENCE, FittedReadout, bounds_of

Floats = NDArray[np.float32]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What sensors will show after each of H actions, for K sequences of them.

    Attributes:
        names: Of the channels, as tasks call them, N of them.
        units: Of the channels, N of them.
        median: (K, H, N) float32, in the channels' units; row k is after action k.
        low: Lower end of the interval, (K, H, N).
        high: Upper end of the interval, (K, H, N).
        confidence: Share of the measurements that lay inside such an interval, on the logs that its width is made of.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    median: Floats
    low: Floats
    high: Floats
    confidence: float = CONFIDENCE

    def of(self, name: str) -> tuple[Floats, Floats, Floats]:
        """Median, low and high of one channel, (K, H) each.

        Raises:
            ValueError: There is no such channel; the message lists those there are.
        """
        if name not in self.names:
            raise ValueError(f"there is no forecast of {name!r}; there are: {', '.join(self.names)}")
        column = self.names.index(name)
        return self.median[..., column], self.low[..., column], self.high[..., column]


@torch.no_grad()
def forecast(
    model: WorldModel,
    readouts: Mapping[str, FittedReadout],
    seen: Mapping[str, ArrayLike],
    applied: ArrayLike,
    actions: ArrayLike,
    correction: Correction | None = None,
) -> Forecast:
    """Forecast what the readouts of a model will show.

    Args:
        model: On the CPU.
        readouts: Of it, by name.
        seen: Observations and disturbances up to now by signal name, (T, *shape) each, oldest first; the model's history and
            `LOOKED_BACK` moments before it count.
            Of a signal that has a mask, what is not finite is missing, and its mask may be left out.
        applied: Actions between them, (T - 1, A), in physical units and the order of the schema.
        actions: Actions from now on, (K, H, A).
        correction: Of forecasts of the readouts' channels, by what they were wrong by lately; None for none.

    Raises:
        ValueError: There is no readout, a signal is missing or of a wrong shape, a number is not finite, or H is longer than what is known
            of the errors.
    """
    if not readouts:
        raise ValueError("there is no readout to forecast with: train the run again with this version, or fit readouts")
    ahead = np.asarray(actions, np.float32)
    longest = min(len(fitted.half_widths) for fitted in readouts.values())
    if ahead.ndim == 3 and ahead.shape[1] > longest:
        raise ValueError(f"actions have shape {ahead.shape} instead of (K, H, {model.schema.action_size}) with 1 to {longest} steps")
    trajectory = imagined(model, seen, applied, ahead)[:, 1:]
    fitted = tuple(readouts.values())
    now = None if correction is None else known(model, readouts, seen, applied, correction)
    median = foreseen(model.schema, fitted, trajectory, correction, now).numpy()
    least, most = (bounds.numpy() for bounds in bounds_of(model.schema, [each.readout for each in fitted]))
    widths = half_widths(fitted, ahead.shape[1], correction).numpy()
    return Forecast(
        names=tuple(name for each in fitted for name in each.readout.names),
        units=tuple(each.readout.unit for each in fitted for _ in each.readout.names),
        median=median,
        low=(median - widths).clip(least, most),
        high=(median + widths).clip(least, most),
    )


def foreseen(
    schema: Schema, readouts: Sequence[FittedReadout], latents: Tensor, correction: Correction | None = None, lately: Lately | None = None
) -> Tensor:
    """What sensors will show of predicted latents (B, H, D), (B, H, N): never more than they can show.

    Args:
        schema: Of the machine.
        readouts: N channels together.
        latents: Predicted.
        correction: Of forecasts; None for none.
        lately: What they are corrected by: of the moment of each forecast, or of one for all.
    """
    predicted = torch.cat([each.readout(latents) for each in readouts], -1)
    if correction is not None and lately is not None:
        predicted = correction(predicted, lately)
    return predicted.clamp(*bounds_of(schema, [each.readout for each in readouts]))


def half_widths(readouts: Sequence[FittedReadout], steps: int, correction: Correction | None = None) -> Tensor:
    """Half the width of the interval of a forecast, by step ahead and channel, (steps, N)."""
    if correction is not None:
        return correction.half_widths[torch.arange(steps).clamp(max=len(correction.half_widths) - 1)]
    return torch.cat([torch.tensor(each.half_widths[:steps]) for each in readouts], -1)


@torch.no_grad()
def known(
    model: WorldModel, readouts: Mapping[str, FittedReadout], seen: Mapping[str, ArrayLike], applied: ArrayLike, correction: Correction
) -> Lately:
    """What forecasts from now on are corrected by; the arguments are those of `forecast`.

    Raises:
        ValueError: As of `imagined`.
    """
    log, shown = recent(model, readouts, seen, applied)
    fitted = [each.readout for each in readouts.values()]
    found = lately(model, fitted, log, shown, usual=correction.usual, scale=correction.scale)
    return found.at(torch.tensor([len(log.latents) - 1]))


@torch.no_grad()
def recent(
    model: WorldModel, readouts: Mapping[str, FittedReadout], seen: Mapping[str, ArrayLike], applied: ArrayLike, moments: int = 0
) -> tuple[LatentLog, Tensor]:
    """The last moments of what is seen as one encoded episode, and what the sensors showed in it, (F, N), not finite where nothing was
    measured; `moments` more of them than tell what the last forecast is corrected by. The other arguments are those of `forecast`.

    Raises:
        ValueError: As of `imagined`.
    """
    latents, samples, before = _seen(model, seen, applied)
    values = []
    for each in readouts.values():
        name = each.readout.config.name
        value = np.array(samples[name], np.float32).reshape(len(latents), -1)
        if name in model.schema.masks:
            value[~samples[model.schema.masks[name].name].reshape(len(latents), -1).astype(np.bool_)] = np.nan
        values.append(torch.from_numpy(value))
    kept = min(len(latents), LOOKED_BACK + model.history + moments)
    log = LatentLog(
        latents=latents[-kept:],
        actions=torch.from_numpy(np.pad(before, ((0, 1), (0, 0))))[-kept:],
        first=torch.zeros(1, dtype=torch.int64),
        steps=torch.tensor([kept - 1]),
    )
    return log, torch.cat(values, -1)[-kept:]


@torch.no_grad()
def imagined(model: WorldModel, seen: Mapping[str, ArrayLike], applied: ArrayLike, actions: ArrayLike) -> Tensor:
    """The latent now and after each action that may be taken, (K, 1 + H, D); the arguments are those of `forecast`.

    Raises:
        ValueError: A signal is missing or of a wrong shape, or a number is not finite.
    """
    latents, _, _ = _seen(model, seen, applied)
    ahead, size = np.asarray(actions, np.float32), model.schema.action_size
    if ahead.ndim != 3 or ahead.shape[2] != size or 0 in ahead.shape:
        raise ValueError(f"actions have shape {ahead.shape} instead of (K, H, {size})")
    if not np.isfinite(ahead).all():
        raise ValueError("an action is not finite")
    past = (torch.arange(-model.history, 0) + len(latents)).clamp(min=0)
    trajectory = model.rollout(latents[None, past], torch.tensor(ahead)[None])[0]
    return torch.cat((latents[-1].expand(len(ahead), 1, -1), trajectory), dim=1)


def _seen(model: WorldModel, seen: Mapping[str, ArrayLike], applied: ArrayLike) -> tuple[Tensor, dict[str, NDArray[Any]], Floats]:
    """Latents of what is seen, (T, D), the samples of it by signal name, and the actions between them, (T - 1, A)."""
    moments = _moments(model.schema, seen)
    frames, size = len(next(iter(moments.values()))), model.schema.action_size
    before = np.asarray(applied, np.float32)
    if before.shape != (frames - 1, size):
        raise ValueError(f"the actions between {frames} moments have shape {before.shape} instead of {(frames - 1, size)}")
    if not np.isfinite(before).all():
        raise ValueError("an action is not finite")
    # The first action stands for the one before the first moment, as in training.
    first = before[:1] if frames > 1 else np.full((1, size), np.nan, np.float32)
    told = torch.from_numpy(np.concatenate((first, before)))
    latents = model.encode({name: torch.tensor(value)[None] for name, value in moments.items()}, told[None])[0]
    return latents, moments, before


def _moments(schema: Schema, seen: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """What is seen, (T, *shape) by signal name, with the masks that were left out; the last good value stands for what is missing."""
    masks = {mask.name: name for name, mask in schema.masks.items()}
    found: dict[str, NDArray[Any]] = {}
    for signal in schema.seen:
        if signal.name not in seen:
            if signal.name in masks:
                continue
            raise ValueError(
                f"{signal.name!r} is missing: a forecast needs {', '.join(s.name for s in schema.seen if s.name not in masks)}"
            )
        value = np.asarray(seen[signal.name])
        if value.ndim != 1 + len(signal.shape) or value.shape[1:] != signal.shape or not len(value):
            raise ValueError(f"{signal.name!r} has shape {value.shape} instead of (T, *{signal.shape})")
        if signal.name not in schema.masks and not np.isfinite(value).all():
            raise ValueError(f"{signal.name!r} has a number that is not finite, and no mask that could say that it is missing")
        found[signal.name] = value
    if len({len(value) for value in found.values()}) != 1:
        raise ValueError("the signals are of different numbers of moments: " + str({name: len(v) for name, v in found.items()}))
    for name, mask in schema.masks.items():
        value = found[name]
        good = np.isfinite(value) if not schema.by_name[name].is_image else np.ones(len(value), np.bool_)
        found[mask.name] = good & np.asarray(found[mask.name], np.bool_) if mask.name in found else good
        if not good.all():
            found[name] = _held(value, good)
    return {s.name: np.ascontiguousarray(found[s.name], dtype=s.dtype) for s in schema.seen}


def _held(value: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[Any]:
    """Each value that is not good replaced by the last good one before it; by 0 where there is none."""
    rows = np.where(good, np.arange(len(value)).reshape(-1, *(1,) * (value.ndim - 1)), -1)
    last = np.maximum.accumulate(rows, axis=0)
    held: NDArray[Any] = np.where(last >= 0, np.take_along_axis(value, np.maximum(last, 0), axis=0), 0.0)
    return held
