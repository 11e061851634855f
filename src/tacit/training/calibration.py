"""What the model is worth on episodes that it was not trained on: prediction errors by horizon, and how large a surprise is normal.

Dimensions: N windows, H horizon, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.models.ensemble import Distance
from tacit.training.latents import LatentLog
from tacit.training.seed import generator


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Errors on held-out episodes, in latent units.

    Attributes:
        one_step: Sorted one-step errors |ẑ - z|, at most 2,000 quantiles of them: the reference for surprise.
        prediction: Mean squared error per horizon step 1..H of open-loop rollouts under the logged actions.
        stay: The same for predicting that nothing changes: the floor that a model of what actions do must beat.
        shuffled: The same for rollouts under another episode's actions: what the model loses without the right actions.
        distance_bias: Mean of predicted minus real steps to go, for goals 1..H steps ahead.
        episodes: Held-out episodes behind the numbers.
    """

    one_step: tuple[float, ...]
    prediction: tuple[float, ...]
    stay: tuple[float, ...]
    shuffled: tuple[float, ...]
    distance_bias: tuple[float, ...]
    episodes: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, six digits of each number."""
        values = {name: [float(f"{v:.6g}") for v in getattr(self, name)] for name in self.__dataclass_fields__ if name != "episodes"}
        return values | {"episodes": self.episodes}


@torch.no_grad()
def calibrate(model: WorldModel, distance: Distance, log: LatentLog, *, seed: int, horizon: int = 24, windows: int = 2000) -> Calibration:
    """Measure a model on held-out episodes.

    Args:
        model: On the CPU.
        distance: Learned steps to go.
        log: Encoded held-out episodes.
        seed: Of the windows that are drawn.
        horizon: H; shortened to the longest episode.
        windows: N at most.
    """
    horizon = min(horizon, int(log.steps.max()))
    episode, t = _starts(log, horizon, windows, seed)
    row = log.first[episode] + t
    history = log.history(episode, t, model.history)
    ahead = torch.arange(horizon)
    actions = log.actions[row[:, None] + ahead]
    truth = log.latents[row[:, None] + ahead + 1]
    predicted = model.rollout(history, actions[:, None])[:, 0]
    other = actions.roll(len(actions) // 2, 0)  # windows are in order of episodes, so half of them away is another episode
    wrong = model.rollout(history, other[:, None])[:, 0]
    here = log.latents[row]
    first = (predicted[:, 0] - truth[:, 0]).square().sum(-1).sqrt().sort().values
    kept = first[torch.linspace(0, len(first) - 1, min(len(first), 2000)).round().long()]
    steps_off = distance(here[:, None].expand_as(truth), truth) - (ahead + 1)
    return Calibration(
        one_step=tuple(kept.tolist()),
        prediction=_by_step(predicted, truth),
        stay=_by_step(here[:, None].expand_as(truth), truth),
        shuffled=_by_step(wrong, truth),
        distance_bias=tuple(steps_off.mean(0).tolist()),
        episodes=len(log),
    )


def _starts(log: LatentLog, horizon: int, windows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Episodes and times of windows with `horizon` steps to come, spread evenly over what there is."""
    room = (log.steps - horizon + 1).clamp(min=0)
    flat = torch.randperm(int(room.sum()), generator=generator(seed, "calibration"))[:windows].sort().values
    ends = room.cumsum(0)
    episode = torch.searchsorted(ends, flat, right=True)
    return episode, flat - (ends - room)[episode]


def _by_step(predicted: Tensor, truth: Tensor) -> tuple[float, ...]:
    return tuple((predicted - truth).square().mean((0, 2)).tolist())
