"""Forecasters to read a run's forecasts against: no change, a linear model of lagged values, and a recurrent network.

All of them see what the run sees: sensors and measured disturbances up to a moment, the actions before it, and the actions to come. What is
missing counts as the last value that was there.

Dimensions: F frames, C seen channels, of which the first N are sensors, A action, B moments, H horizon, p order.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from tacit.data import EpisodeStore
from tacit.signals import Role, Schema, Signal
from tacit.training.linear_map import ridge
from tacit.training.recipes import sensors_of
from tacit.training.seed import generator
from tacit.training.sensors import WORST, sensor_log

ORDERS = (1, 2, 4, 8, 16, 32)  # of the linear model
WARM_UP = 32  # steps that the recurrent network sees before it forecasts
JUDGED = 512  # moments that decide between orders
VALIDATION = 0.2  # of the training episodes, the last ones, decide
LOOK_EVERY, PATIENCE = 50, 12  # steps between two looks of the recurrent network at these; looks without gain after which it stops


@dataclass(frozen=True, kw_only=True, eq=False)
class ProcessLog:
    """Episodes of numbers, laid end to end. F frames in all.

    Attributes:
        seen: Sensors first, then disturbances, (F, C) float32, physical units; what is missing is the last value that was there.
        there: Whether a sensor's value was measured, (F, N) bool.
        actions: (F, A) float32, physical units; the row of an episode's last frame is zero and means nothing.
        first: Row of each episode's first frame, (E,) int64.
        steps: Number of actions of each episode, (E,) int64.
        names: Of the N sensor channels.
        units: Of the N sensor channels.
    """

    seen: Tensor
    there: Tensor
    actions: Tensor
    first: Tensor
    steps: Tensor
    names: tuple[str, ...]
    units: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sensors(self) -> int:
        """N."""
        return self.there.shape[1]

    def moments(self, horizon: int, past: int = 0) -> tuple[Tensor, Tensor]:
        """Every episode and time with `horizon` steps after it and `past` before it, (B,) each, in order."""
        episode = [torch.full((max(0, int(n) - horizon - past + 1),), e) for e, n in enumerate(self.steps)]
        t = [torch.arange(past, past + len(e)) for e in episode]
        return torch.cat(episode), torch.cat(t)

    def rows(self, episode: Tensor, t: Tensor, offsets: Tensor) -> Tensor:
        """Rows of the frames at t + offsets, (B, L); the first frame stands for what was before it."""
        return self.first[episode][:, None] + (t[:, None] + offsets).clamp(min=0)

    def parts(self, share: float) -> tuple[ProcessLog, ProcessLog]:
        """The first episodes and the last ones, at least one each; of a single episode both are all there is."""
        if len(self) == 1:
            return self, self
        cut = len(self) - max(1, round(share * len(self)))
        return replace(self, first=self.first[:cut], steps=self.steps[:cut]), replace(self, first=self.first[cut:], steps=self.steps[cut:])


def process_log(store: EpisodeStore, episodes: Sequence[int], schema: Schema) -> ProcessLog:
    """Numbers of some episodes."""
    shown = sensor_log(store, episodes, schema)
    sensors, disturbances = sensors_of(schema), [s for s in schema.having(Role.DISTURBANCE) if not s.is_image and s.dtype != "bool"]
    view = store.view([s.name for s in (*disturbances, *schema.actions)])
    steps = torch.tensor([view[int(n)].steps for n in episodes], dtype=torch.int64)

    def column(signal: Signal, number: int, frames: int) -> Tensor:
        values = np.asarray(view[int(number)].signals[signal.name], np.float32).reshape(frames, -1)
        return torch.from_numpy(np.array(values))

    others, actions = [], []
    for number, n in zip(episodes, steps.tolist(), strict=True):
        others.append(torch.cat([torch.empty(n + 1, 0), *(column(s, number, n + 1) for s in disturbances)], 1))
        actions.append(nn.functional.pad(torch.cat([column(s, number, n) for s in schema.actions], 1), (0, 0, 0, 1)))
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    return ProcessLog(
        seen=torch.cat((shown.values, torch.cat(others)), 1),
        there=shown.there,
        actions=torch.cat(actions),
        first=first,
        steps=steps,
        names=tuple(name for s in sensors for name in channel_names(s)),
        units=tuple(s.unit for s in sensors for _ in range(s.size)),
    )


def channel_names(signal: Signal) -> tuple[str, ...]:
    """What a person calls the channels of a sensor: its name, with a number behind a dot where there are several."""
    return (signal.name,) if signal.size == 1 else tuple(f"{signal.name}.{n}" for n in range(signal.size))


class Forecaster(Protocol):
    """Says what sensors will show."""

    def forecast(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        """Sensors 1 to `horizon` steps after moments (B,) under the logged actions, (B, H, N), physical units."""


@final
class Persistence:
    """Nothing changes."""

    def forecast(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        return log.seen[log.first[episode] + t, None, : log.sensors].expand(-1, horizon, -1)


@final
class Arx:
    """A linear model of lagged values, by least squares with a ridge: s_{t+1} = s_t + W [s_t .. s_{t-p+1}, a_t .. a_{t-p+1}, 1].

    s are sensors and disturbances, so that a disturbance goes its usual way in a forecast. Steps after the first go on from what the model
    itself said.

    Source: Ljung, System Identification, 2nd edition, 1999, section 4.2.

    Args:
        log: To fit it on.
        order: p.
    """

    def __init__(self, log: ProcessLog, order: int) -> None:
        self.order = order
        self.mean, self.scale = _moments(log.seen)
        inside = _inside(log)
        self.action_mean, self.action_scale = _moments(log.actions[inside])
        episode, t = log.moments(1)
        lags = torch.arange(-order + 1, 1)
        rows = log.rows(episode, t, lags)
        inputs = self._inputs(self._standard(log.seen[rows]), self._actions(log.actions[rows]))
        here = log.first[episode] + t
        self.weights = ridge(inputs, self._standard(log.seen[here + 1]) - self._standard(log.seen[here]))

    def forecast(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        rows = log.rows(episode, t, torch.arange(-self.order + 1, 1))
        past = self._standard(log.seen[rows])
        ahead = log.rows(episode, t, torch.arange(-self.order + 1, horizon))
        actions = self._actions(log.actions[ahead])
        found = []
        for k in range(horizon):
            newest = past[:, -1] + self._inputs(past, actions[:, k : k + self.order]) @ self.weights.T
            past = torch.cat((past[:, 1:], newest[:, None]), 1)
            found.append(newest)
        return (torch.stack(found, 1) * self.scale + self.mean)[..., : log.sensors]

    def _standard(self, seen: Tensor) -> Tensor:
        return (seen - self.mean) / self.scale

    def _actions(self, actions: Tensor) -> Tensor:
        return (actions - self.action_mean) / self.action_scale

    def _inputs(self, past: Tensor, actions: Tensor) -> Tensor:
        return torch.cat((past.flatten(1), actions.flatten(1), past.new_ones(len(past), 1)), 1)


def best_arx(log: ProcessLog, horizon: int) -> Arx:
    """The linear model of the order that forecasts the last training episodes best, fitted on all of them.

    Every sensor and every step ahead counts alike: each in units of what no change gets wrong there.
    """
    fitted, judged = log.parts(VALIDATION)
    errors = {order: _relative(judged, Arx(fitted, order), horizon) for order in ORDERS}
    return Arx(log, min(errors, key=lambda order: errors[order]))


def _relative(log: ProcessLog, forecaster: Forecaster, horizon: int) -> float:
    """Mean squared error in units of what no change gets wrong, every sensor and step ahead alike.

    A forecast counts as wrong by no more than `WORST` of these, as where a run's training judges itself: a few minutes of a runaway would
    decide otherwise.
    """
    usual = _squared(log, Persistence(), horizon).clamp(min=1e-12)
    return float((_squared(log, forecaster, horizon, WORST * usual) / usual).mean())


def _squared(log: ProcessLog, forecaster: Forecaster, horizon: int, worst: Tensor | None = None) -> Tensor:
    """Mean squared errors, (H, N), of which each counts as `worst` at most."""
    episode, t = log.moments(horizon)
    kept = torch.linspace(0, len(t) - 1, min(JUDGED, len(t))).long()
    episode, t = episode[kept], t[kept]
    errors = squared_errors(log, forecaster.forecast(log, episode, t, horizon), episode, t)
    return (errors if worst is None else errors.minimum(worst)).nanmean(0).nan_to_num(0.0)


def squared_errors(log: ProcessLog, predicted: Tensor, episode: Tensor, t: Tensor) -> Tensor:
    """Squared errors of forecasts (B, H, N), not finite where nothing was measured."""
    rows = log.rows(episode, t, torch.arange(1, predicted.shape[1] + 1))
    error = (predicted - log.seen[rows][..., : log.sensors]).square()
    return torch.where(log.there[rows], error, torch.nan)


class _Recurrent(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.cell = nn.LSTM(inputs, width, batch_first=True)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


@final
class Lstm:
    """An LSTM (Hochreiter and Schmidhuber, Neural Computation 9(8), 1997) that follows the log, then its own forecasts.

    It sees sensors, disturbances and the action taken now, says how sensors and disturbances change, and is trained on what it says over
    the whole horizon, every sensor and every step ahead in units of what no change gets wrong there. It learns from all but the last
    episodes, and the weights are kept that forecast these best (early stopping).

    Args:
        log: To train it on.
        width: Of its state.
        steps: Of training, at most.
        horizon: H.
        seed: Of weights and draws.
        progress: Told the share of the steps done.

    Attributes:
        steps: Of training that were done.
        best: After how many of them the weights that were kept were found.
    """

    def __init__(
        self, log: ProcessLog, *, width: int, steps: int, horizon: int, seed: int, progress: Callable[[float], None] | None = None
    ) -> None:
        self.mean, self.scale = _moments(log.seen)
        self.action_mean, self.action_scale = _moments(log.actions[_inside(log)])
        channels = log.seen.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _Recurrent(channels + log.actions.shape[1], width, channels)
        learned, left_out = log.parts(VALIDATION)
        episodes, times = learned.moments(horizon)
        usual = _squared(learned, Persistence(), horizon) / self.scale[: log.sensors].square() + 1e-4
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=3e-3, weight_decay=1e-4, fused=True)
        self.steps, self.best, least, kept = steps, 0, math.inf, self.network.state_dict()
        for step in range(steps):
            if step % LOOK_EVERY == 0:
                if progress is not None:
                    progress(step / steps)
                if (now := _relative(left_out, self, horizon)) < least:
                    self.best, least, kept = step, now, copy.deepcopy(self.network.state_dict())
                elif step - self.best >= LOOK_EVERY * PATIENCE:
                    self.steps = step
                    break
            for parameters in optimizer.param_groups:
                parameters["lr"] = 3e-3 * min(1.0, (step + 1) / 100) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
            drawn = torch.randint(0, len(times), (64,), generator=generator(seed, "lstm", step))
            episode, t = episodes[drawn], times[drawn]
            error = squared_errors(learned, self._unrolled(learned, episode, t, horizon), episode, t) / self.scale[: log.sensors].square()
            optimizer.zero_grad(set_to_none=True)
            (error / usual).nanmean().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
        if _relative(left_out, self, horizon) < least:
            self.best, kept = self.steps, self.network.state_dict()
        self.network.load_state_dict(kept)
        self.size = sum(parameter.numel() for parameter in self.network.parameters())

    @torch.no_grad()
    def forecast(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        return self._unrolled(log, episode, t, horizon)

    def _unrolled(self, log: ProcessLog, episode: Tensor, t: Tensor, horizon: int) -> Tensor:
        seen = (log.seen[log.rows(episode, t, torch.arange(-WARM_UP, 1))] - self.mean) / self.scale
        actions = (log.actions[log.rows(episode, t, torch.arange(-WARM_UP, horizon))] - self.action_mean) / self.action_scale
        out, state = self.network.cell(torch.cat((seen, actions[:, : WARM_UP + 1]), -1))
        newest = seen[:, -1] + self.network.out(out[:, -1])
        found = [newest]
        for k in range(1, horizon):
            out, state = self.network.cell(torch.cat((newest, actions[:, WARM_UP + k]), -1)[:, None], state)
            newest = newest + self.network.out(out[:, 0])
            found.append(newest)
        return (torch.stack(found, 1) * self.scale + self.mean)[..., : log.sensors]


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    scale = values.std(0)
    return values.mean(0), torch.where(scale > 1e-9, scale, torch.ones_like(scale))


def _inside(log: ProcessLog) -> Tensor:
    """Rows with an action, of the episodes of a log."""
    episode, t = log.moments(1)
    return log.first[episode] + t
