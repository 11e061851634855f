"""Inverse dynamics: which actions led from one latent to another.

PLDM (arXiv 2502.14819), Delta-JEPA (2606.31232): decoding the executed actions keeps what is controllable in the latent. Here
the decoder sees the latent, the step that led to it and the *change* that followed, both divided by their own typical size. The step
before matters where an action is a force: what it did shows in how the speed changed, and two moments alone show none. Without it the
latents of a torque-driven arm collapsed. The division matters too: at the start
a small moving thing changes the latent by almost nothing beside a large static scene, and an unscaled inverse loss then stays
on a plateau for thousands of steps while the encoder learns the scene alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tacit.objectives.sigreg import AllReduce

Decoder = Callable[[Tensor], Tensor]


def inverse_loss(
    decoder: Decoder,
    latents: Tensor,
    actions: Tensor,
    spans: Sequence[int],
    *,
    all_reduce: AllReduce | None = None,
    world_size: int = 1,
) -> Tensor:
    """Mean squared error of the summed actions decoded from the change over each span, over the square root of the span.

    Args:
        decoder: Latent, step before and change after, (..., 3 D) -> (..., A).
        latents: (B, L, D).
        actions: Standardised, (B, L - 1, A).
        spans: Numbers of steps, each at most L - 2.
        all_reduce: Sum over processes, so that the size of a change is that of the global batch; None for one process.
        world_size: Number of processes.

    Returns:
        Scalar; about 1 when nothing can be decoded and the actions are white.
    """

    def scaled(change: Tensor) -> Tensor:
        square = change.detach().square().mean()
        size = (square if all_reduce is None else all_reduce(square) / world_size).sqrt()
        return change / (size + 1e-4)

    travelled = F.pad(actions.cumsum(1), (0, 0, 1, 0))
    before = scaled(latents[:, 1:] - latents[:, :-1])
    total = latents.new_zeros((), dtype=torch.float32)
    for span in spans:
        after = scaled(latents[:, 1 + span :] - latents[:, 1:-span])
        decoded = decoder(torch.cat((latents[:, 1:-span], before[:, : after.shape[1]], after), dim=-1))
        target = (travelled[:, 1 + span :] - travelled[:, 1:-span]) / span**0.5
        total = total + (decoded.float() - target).square().mean() / len(spans)
    return total
