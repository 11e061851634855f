"""Blocks that the models share.

Norm-free on purpose: ReLU with strided convolutions is the fastest pair on CPUs in bfloat16 and loses nothing on GPUs at these
sizes; SIGReg keeps the latent scale where a norm layer would otherwise have to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them.

    Args:
        sizes: Width of the input, of each hidden layer and of the output.
    """
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(before, after)] if i == len(sizes) - 2 else [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of an `mlp`, in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def zero_last(network: nn.Sequential) -> nn.Sequential:
    """Set the last linear layer to zero, so that a residual network starts as the identity."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network


class Standardizer(nn.Module):
    """`(x - mean) / std` per element; the statistics are buffers, so they travel in the checkpoint.

    Args:
        shape: Shape of the statistics; broadcast against the last dimensions of the input.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(tuple(shape)))
        self.register_buffer("std", torch.ones(tuple(shape)))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take over statistics in physical units. A constant element (std 0) is only centred."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6 * (1 + mean.abs()), std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def undo(self, x: Tensor) -> Tensor:
        """Back to physical units."""
        return x * self.std + self.mean
