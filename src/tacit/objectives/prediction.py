"""The prediction loss: roll the predictor forward on its own predictions and compare with what was encoded.

Dimensions: B batch, L frames, h history, A action, D latent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]


def histories(latents: Tensor, length: int) -> Tensor:
    """The latest `length` latents at every frame, (B, L, D) -> (B, L, h, D); the first frame is repeated before the start."""
    padded = torch.cat((latents[:, :1].expand(-1, length - 1, -1), latents), dim=1)
    return padded.unfold(1, length, 1).transpose(2, 3)


def rollout_loss(step: Step, latents: Tensor, actions: Tensor, *, history: int, steps: int, state: int | None = None) -> Tensor:
    """Mean squared latent error of 1 to `steps` predictions in a row, from every frame of the window at once.

    No stop-gradient: the targets are trained too (LeWM, arXiv 2603.19312).

    Args:
        step: Histories (..., h, D) and actions (..., A) -> next latents (..., D).
        latents: Encoded frames, (B, L, D).
        actions: Standardised actions, (B, L - 1, A); `actions[:, t]` leads from frame t to t + 1.
        history: h.
        steps: Length of the rollouts, at most L - 1.
        state: How many elements of a latent are compared, the first ones; None for all of them.

    Returns:
        Scalar.
    """
    past = histories(latents, history)[:, :-1]
    total = latents.new_zeros((), dtype=torch.float32)
    for k in range(steps):
        predicted = step(past, actions[:, k:])
        error = predicted[..., :state].float() - latents[:, k + 1 :, :state].float()
        total = total + error.square().mean() / steps
        past = torch.cat((past[:, :-1, 1:], predicted[:, :-1, None].to(past.dtype)), dim=2)
    return total
