"""Inverse dynamics: which actions led from one latent to another.

PLDM (arXiv 2502.14819), Delta-JEPA (2606.31232): decoding the executed actions keeps what is controllable in the latent. Here
the decoder sees the latent and the *change* of the latent divided by its own typical size. The division matters: at the start
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
        decoder: (..., 2 D) -> (..., A).
        latents: (B, L, D).
        actions: Standardised, (B, L - 1, A).
        spans: Numbers of steps, each at most L - 1.
        all_reduce: Sum over processes, so that the size of a change is that of the global batch; None for one process.
        world_size: Number of processes.

    Returns:
        Scalar; about 1 when nothing can be decoded and the actions are white.
    """
    travelled = F.pad(actions.cumsum(1), (0, 0, 1, 0))
    total = latents.new_zeros((), dtype=torch.float32)
    for span in spans:
        change = latents[:, span:] - latents[:, :-span]
        square = change.detach().square().mean()
        size = (square if all_reduce is None else all_reduce(square) / world_size).sqrt()
        decoded = decoder(torch.cat((latents[:, :-span], change / (size + 1e-4)), dim=-1))
        target = (travelled[:, span:] - travelled[:, :-span]) / span**0.5
        total = total + (decoded.float() - target).square().mean() / len(spans)
    return total
