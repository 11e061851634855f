"""Readouts fitted on the logs: from frozen latents to what sensors showed, and how far wrong they are when the model looks ahead.

Dimensions: F frames, N channels, D latent, H horizon.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tacit.atomic import atomic_write
from tacit.contracts import WorldModel
from tacit.data import EpisodeStore
from tacit.models.readout import Kind, Readout, ReadoutConfig
from tacit.signals import Role, Schema
from tacit.training.checkpoint import CheckpointError, load_strictly, load_tensors, save_tensors, under, with_prefix
from tacit.training.descent import Progress, optimized
from tacit.training.folder import READOUT_WEIGHTS, READOUTS, RunError
from tacit.training.latents import LatentLog
from tacit.training.seed import generator
from tacit.training.settings import HeadTraining

VERSION = 2
CONFIDENCE = 0.9  # of the intervals of forecasts
MEANINGLESS = 3.0  # standard deviations of a channel, to each side, that an interval tells nothing beyond: "no change" has about 2.3
_converter = cattrs.Converter(forbid_extra_keys=True)
FITTING = HeadTraining(steps=6000, learning_rate=2e-3)

Sensor = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
"""Computes channels (T, N) from observations (T, *shape) by signal name: a column of the log, or a measure taken in an image."""


class ReadoutError(ValueError):
    """What a readout should be fitted on does not fit the logs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedReadout:
    """A readout with what is known of its errors.

    Attributes:
        readout: From latents to channels.
        spread: Root mean square error of the channels after 1..H predicted steps on held-out logs, the largest of the channels, (H,), in
            the readout's unit. It says how errors grow along the horizon; it is no interval.
        now: The same for the latent of the observation itself.
        half_widths: How far from the forecast a measurement was at most in `CONFIDENCE` of logs that the forecaster did not know, by step
            ahead and channel, H rows of N numbers: half the width of the interval of a forecast.
    """

    readout: Readout
    spread: tuple[float, ...]
    now: float
    half_widths: tuple[tuple[float, ...], ...]

    @property
    def spreads(self) -> dict[str, float]:
        """Standard deviation of each channel in the logs that it was fitted on, in its unit, by name."""
        return dict(zip(self.readout.names, self.readout.values.std.tolist(), strict=True))

    @property
    def reaches(self) -> dict[str, int]:
        """How many steps ahead forecasts say something, at least 1, by name of channel: until their interval reaches further than
        `MEANINGLESS` standard deviations of the channel to each side. A channel whose intervals stay below that is not there."""
        wide = np.array(self.half_widths).reshape(-1, len(self.readout.names)) > MEANINGLESS * self.readout.values.std.numpy()
        return {name: max(1, int(steps.argmax())) for name, steps in zip(self.readout.names, wide.T, strict=True) if steps.any()}


def bounds_of(schema: Schema, readouts: Sequence[Readout]) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value that each channel can show, (N,) each; infinite where no signal says so."""
    signals = [schema.by_name.get(readout.config.name) for readout in readouts for _ in readout.names]
    low = [-torch.inf if signal is None or signal.low is None else signal.low for signal in signals]
    high = [torch.inf if signal is None or signal.high is None else signal.high for signal in signals]
    return torch.tensor(low), torch.tensor(high)


def readings(store: EpisodeStore, episodes: Iterable[int], sensor: Sensor, channels: int) -> Tensor:
    """What a sensor shows in some episodes, laid end to end: (F, N) float32. It is given observations only.

    Raises:
        ReadoutError: The sensor gives another shape, or a number that is not finite.
    """
    view = store.view([s.name for s in store.schema.having(Role.OBSERVATION)])
    found = []
    for number in episodes:
        episode = view[int(number)]
        values = np.array(sensor(episode.signals), dtype=np.float32).reshape(episode.steps + 1, -1)
        if values.shape[1] != channels:
            raise ReadoutError(f"the sensor gives {values.shape[1]} channels, but the readout has {channels}")
        if not np.isfinite(values).all():
            raise ReadoutError(f"the sensor gives a number that is not finite in episode {number}")
        found.append(torch.from_numpy(values))
    return torch.cat(found)


def of_signal(name: str) -> Sensor:
    """The sensor that is an observation signal itself."""
    return lambda observations: observations[name]


def fit_readout(
    log: LatentLog, values: Tensor, config: ReadoutConfig, training: HeadTraining = FITTING, *, seed: int, progress: Progress | None = None
) -> Readout:
    """Learn what a sensor shows from latents: squared error of standardised values, or cross-entropy of events.

    Args:
        log: Encoded training episodes.
        values: What the sensor showed at every frame of them, (F, N); 0 or 1 for events.
        config: What is read.
        training: Settings; those of the distance are not used.
        seed: Of initialisation and draws.
        progress: Told the share done and the loss.

    Raises:
        ReadoutError: The values are of another shape, or of an event and not 0 or 1.
    """
    if values.shape != (wanted := (len(log.latents), len(config.channels))):
        raise ReadoutError(f"readout {config.name!r}: values have shape {tuple(values.shape)} instead of (F, N) = {wanted}")
    if config.kind is Kind.EVENT and not ((values == 0) | (values == 1)).all():
        raise ReadoutError(f"readout {config.name!r}: an event is 0 or 1 at every frame")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        readout = Readout(log.latents.shape[1], config)
    readout.latents.set(log.latents.mean(0), log.latents.std(0))
    if config.kind is Kind.VALUE:
        readout.values.set(values.mean(0), values.std(0))
    target: Tensor = readout.values(values)

    def draw(step: int, done: float) -> tuple[Tensor, ...]:
        drawn = torch.randint(0, len(target), (training.batch,), generator=generator(seed, f"readout {config.name}", step))
        return log.latents[drawn], target[drawn]

    def loss(latents: Tensor, shown: Tensor) -> Tensor:
        found = readout.standardized(latents)
        if config.kind is Kind.EVENT:
            return F.binary_cross_entropy_with_logits(found, shown)
        return F.mse_loss(found, shown)

    optimized(readout, training, draw, loss, progress)
    return readout.requires_grad_(False).eval()


@torch.no_grad()
def measured(
    model: WorldModel,
    readout: Readout,
    log: LatentLog,
    values: Tensor,
    *,
    horizon: int,
    windows: int = 2000,
    wrong: Tensor | None = None,
) -> FittedReadout:
    """Measure how a readout's errors grow along the horizon, under the logged actions.

    Args:
        model: Predicts.
        readout: Fitted on other episodes.
        log: Encoded held-out episodes.
        values: What the sensor showed at every frame of them, (F, N); not finite where it showed nothing.
        horizon: H; where all episodes are shorter, the error of their last step stands for the rest.
        windows: Number of rollouts, at most, spread evenly.
        wrong: Errors of other forecasts that the half widths are of, (W, up to H, N); None for those that are measured here.
    """
    steps = min(horizon, int(log.steps.max()))
    starts = torch.cat([torch.arange(int(n) - steps + 1) + int(f) for f, n in zip(log.first, log.steps, strict=True) if n >= steps])
    row = starts[torch.linspace(0, len(starts) - 1, min(windows, len(starts))).long()]
    episode = torch.searchsorted(log.first, row, right=True) - 1
    ahead = torch.arange(steps)
    history = log.history(episode, row - log.first[episode], model.history)
    predicted = readout(model.rollout(history, log.actions[row[:, None] + ahead][:, None])[:, 0])
    errors = predicted - values[row[:, None] + ahead + 1]
    spread = errors.square().nanmean(0).sqrt().nan_to_num(0.0).amax(-1).cummax(0).values
    now = float((readout(log.latents) - values).square().nanmean(0).sqrt().nan_to_num(0.0).max())
    longest = torch.cat((spread, spread[-1:].expand(horizon - steps)))
    widths = conformal_half_widths(errors if wrong is None else wrong, CONFIDENCE)
    widths = torch.cat((widths, widths[-1:].expand(horizon - len(widths), -1)))
    return FittedReadout(readout=readout, spread=tuple(longest.tolist()), now=now, half_widths=tuple(tuple(row) for row in widths.tolist()))


def conformal_half_widths(errors: Tensor, confidence: float) -> Tensor:
    """How far from its forecast a value is at most, in as many cases as `confidence` says: errors (W, H, N) -> (H, N).

    Split conformal prediction with the absolute error as its score, for every step ahead and channel on its own: the
    ceil((n + 1) confidence)-th smallest of n errors (Papadopoulos et al., Inductive Confidence Machines for Regression, ECML 2002). Moments
    that follow each other are not exchangeable, so the coverage holds on average over logs like these and is no guarantee.

    Args:
        errors: Of forecasts from held-out moments; not finite where nothing was measured. Of a channel that was never measured the
            width is 0.
        confidence: Share of the cases.
    """
    sorted_errors, counts = errors.abs().nan_to_num(torch.inf).sort(0).values, errors.isfinite().sum(0)
    rank = (((counts + 1) * confidence).ceil().long().clamp(max=counts) - 1).clamp(min=0)
    widths = sorted_errors.gather(0, rank[None])[0]
    return torch.where(counts > 0, widths, 0.0)


def write_readouts(folder: Path, readouts: Sequence[FittedReadout]) -> None:
    """Write the readouts of a run into its folder, in place of those that were there; each file atomically."""
    # By number, because a name may hold a dot.
    tensors = {name: value for n, r in enumerate(readouts) for name, value in with_prefix(str(n), r.readout.state_dict()).items()}
    save_tensors(folder / READOUT_WEIGHTS, tensors, {"format": VERSION})
    entries = [
        {"config": _converter.unstructure(r.readout.config), "spread": list(r.spread), "now": r.now, "half_widths": r.half_widths}
        for r in readouts
    ]
    atomic_write(folder / READOUTS, json.dumps({"version": VERSION, "readouts": entries}, indent=2, allow_nan=False) + "\n")


def read_readouts(folder: Path, latent: int) -> dict[str, FittedReadout]:
    """Read what `write_readouts` wrote, by name; empty where a run has none.

    Args:
        folder: Of the run.
        latent: D of the run's model.

    Raises:
        RunError: A file is missing or damaged, or of another version or model.
    """
    path = folder / READOUTS
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        if found["version"] != VERSION:
            raise RunError(f"{path} has format version {found['version']}; this Tacit reads version {VERSION}")
        tensors, _ = load_tensors(folder / READOUT_WEIGHTS)
        readouts = {}
        for number, entry in enumerate(found["readouts"]):
            readout = Readout(latent, _converter.structure(entry["config"], ReadoutConfig))
            load_strictly(readout, under(str(number), tensors), str(folder / READOUT_WEIGHTS))
            readout.requires_grad_(False).eval()
            spread = tuple(float(value) for value in entry["spread"])
            widths = tuple(tuple(float(value) for value in row) for row in entry["half_widths"])
            readouts[readout.config.name] = FittedReadout(readout=readout, spread=spread, now=float(entry["now"]), half_widths=widths)
        return readouts
    except (OSError, KeyError, TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise RunError(f"{path}: {error}") from error
    except CheckpointError as error:
        raise RunError(str(error)) from error
