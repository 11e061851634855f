"""Contrast: what stays the same over an episode, and tells it from other episodes.

InfoNCE (CPC, arXiv 1807.03748) between two moments of one episode, with squared Euclidean distance as the energy. What moves is
different at the two moments and cannot help; what stays, such as where a door is, is all there is to recognise the episode by. Under
this energy the embedding follows the true factors smoothly (arXiv 2102.08850), so that what is read from it carries over to scenes
that were never seen. A Gaussian regulariser instead fills its dimensions with fine-grained codes that do not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tacit.objectives.sigreg import AllReduce

ANCHOR = 1e-3  # weight of the mean square: differences alone leave the origin open, and Adam would walk it along rounding errors
TEMPERATURE = 0.1  # squared distance that counts as one nat; it sets the scale of the context to about 1


def contrast_loss(here: Tensor, there: Tensor, *, all_reduce: AllReduce | None = None, rank: int = 0, world_size: int = 1) -> Tensor:
    """Mean cross-entropy of finding each row's partner among all rows of the global batch, in both directions.

    Args:
        here: Contexts at one moment of N episodes, (N, C); N counts this process's rows, the same in every process.
        there: Contexts at another moment of the same episodes, (N, C).
        all_reduce: Differentiable sum over processes; None for one process.
        rank: This process.
        world_size: Number of processes.

    Returns:
        Scalar in float32; about log(N * world_size) when nothing can be told apart.
    """
    with torch.autocast(here.device.type, enabled=False):
        pairs = torch.stack((here.float(), there.float()))
        if all_reduce is not None:
            # Every process lays its rows into its own place, and the sum over processes is the global batch.
            before, after = rank * len(here), (world_size - rank - 1) * len(here)
            pairs = all_reduce(F.pad(pairs, (0, 0, before, after)))
        energy = (pairs[0, :, None] - pairs[1, None]).square().sum(-1) / TEMPERATURE
        partner = torch.arange(len(energy), device=energy.device)
        recognised = (F.cross_entropy(-energy, partner) + F.cross_entropy(-energy.T, partner)) / 2
        return recognised + ANCHOR * pairs.square().mean()
