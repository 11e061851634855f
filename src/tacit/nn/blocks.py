"""Blocks that the models share.

Norm-free on purpose, but for `ResidualMLP`: ReLU with strided convolutions is the fastest pair on CPUs in bfloat16 and loses nothing on
GPUs at these sizes; SIGReg keeps the latent scale where a norm layer would otherwise have to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them.

    Args:
        sizes: Width of the input, of each hidden layer and of the output.
    """
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(before, after)] if i == len(sizes) - 2 else [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ResidualMLP(nn.Sequential):
    """A linear layer, residual blocks of two layers each, and a linear layer: what the blocks and the last one see is normalised.

        x = W u + b;   x ← x + W'' relu(W' norm(x) + b') + b'', block by block;   y = V norm(x) + c

    Normalisation comes first in a block (Xiong et al., arXiv 2002.04745) and has no weights: those of the layer after it would do the same.

    Args:
        inputs: Size of u.
        width: Of x and of the hidden layer of each block.
        blocks: How many there are.
        outputs: Size of y.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, width), *(nn.Linear(width, width) for _ in range(2 * blocks)), nn.Linear(width, outputs))

    def forward(self, u: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs). The sum x stays in float32."""
        first, *inner, last = self
        x = first(u).float()
        for before, after in zip(inner[::2], inner[1::2], strict=True):
            x = x + after(F.relu(before(_normalized(x, u.dtype)))).float()
        y: Tensor = last(_normalized(x, u.dtype))
        return y


def _normalized(x: Tensor, dtype: torch.dtype) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]).to(dtype)


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of an `mlp` or a `ResidualMLP`, in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


Network = TypeVar("Network", bound=nn.Sequential)


def zero_last(network: Network) -> Network:
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
