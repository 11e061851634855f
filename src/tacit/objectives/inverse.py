"""Inverse dynamics: which actions led from one latent to another.

PLDM (arXiv 2502.14819), Delta-JEPA (2606.31232): decoding the executed actions keeps what is controllable in the latent. An action
that *moves* shows in the change that followed; one that *pushes* (a torque) shows only in how that change differs from the one before,
and the latents of a torque-driven arm collapsed where the step before was not seen. Where actions change slowly, though, the step before
gives them away with nothing learned of the scene. So there is a decoder for either: the loss of both is what is minimised.

Changes are divided by their own typical size. At the start a small moving thing changes the latent by almost nothing beside a large
static scene, and an unscaled inverse loss then stays on a plateau for thousands of steps while the encoder learns the scene alone.
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
    before: bool = False,
    all_reduce: AllReduce | None = None,
    world_size: int = 1,
) -> Tensor:
    """Mean squared error of the summed actions decoded from the change over each span, over the square root of the span.

    Args:
        decoder: Latent and change after, (..., 2 D), or, with `before`, latent, change before and change after, (..., 3 D) -> (..., A).
        latents: (B, L, D).
        actions: Standardised, (B, L - 1, A).
        spans: Numbers of steps, each at most L - 1, or L - 2 with `before`.
        before: Whether the decoder sees the step that led to the latent, too.
        all_reduce: Sum over processes, so that the size of a change is that of the global batch; None for one process.
        world_size: Number of processes.

    Returns:
        Scalar; about 1 when nothing can be decoded and the actions are white.
    """

    def scaled(change: Tensor) -> Tensor:
        square = change.detach().square().mean()
        size = (square if all_reduce is None else all_reduce(square) / world_size).sqrt()
        return change / (size + 1e-4)

    first = int(before)
    here, travelled = latents[:, first:], F.pad(actions.cumsum(1), (0, 0, 1, 0))[:, first:]
    led = scaled(latents[:, 1:] - latents[:, :-1]) if before else None
    total = latents.new_zeros((), dtype=torch.float32)
    for span in spans:
        seen = [here[:, :-span], scaled(here[:, span:] - here[:, :-span])]
        if led is not None:
            seen.insert(1, led[:, :-span])
        target = (travelled[:, span:] - travelled[:, :-span]) / span**0.5
        total = total + (decoder(torch.cat(seen, dim=-1)).float() - target).square().mean() / len(spans)
    return total
