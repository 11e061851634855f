"""Small networks that read frozen latents: how far is it to a goal, and what to do to get there.

Dimensions: D latent, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.nn.blocks import Standardizer, mlp


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Width and number of hidden layers of a head."""

    width: int = 256
    depth: int = 3


def pair(latent: Tensor, goal: Tensor) -> Tensor:
    """What a goal-conditioned head sees: latent, goal and their difference, (..., D) each -> (..., 3 D)."""
    return torch.cat((latent, goal, latent - goal), dim=-1)


class TemporalDistance(nn.Module):
    """Steps to go from one latent to another, >= 0: the learned cost of planning.

    Args:
        latent: D.
        config: Size.
        scale: Steps that an output of one stands for.
    """

    def __init__(self, latent: int, config: HeadConfig, scale: float = 10.0) -> None:
        super().__init__()
        self.scale = scale
        self.network = mlp((3 * latent, *(config.width,) * config.depth, 1))

    def forward(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Latents (..., D) and goals (..., D) -> steps (...), float32."""
        dtype = self.network[0].weight.dtype
        raw: Tensor = self.network(pair(latent, goal).to(dtype)).squeeze(-1)  # type: ignore[arg-type]
        return F.softplus(raw.float()) * self.scale


class GoalPolicy(nn.Module):
    """Goal-conditioned inverse dynamics, `(z_t, z_g) -> a_t` (GC-IDM, arXiv 2605.08732): behaviour cloning from the logs.

    Args:
        latent: D.
        actions: A.
        config: Size.
    """

    def __init__(self, latent: int, actions: int, config: HeadConfig) -> None:
        super().__init__()
        self.actions = Standardizer((actions,))
        self.network = mlp((3 * latent, *(config.width,) * config.depth, actions))

    def forward(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Latents (..., D) and goals (..., D) -> physical actions (..., A)."""
        return self.actions.undo(self.network(pair(latent, goal)).float())
