"""The predictor, trained on with the encoder at rest: long rollouts over latents that were encoded once.

Encoding is nearly all of a training step's cost. Without it the predictor sees every log many times, over longer horizons than the
joint training can afford, in a fraction of the time. Dimensions: B batch, H horizon, D latent = S state + C context.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.models.jepa import JEPA
from tacit.training.descent import Progress, optimized
from tacit.training.latents import LatentLog
from tacit.training.seed import generator
from tacit.training.settings import HeadTraining

SINGLES = 8  # single steps in the place of each rollout


def fit_dynamics(model: JEPA, log: LatentLog, config: HeadTraining, *, seed: int, progress: Progress | None = None) -> None:
    """Go on training a model's predictor, in place, on rollouts (of the longest episode, where that is shorter).

    The context is that of a random moment of the episode, because a plan keeps the context of the moment it was made at. The error is
    its length in latent space, not the square of it, counted in typical changes of one step: the square would settle between what may
    happen at a wall, and a state that creeps a little further with every step is through it in the end.

    Long rollouts show what goes wrong late, as pushing on against a wall does, and are costly: a step of the optimiser takes as many
    steps of the predictor one after another. Where most is decided in a single step, by what touches what, that is what to learn first.

    Args:
        model: Its encoder stays as it is.
        log: Its latents of the training episodes, on the model's device.
        config: Settings; those of goals are not used.
        seed: Of the draws.
        progress: Told the share done and the loss.
    """
    longest, state = min(config.rollout, int(log.steps.max())), model.config.state
    here = log.inside()
    typical = (log.latents[here + 1, :state] - log.latents[here, :state]).square().sum(-1).mean() + 1e-8

    def draw(step: int, done: float) -> tuple[Tensor, ...]:
        rng = generator(seed, "dynamics", step)
        horizon, batch = (1, SINGLES * config.batch) if done < config.singles else (longest, config.batch)
        room = (log.steps - horizon + 1).clamp(min=0)
        episode = torch.multinomial(room.double(), batch, replacement=True, generator=rng)
        t = (torch.rand(batch, generator=rng) * room[episode]).long()
        seen = log.first[episode] + (torch.rand(batch, generator=rng) * (log.steps[episode] + 1)).long()
        history = log.history(episode, t, model.history)
        history[..., state:] = log.latents[seen.to(log.device), None, state:]
        rows = (log.first[episode, None] + t[:, None] + torch.arange(horizon)).to(log.device)
        return history, log.actions[rows], log.latents[rows + 1]

    def loss(history: Tensor, actions: Tensor, truth: Tensor) -> Tensor:
        predicted = model.rollout(history, actions[:, None])[:, 0]
        error: Tensor = (predicted - truth)[..., :state]
        return (error.square().sum(-1) / typical + 1e-4).sqrt().mean()

    optimized(model.predictor, config, draw, loss, progress)
