"""Covariance: every latent dimension has unit variance and says something of its own.

The variance and covariance terms of VICReg (arXiv 2105.04906, equations 1 to 4) as one squared distance of the batch covariance
to the identity. SIGReg alone is nearly blind to a low rank: a random projection of D dimensions of which half are empty still
looks Gaussian, and what the model then leaves out are the small static things, such as where a door is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.objectives.sigreg import AllReduce


def covariance_loss(latents: Tensor, *, all_reduce: AllReduce | None = None, world_size: int = 1) -> Tensor:
    """`|C - I|² / D` for the covariance C of the global batch.

    Args:
        latents: (N, D); N counts this process's samples.
        all_reduce: Differentiable sum over processes; None for one process.
        world_size: Number of processes.

    Returns:
        Scalar in float32: about (D + 1) / N for independent standard normals, D - 1 for one dimension repeated D times, 1 for
        latents that do not vary.
    """
    with torch.autocast(latents.device.type, enabled=False):
        samples = torch.cat((latents.float(), latents.new_ones(len(latents), 1, dtype=torch.float32)), dim=1)
        moments = samples.T @ samples
        if all_reduce is not None:
            moments = all_reduce(moments)
        moments = moments / (len(latents) * world_size)
        mean = moments[:-1, -1]
        covariance = moments[:-1, :-1] - torch.outer(mean, mean)
        return (covariance - torch.eye(len(mean), device=latents.device)).square().sum() / len(mean)
