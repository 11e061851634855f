"""SIGReg: sketched isotropic Gaussian regularisation, what keeps a JEPA from collapsing.

LeJEPA (arXiv 2511.08544, section 4) and LeWM (arXiv 2603.19312): project the embeddings on random unit directions and compare
each projection's empirical characteristic function with that of a standard normal, the Epps-Pulley statistic

    N * integral over t of |mean_n exp(i t x_n) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt

by the trapezoid rule on equally spaced knots. Equal spacing lets cos(k dt x) and sin(k dt x) be walked by rotation from the
first knot, one pair of products per knot instead of a cosine and a sine; the backward pass walks again rather than store all
knots. Dimensions: G groups (time steps), N samples, D latent, M directions, K knots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

AllReduce = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class SIGRegConfig:
    """Settings of `sigreg`.

    Attributes:
        directions: M, random directions per step.
        knots: K, quadrature knots after 0 (where both functions are 1 and nothing is added).
        reach: Last knot.
    """

    directions: int = 256
    knots: int = 16
    reach: float = 3.0


class _CharacteristicSums(torch.autograd.Function):
    """Projections (G, N, M) -> sums over N of cos and sin at K equally spaced knots, (2, K, G, M)."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, knots: int, spacing: float) -> Tensor:
        cos1, sin1 = torch.cos(projected * spacing), torch.sin(projected * spacing)
        cos, sin = cos1, sin1
        sums = [cos.sum(1), sin.sum(1)]
        for _ in range(knots - 1):
            cos, sin = cos * cos1 - sin * sin1, sin * cos1 + cos * sin1
            sums += [cos.sum(1), sin.sum(1)]
        ctx.save_for_backward(cos1, sin1)
        ctx.knots, ctx.spacing = knots, spacing
        return torch.stack((torch.stack(sums[0::2]), torch.stack(sums[1::2])))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        cos1, sin1 = ctx.saved_tensors
        cos, sin = cos1, sin1
        total = torch.zeros_like(cos1)
        for k in range(ctx.knots):
            if k:
                cos, sin = cos * cos1 - sin * sin1, sin * cos1 + cos * sin1
            weight = (k + 1) * ctx.spacing
            total.addcmul_(cos, (grad[1, k] * weight)[:, None]).addcmul_(sin, (grad[0, k] * -weight)[:, None])
        return total, None, None


def unit_directions(latent: int, count: int, generator: torch.Generator) -> Tensor:
    """Random unit vectors as columns, (D, M), float32, drawn on the CPU so that every rank and device gets the same."""
    directions = torch.randn(latent, count, generator=generator)
    unit: Tensor = directions / directions.norm(dim=0, keepdim=True)
    return unit


def sigreg(
    latents: Tensor, directions: Tensor, config: SIGRegConfig, *, all_reduce: AllReduce | None = None, world_size: int = 1
) -> Tensor:
    """The Epps-Pulley statistic against N(0, I), averaged over groups and directions.

    Args:
        latents: (G, N, D); each group is tested on its own. N counts this process's samples.
        directions: Unit columns, (D, M), the same in every process.
        config: Knots and reach.
        all_reduce: Differentiable sum over processes, so that the statistic is that of the global batch. None for one process.
        world_size: Number of processes.

    Returns:
        Scalar in float32, >= 0. Of standard normal latents its expectation is the sum over the knots of
        weight * (1 - exp(-t^2)), 0.52 for the default settings whatever N is; otherwise it grows with N.
    """
    with torch.autocast(latents.device.type, enabled=False):  # bfloat16 makes the statistic spike
        projected = latents.float() @ directions.to(latents.device)
        count = latents.shape[1] * world_size
        spacing = config.reach / config.knots
        sums: Tensor = _CharacteristicSums.apply(projected, config.knots, spacing)  # type: ignore[no-untyped-call]
        if all_reduce is not None:
            sums = all_reduce(sums)
        cos, sin = sums / count
        knots = torch.arange(1, config.knots + 1, device=latents.device, dtype=torch.float32) * spacing
        normal = torch.exp(-knots.square() / 2)
        weights = normal * spacing
        weights[-1] /= 2
        gap = (cos - normal[:, None, None]).square() + sin.square()
        statistic: Tensor = (weights[:, None, None] * gap).sum(0).mean() * count
        return statistic
