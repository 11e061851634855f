"""The collapse watch: is there still anything in the latents?

A JEPA can lower its prediction loss by saying the same of everything. The watch looks at a fixed batch of held-out windows,
never at a label. Dimensions: N frames, B windows, L frames per window, D latent, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tacit.data import EpisodeStore, StoreError, WindowReader, WindowSampler
from tacit.models.jepa import JEPA, before_each
from tacit.signals import Schema
from tacit.training.batches import tensors
from tacit.training.settings import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Health:
    """State of a representation.

    Attributes:
        effective_rank: exp(entropy) of the normalised singular values of the centred latents, 1 to D (Roy & Vetterli, 2007).
        min_std: Smallest standard deviation of a latent dimension.
        mean_std: Mean standard deviation of the latent dimensions.
        action_r2: R² of a linear probe from (z_t, z_{t+1} - z_t) to the action, on windows it was not fitted on.
    """

    effective_rank: float
    min_std: float
    mean_std: float
    action_r2: float

    def collapse(self) -> str | None:
        """What is wrong in words, None when the latents are alive."""
        if self.mean_std < 0.02:
            return f"the latents no longer vary (mean standard deviation {self.mean_std:.4f})"
        if self.effective_rank < 1.5:
            return f"the latents vary along one direction only (effective rank {self.effective_rank:.2f})"
        return None


def effective_rank(latents: Tensor) -> float:
    """exp(entropy) of the normalised singular values of latents (N, D), centred."""
    values = torch.linalg.svdvals((latents - latents.mean(0)).double())
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


def health(latents: Tensor, actions: Tensor) -> Health:
    """Judge the latents of held-out windows.

    Args:
        latents: (B, L, D), of two windows at least; the action probe is fitted on the first half of them.
        actions: (B, L - 1, A), any units.
    """
    flat = latents.flatten(0, 1).float()
    std = flat.std(0)
    return Health(
        effective_rank=effective_rank(flat),
        min_std=float(std.min()),
        mean_std=float(std.mean()),
        action_r2=_action_r2(latents.double(), actions.double()),
    )


def _action_r2(latents: Tensor, actions: Tensor) -> float:
    half = len(latents) // 2
    inputs = torch.cat((latents[:, 1:] - latents[:, :-1], latents[:, :-1]), dim=-1)
    x, y = inputs[:half].flatten(0, 1), actions[:half].flatten(0, 1)
    centre, size, mean = x.mean(0), x.std(0, correction=0).clamp(min=1e-9), y.mean(0)
    x = (x - centre) / size
    ridge = 1e-2 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(x.T @ x + ridge, x.T @ (y - mean))
    truth = actions[half:].flatten(0, 1)
    residual = ((inputs[half:].flatten(0, 1) - centre) / size @ weights + mean - truth).square().sum()
    return float(1 - residual / (truth - truth.mean(0)).square().sum().clamp(min=1e-12))


def watched(
    store: EpisodeStore, held_out: Sequence[int], schema: Schema, config: TrainConfig, seed: int
) -> tuple[dict[str, Tensor], Tensor]:
    """A fixed batch of held-out windows, as `tensors` gives it, on the CPU.

    Raises:
        StoreError: The held-out episodes hold only one window.
    """
    reader = WindowReader(store, length=config.window, episodes=held_out)
    windows = int((reader.lengths - config.window + 2).clip(min=0).sum())
    if windows < 2:
        raise StoreError(f"{store.path}: the held-out episodes hold only one window of {config.window} frames; hold out more of them")
    sampler = WindowSampler(reader.lengths, window=config.window, batch=min(128, windows), seed=seed)
    return tensors(reader.read(sampler.batch_at(0)), schema, torch.device("cpu"))


@torch.no_grad()
def look(model: JEPA, batch: tuple[dict[str, Tensor], Tensor], device: torch.device) -> Health:
    """State of the model's latents on a batch; `device` is the model's."""
    observations, actions = batch
    latents = model.encode({name: value.to(device) for name, value in observations.items()}, before_each(actions).to(device))
    return health(latents[..., : model.config.state].cpu(), actions)
