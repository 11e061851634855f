"""Small networks that read frozen latents: how far is it to a goal, and what to do to get there.

Dimensions: D latent, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.nn import native
from tacit.nn.blocks import Standardizer, linear_layers, mlp


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Width and number of hidden layers of a head."""

    width: int = 256
    depth: int = 2


def pair(latent: Tensor, goal: Tensor) -> Tensor:
    """What a goal-conditioned head sees: latent, goal and their difference, (..., D) each -> (..., 3 D)."""
    return torch.cat((latent, goal, latent - goal), dim=-1)


class TemporalDistance(nn.Module):
    """Steps to go from one latent to another, >= 0: the learned cost of planning.

    A quasi-metric between embeddings (MRN, arXiv 2208.08133): it is zero from a latent to itself, keeps the triangle inequality by
    construction and may be longer one way than back. That is what lets it join stretches of different ways, and it needs the
    goal's embedding only once for all candidates. Groups of features are averaged, so that gradients reach more than the largest one.

    Args:
        latent: D.
        config: Size of the embedding network.
        scale: Steps that an output of one stands for.
    """

    GROUPS, FEATURES = native.GROUPS, 16

    def __init__(self, latent: int, config: HeadConfig, scale: float = 10.0) -> None:
        super().__init__()
        self.scale = scale
        self.embedding = mlp((latent, *(config.width,) * config.depth, 2 * self.GROUPS * self.FEATURES))
        self.packed: native.Network | None = None

    def pack(self, dtype: torch.dtype) -> None:
        """From now on, measure many latents with the present weights in C, with products of this dtype, where this machine can."""
        # Groups of a feature side by side: the largest feature of each group is then found for all groups at once.
        order = torch.arange(2 * self.GROUPS * self.FEATURES).view(2, self.GROUPS, self.FEATURES).transpose(1, 2).flatten()
        self.packed = native.packed(lambda: native.Network(linear_layers(self.embedding), dtype, order))

    def embed(self, latent: Tensor) -> Tensor:
        """Latents (..., D) -> embeddings (..., 2, groups, features), float32."""
        dtype = next(self.parameters()).dtype
        embedded: Tensor = self.embedding(latent.to(dtype)).float()
        return embedded.view(*latent.shape[:-1], 2, self.GROUPS, self.FEATURES)

    def between(self, here: Tensor, there: Tensor) -> Tensor:
        """Embeddings of latents and of goals, broadcast against each other, -> steps (...)."""
        one_way, both_ways = (here - there).unbind(-3)
        return (F.relu(one_way).amax(-1) + (both_ways.square().sum(-1) + 1e-6).sqrt()).mean(-1) * self.scale

    def forward(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Latents (..., D) and goals (..., D), broadcast against each other, -> steps (...), float32."""
        one_each = goal.ndim == latent.ndim > 1 and len(goal) == len(latent) and goal.shape[1:-1].numel() == 1
        if one_each and self.packed is not None and self.packed.answers(latent, goal):
            rows = latent.reshape(len(latent), latent.shape[1:-1].numel(), latent.shape[-1])
            found = native.steps(self.packed, rows, goal.reshape(len(goal), goal.shape[-1]), features=self.FEATURES, scale=self.scale)
            return found.view(latent.shape[:-1])
        return self.between(self.embed(latent), self.embed(goal))


class GoalPolicy(nn.Module):
    """Goal-conditioned inverse dynamics, `(z_t, z_g) -> a_t` (GC-IDM, arXiv 2605.08732): behaviour cloning from the logs.

    It also sees how the latent has changed lately: one image does not show a velocity. A Gaussian per action element: its mean is the
    policy, and its spread says how much the logs disagree on the way. Dimensions: h history.

    Args:
        latent: D.
        actions: A.
        history: h, frames of latent history.
        config: Size.
    """

    LOG_STD = (-4.0, 1.0)  # range of the logarithm of the spread, in standardised actions

    def __init__(self, latent: int, actions: int, history: int, config: HeadConfig) -> None:
        super().__init__()
        self.actions = Standardizer((actions,))
        self.network = mlp(((2 + history) * latent, *(config.width,) * config.depth, 2 * actions))
        self.packed: native.Network | None = None

    def pack(self, dtype: torch.dtype) -> None:
        """From now on, be followed with the present weights in C, with products of this dtype, where this machine can."""
        self.packed = native.packed(lambda: native.Network(linear_layers(self.network), dtype))

    def standardized(self, history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (..., h, D), oldest first, and goals (..., D) -> mean and logarithm of the spread of standardised actions, (..., A)
        each, float32."""
        changes = (history[..., 1:, :] - history[..., :-1, :]).flatten(-2)
        mean, log_std = self.network(torch.cat((pair(history[..., -1, :], goal), changes), dim=-1)).float().chunk(2, -1)
        return mean, log_std.clamp(*self.LOG_STD)

    def distribution(self, history: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (..., h, D) and goals (..., D) -> mean and standard deviation of physical actions, (..., A) each."""
        mean, log_std = self.standardized(history, goal)
        return self.actions.undo(mean), log_std.exp() * self.actions.std

    def forward(self, history: Tensor, goal: Tensor) -> Tensor:
        """Latents (..., h, D) and goals (..., D) -> mean physical actions (..., A)."""
        return self.actions.undo(self.standardized(history, goal)[0])
