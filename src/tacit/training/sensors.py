"""The predictor of a machine with sensors, and the readouts of these, with the encoder at rest.

What sensors show is a handful of numbers, an hour of logs holds few moments that differ, and how wrong a forecast is counts in what the
sensors show. So the readouts and most of the predictor are found by least squares: gradients take long along the small differences of a
history that dynamics show in, and wander off where nothing varied. A network adds what is not linear. It is several small ones, each
trained on rollouts, with a stretch of the logs left out that says when to stop; side by side they are one network that is wider, and their
mean is less wrong than each of them (bagging: Breiman, Machine Learning 24, 1996).

Dimensions: F frames, N channels, B batch, H horizon, h history, M inputs of the predictor, S state, E members.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from tacit.data import EpisodeStore
from tacit.models.heads import HeadConfig
from tacit.models.jepa import JEPA
from tacit.models.predictor import ResidualPredictor
from tacit.models.readout import Readout, ReadoutConfig
from tacit.nn.blocks import zero_last
from tacit.signals import Role, Schema, Signal
from tacit.training.correction import Correction, Stretch, fit_correction, lately, limited, one_step_errors
from tacit.training.descent import Progress, optimized
from tacit.training.latents import LatentLog, among, moments, spread_evenly
from tacit.training.linear_map import Levels, focus, solve_straight, two_layers
from tacit.training.readouts import fit_readout
from tacit.training.recipes import sensors_of
from tacit.training.seed import generator
from tacit.training.settings import HeadTraining
from tacit.training.usual import Usual, usual_of

LEVELS = (0.0, 0.03, 0.1, 0.3, 1.0)  # weights of levels beside differences in the linear map, of which each sensor has its own
FELT = 20  # steps ahead whose forecasts choose them: about as far as a plan is felt
MEMBERS = 5  # E, small networks; each leaves out its own stretch of the logs
LEARNED, JUDGED = 8, 50  # steps in a row that a network learns from, and that it is judged by
LOOK_EVERY = 50  # steps between two looks at what was left out
LATENT_WEIGHT = 0.1  # of the latent error beside that of the sensors
WINDOWS = 400  # rollouts that judge
QUICK = HeadTraining(steps=1000, learning_rate=2e-3)  # of a readout with a hidden layer
MOST_ERRORS = 2_000  # rollouts of each left-out stretch whose errors are kept
WORST = 4.0  # squared error of a rollout that judges, in mean squares of what no change gets wrong: worse is no worse


@dataclass(frozen=True, kw_only=True, eq=False)
class SensorLog:
    """What the sensors showed, in the rows of a `LatentLog`.

    Attributes:
        sizes: Channels of each sensor.
        values: (F, N) float32, physical units.
        there: Whether a value was measured, (F, N) bool; where it is False, the value is a stand-in.
    """

    sizes: tuple[int, ...]
    values: Tensor
    there: Tensor

    def by_sensor(self) -> tuple[Tensor, ...]:
        """The values of each sensor, not finite where nothing was measured."""
        return columns(torch.where(self.there, self.values, torch.nan), self.sizes)


def columns(values: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """The columns of each sensor, (..., N) -> (..., size) each."""
    ends = np.cumsum(sizes).tolist()
    return tuple(values[..., end - size : end] for size, end in zip(sizes, ends, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSensors:
    """Readouts, and how wrong forecasts of what was left out were.

    Attributes:
        readouts: In the order of the sensors.
        errors: Of each sensor, the absolute errors 1 to H steps ahead from moments of stretches that the forecaster did not know,
            (W, H, channels), in its unit; not finite where nothing was measured. Every training episode was left out once. None where
            nothing was left out.
        correction: How forecasts are corrected, learned from the same stretches; None where nothing was left out.
    """

    readouts: tuple[Readout, ...]
    errors: tuple[Tensor, ...] | None
    correction: Correction | None


def sensor_log(store: EpisodeStore, episodes: Sequence[int], schema: Schema) -> SensorLog:
    """What the sensors of a schema showed in some episodes, laid end to end, signal beside signal."""
    sensors = sensors_of(schema)
    view = store.view([s.name for s in schema.having(Role.OBSERVATION)])
    values, there = [], []
    for number in episodes:
        signals, frames = view[int(number)].signals, view[int(number)].steps + 1
        shown = [np.asarray(signals[s.name], np.float32).reshape(frames, -1) for s in sensors]
        masks = [signals[schema.masks[s.name].name] if s.name in schema.masks else np.ones((frames, s.size), np.bool_) for s in sensors]
        values.append(torch.from_numpy(np.concatenate(shown, axis=1)))
        there.append(torch.from_numpy(np.concatenate([np.asarray(m, np.bool_).reshape(frames, -1) for m in masks], axis=1)))
    return SensorLog(sizes=tuple(s.size for s in sensors), values=torch.cat(values), there=torch.cat(there))


def readout_config(signal: Signal, head: HeadConfig) -> ReadoutConfig:
    """The readout of a sensor, by its name."""
    channels = ("value",) if signal.size == 1 else tuple(str(n) for n in range(signal.size))
    return ReadoutConfig(name=signal.name, channels=channels, unit=signal.unit, head=head)


def fit_sensors(
    model: JEPA, log: LatentLog, shown: SensorLog, head: HeadConfig, config: HeadTraining, *, seed: int, progress: Progress | None = None
) -> FittedSensors:
    """Fit a readout of every sensor, and go on training the model's predictor, in place, on what they show.

    Args:
        model: On the CPU; its predictor has a linear map and one hidden layer, and its encoder stays as it is.
        log: Its latents of the training episodes, in the order of time.
        shown: What the sensors showed in them.
        head: Size of the readouts; those without hidden layer are found by least squares.
        config: Settings, of all members together; those of goals are not used.
        seed: Of initialisation and draws.
        progress: Told the share done and the loss.
    """
    readouts = read_sensors(model.schema, log, shown, head, seed=seed)
    target = torch.cat([readout.values(values) for readout, values in zip(readouts, shown.by_sensor(), strict=True)], -1)
    where = usual_of(shown.values)
    usual = where.holds(shown.values)
    focus(model, log, usual)
    members = min(MEMBERS, len(log))
    levels = best_levels(model, log, readouts, target, usual, members)
    share = replace(config, **({"steps": config.steps // members} if config.steps else {"minutes": (config.minutes or 0) / members}))
    networks, stretches, scales = [], [], []
    for number in range(members):
        told = None if progress is None else lambda done, loss, before=number: progress((before + done) / members, loss)
        networks.append(_member(model, log, readouts, target, usual, share, levels, number, members, seed, told))
        stretch, scale = _left_out(model, log, readouts, torch.cat(shown.by_sensor(), -1), where, _fold(len(log), number, members)[1])
        stretches.append(stretch)
        scales.append(scale)
    _merge(model.predictor, networks)
    solve_straight(model, log, usual, torch.arange(len(log)), levels)
    wrong = torch.cat([(each.truth - limited(where, each.predicted, each.lately.now)).abs() for each in stretches])
    correction = fit_correction(where, torch.stack(scales).mean(0), stretches)
    return FittedSensors(readouts=readouts, errors=columns(wrong, shown.sizes), correction=correction)


def _member(
    model: JEPA,
    log: LatentLog,
    readouts: Sequence[Readout],
    target: Tensor,
    usual: Tensor,
    config: HeadTraining,
    levels: Levels,
    number: int,
    members: int,
    seed: int,
    progress: Progress | None,
) -> nn.Sequential:
    """Train one small network beside a linear map that knows the same episodes; the best by those it does not know.

    Args:
        model: Its predictor gets the network, and is left with it.
        log: Latents of all training episodes.
        readouts: What they are read with.
        target: Standardised values of the sensors, (F, N), not finite where nothing was measured.
        usual: See `usual_frames`.
        config: Settings of this member.
        levels: See `solve_straight`.
        number: Which it is.
        members: E.
        seed: Of initialisation and draws.
        progress: Told the share done and the loss.
    """
    predictor = model.predictor
    learned, left_out = _fold(len(log), number, members)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + number)
        predictor.network = predictor.fresh(predictor.width // members)
    solve_straight(model, log, usual, learned, levels)

    def errors(episode: Tensor, t: Tensor, horizon: int) -> tuple[Tensor, Tensor]:
        return rolled(model, log, readouts, target, episode, t, horizon)

    longest = int(log.steps.max())
    short, long = min(LEARNED, longest), min(JUDGED, longest)
    episodes, times = among(log, moments(log, short, learned), usual, model.history, short)
    judges = spread_evenly(moments(log, long, left_out), WINDOWS)
    worst = _worst(log, readouts, target, *judges, long)
    with torch.no_grad():
        error, latent_error = errors(*spread_evenly((episodes, times), WINDOWS), short)
        typical, common = error.nanmean(0).nan_to_num(1.0) + 1e-4, latent_error.mean(0) + 1e-8
        floor = errors(*judges, long)[0].minimum(worst).nanmean(0)
    best, kept = 1.0, copy.deepcopy(predictor.network.state_dict())

    def judge() -> None:
        nonlocal best, kept
        with torch.no_grad():
            now = float((errors(*judges, long)[0].minimum(worst).nanmean(0) / floor).nanmean())
        if now < best:
            best, kept = now, copy.deepcopy(predictor.network.state_dict())

    def draw(step: int, done: float) -> tuple[Tensor, ...]:
        if step % LOOK_EVERY == 0:
            judge()
        drawn = torch.randint(0, len(times), (config.batch,), generator=generator(seed, f"sensors {number}", step))
        return episodes[drawn], times[drawn]

    def loss(episode: Tensor, t: Tensor) -> Tensor:
        error, latent_error = errors(episode, t, short)
        return (error / typical).nanmean() + LATENT_WEIGHT * (latent_error / common).mean()

    optimized(predictor.network, config, draw, loss, progress)
    predictor.network.load_state_dict(kept)
    return predictor.network


@torch.no_grad()
def _left_out(
    model: JEPA, log: LatentLog, readouts: Sequence[Readout], shown: Tensor, usual: Usual, left_out: Tensor
) -> tuple[Stretch, Tensor]:
    """Forecasts of the episodes that a member left out, whose predictor the model has, and its usual one-step errors, (N,)."""
    horizon = min(JUDGED, int(log.steps.max()))
    episode, t = spread_evenly(moments(log, horizon, left_out), MOST_ERRORS)
    rows = (log.first[episode] + t)[:, None] + torch.arange(1, horizon + 1)
    latents = model.rollout(log.history(episode, t, model.history), log.actions[rows - 1][:, None])[:, 0]
    own = replace(log, first=log.first[left_out], steps=log.steps[left_out])
    frames = torch.cat([torch.arange(int(f) + 1, int(f + n) + 1) for f, n in zip(own.first, own.steps, strict=True)])
    errors = torch.where(shown.isfinite(), one_step_errors(model, readouts, own, shown), torch.nan)[frames]
    held = usual.holds(torch.cat([readout(log.latents[frames]) for readout in readouts], -1))
    scale = errors[held].square().nanmean(0).sqrt().nan_to_num(0.0)
    stretch = Stretch(
        lately=lately(model, readouts, own, shown, usual=usual, scale=scale).at(rows[:, 0] - 1),
        predicted=torch.cat([readout(latents) for readout in readouts], -1),
        truth=shown[rows],
    )
    return stretch, scale


def rolled(
    model: JEPA, log: LatentLog, readouts: Sequence[Readout], target: Tensor, episode: Tensor, t: Tensor, horizon: int
) -> tuple[Tensor, Tensor]:
    """Squared errors of rollouts from some moments: of standardised sensors, (B, H, N), not finite where nothing was measured, and of
    latents, (B, H)."""
    rows = (log.first[episode] + t)[:, None] + torch.arange(1, horizon + 1)
    predicted = model.rollout(log.history(episode, t, model.history), log.actions[rows - 1][:, None])[:, 0]
    read = torch.cat([readout.standardized(predicted) for readout in readouts], -1)
    known = target[rows].isfinite()
    # The inner `where` keeps what was not measured out of the gradient.
    error = torch.where(known, (read - torch.where(known, target[rows], 0.0)).square(), torch.nan)
    return error, (predicted - log.latents[rows])[..., : model.config.state].square().mean(-1)


def _worst(log: LatentLog, readouts: Sequence[Readout], target: Tensor, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
    """The most that a squared error of standardised sensors counts when rollouts are judged, (H, N).

    Of a plant that is unstable without its controller, errors grow without end under logged actions, whatever the model: without a limit
    it would be chosen by the far end of the horizon, where the model that answers least to actions errs least.
    """
    row = log.first[episode] + t
    shown = torch.cat([readout.standardized(log.latents[row]) for readout in readouts], -1)[:, None]
    rows = row[:, None] + torch.arange(1, horizon + 1)
    return WORST * (target[rows] - shown).square().nanmean(0).nan_to_num(0.0) + 1e-12


def usual_frames(shown: Tensor) -> Tensor:
    """Frames in which every sensor was about where it usually is, (F,) bool, of what sensors showed, (F, N).

    A linear map holds where a plant is run. Least squares count the largest changes most: a runaway of a few minutes among hours of logs
    would decide what the map says of all of them.
    """
    return usual_of(shown).holds(shown)


def _fold(episodes: int, number: int, members: int) -> tuple[Tensor, Tensor]:
    """Episodes that a member learns from, and its own stretch that it leaves out; the same one where there is only one."""
    every = torch.arange(episodes)
    left_out = every * members // episodes == number
    return (every[~left_out] if members > 1 else every), every[left_out]


@torch.no_grad()
def best_levels(model: JEPA, log: LatentLog, readouts: Sequence[Readout], target: Tensor, usual: Tensor, members: int) -> Levels:
    """The weights of levels that forecast left-out stretches best, for each sensor its own, all steps ahead alike; for what is left beside
    the sensors the one that does for all of them.

    Sensors differ: the level of a tank says little of where it goes, and one that follows at once from others is held by theirs.
    """
    horizon = min(FELT, int(log.steps.max()))
    outputs = _outputs(log, readouts, model.config.state)
    zero_last(model.predictor.network)
    found = []
    for weight in LEVELS:
        alike = Levels(outputs=outputs, weights=torch.full((len(outputs),), weight))
        errors = []
        for number in range(members):
            learned, left_out = _fold(len(log), number, members)
            solve_straight(model, log, usual, learned, alike)
            judges = spread_evenly(moments(log, horizon, left_out), WINDOWS)
            error, _ = rolled(model, log, readouts, target, *judges, horizon)
            errors.append(error.minimum(_worst(log, readouts, target, *judges, horizon)))
        found.append(torch.cat(errors).nanmean(0).nan_to_num(0.0))
    worst = torch.stack(found)
    relative = (worst / worst.amin(0).clamp(min=1e-12)).mean(1)  # by weight and sensor
    chosen = torch.cat((relative.argmin(0), relative.mean(1).argmin().expand(len(outputs) - relative.shape[1])))
    return Levels(outputs=outputs, weights=torch.tensor(LEVELS)[chosen])


def _outputs(log: LatentLog, readouts: Sequence[Readout], state: int) -> Tensor:
    """Rows that make what sensors show of a state, standardised, and then what is left of it beside that, (P, S) float64."""
    latents = torch.cat((log.latents[:, :state], torch.ones(len(log.latents), 1)), 1).double()
    read = torch.cat([readout.standardized(log.latents) for readout in readouts], -1).double()
    rows = torch.linalg.lstsq(latents, read, driver="gelsd").solution[:-1].T
    axes = torch.linalg.svd(rows).Vh
    return torch.cat((rows, axes[int(torch.linalg.matrix_rank(rows)) :]))


@torch.no_grad()
def _merge(predictor: ResidualPredictor, networks: Sequence[nn.Sequential]) -> None:
    """Make a predictor's network the mean of networks with one hidden layer: their hidden layers side by side."""
    predictor.network = predictor.fresh(predictor.width)
    inner, outer = two_layers(predictor.network)
    inner.weight.zero_()
    inner.bias.zero_()
    layers = [two_layers(network) for network in networks]
    weight, bias = torch.cat([first.weight for first, _ in layers]), torch.cat([first.bias for first, _ in layers])
    inner.weight[: len(weight)].copy_(weight)
    inner.bias[: len(bias)].copy_(bias)
    outer.weight[:, : len(weight)].copy_(torch.cat([last.weight for _, last in layers], 1) / len(layers))
    outer.bias.copy_(torch.stack([last.bias for _, last in layers]).mean(0))


def read_sensors(schema: Schema, log: LatentLog, shown: SensorLog, head: HeadConfig, *, seed: int) -> tuple[Readout, ...]:
    """Fit a readout of every sensor of a machine, and leave its predictor as it is.

    Args:
        schema: Of the machine.
        log: Latents of the training episodes.
        shown: What the sensors showed in them, stand-ins included: they are what the encoder was given.
        head: Size of the readouts; those without hidden layer are found by least squares.
        seed: Of initialisation and draws.
    """
    each = zip(sensors_of(schema), columns(shown.values, shown.sizes), strict=True)
    return tuple(_fitted(log, values, readout_config(signal, head), seed) for signal, values in each)


def _fitted(log: LatentLog, values: Tensor, config: ReadoutConfig, seed: int) -> Readout:
    if config.head.depth:
        return fit_readout(log, values, config, QUICK, seed=seed)
    readout = Readout(log.latents.shape[1], config)
    readout.latents.set(log.latents.mean(0), log.latents.std(0))
    readout.values.set(values.mean(0), values.std(0))
    inputs = torch.cat((readout.latents(log.latents), torch.ones(len(values), 1)), 1).double()
    weights = torch.linalg.lstsq(inputs, readout.values(values).double(), driver="gelsd").solution.T.float()
    linear = readout.network[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(weights[:, :-1])
        linear.bias.copy_(weights[:, -1])
    return readout.requires_grad_(False).eval()
