"""Proposals (Mode 1): what to do, without a search. A planner verifies them in imagination (Mode 2).

Dimensions: B batch, P proposals, h history, H horizon, A action, D latent, N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import WorldModel

Policy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImaginedPolicy:
    """A goal policy, followed in the world model: what it would do step by step, if all came as the model says.

    The first proposal follows the policy's mean (GC-IDM, arXiv 2605.08732, as a plan); the others stray from it, smoothly in time and
    within the spread that the policy itself states, the later ones more.

    Attributes:
        model: Predicts what actions do.
        policy: Latents (N, h, D), oldest first, and goals (N, D) -> mean and standard deviation of physical actions, (N, A) each.
        goal: Latent of the goal, (B, D).
        stray: Largest multiple of the policy's spread.
        correlation: Of what a proposal strays by from one step to the next, in [0, 1).
    """

    model: WorldModel
    policy: Policy
    goal: Tensor
    stray: float = 2.0
    correlation: float = 0.9

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """See `tacit.contracts.Proposal`."""
        batch, rows = len(history), len(history) * count
        window = history[:, None].expand(-1, count, -1, -1).reshape(rows, *history.shape[1:])
        goal = self.goal[:, None].expand(-1, count, -1).reshape(rows, -1)
        scale = torch.linspace(0.0, self.stray, count, device=history.device).repeat(batch)[:, None]
        keep = (1 - self.correlation**2) ** 0.5
        noise, actions = history.new_zeros(()), []
        for step in range(horizon):
            mean, std = self.policy(window, goal)
            fresh = torch.randn(mean.shape, generator=generator, device=mean.device)
            noise = fresh if step == 0 else self.correlation * noise + keep * fresh
            actions.append(mean + scale * std * noise)
            if step + 1 < horizon:
                window = torch.cat((window[:, 1:], self.model.step(window, actions[-1])[:, None]), dim=1)
        return torch.stack(actions, dim=1).view(batch, count, horizon, -1)
