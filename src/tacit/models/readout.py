"""Readouts: small networks that turn a frozen latent back into what a sensor would show, in physical units.

A limit on a state is a limit on a readout of predicted latents. A readout is fitted on what was logged as an observation, or computed from
observations; never on a label. Dimensions: D latent, N channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn

from tacit.models.heads import HeadConfig
from tacit.nn.blocks import Standardizer, linear_layers, mlp


class Kind(StrEnum):
    """What the channels of a readout are."""

    VALUE = "value"  # numbers in the readout's unit
    EVENT = "event"  # probabilities that something is the case, 0 to 1


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """What a readout reads.

    Attributes:
        name: What tasks call it.
        channels: Names of its channels, N of them; a task calls a channel `name.channel`, or `name` where there is one only.
        unit: Of every channel.
        kind: Numbers, or probabilities of events that have no sensor, such as "the arm touches the glass".
        head: Size of the network.

    Raises:
        ValueError: The name is empty, there is no channel, or two have one name.
    """

    name: str
    channels: tuple[str, ...] = ("value",)
    unit: str = "1"
    kind: Kind = Kind.VALUE
    head: HeadConfig = field(default_factory=lambda: HeadConfig(width=128))

    def __post_init__(self) -> None:
        if not self.name or not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"readout {self.name!r} needs a name and channels with names of their own, not {self.channels}")

    @property
    def names(self) -> tuple[str, ...]:
        """What tasks call the channels."""
        return (self.name,) if len(self.channels) == 1 else tuple(f"{self.name}.{channel}" for channel in self.channels)


class Readout(nn.Module):
    """Latents (..., D) -> channels (..., N), float32, in `config.unit`; probabilities for events.

    Args:
        latent: D.
        config: What it reads.
    """

    def __init__(self, latent: int, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        self.latents = Standardizer((latent,))
        self.values = Standardizer((len(config.channels),))
        self.network = mlp((latent, *(config.head.width,) * config.head.depth, len(config.channels)))

    @property
    def names(self) -> tuple[str, ...]:
        """What tasks call the channels."""
        return self.config.names

    @property
    def unit(self) -> str:
        """Of every channel."""
        return self.config.unit

    def standardized(self, latent: Tensor) -> Tensor:
        """Latents (..., D) -> standardised channels, or log-odds of events, (..., N)."""
        dtype = next(self.network.parameters()).dtype
        found: Tensor = self.network(self.latents(latent.float()).to(dtype)).float()
        return found

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor] | None:
        """Weight (N, D) and bias (N,) of a readout that is no more, float64; None where it has a hidden layer or tells of events."""
        if self.config.head.depth or self.config.kind is Kind.EVENT:
            return None
        (layer,) = linear_layers(self.network)
        spread = self.values.std.double()[:, None]
        weight = spread * layer.weight.double() / self.latents.std.double()
        bias = spread[:, 0] * layer.bias.double() + self.values.mean.double() - weight @ self.latents.mean.double()
        return weight, bias

    def forward(self, latent: Tensor) -> Tensor:
        found = self.standardized(latent)
        return found.sigmoid() if self.config.kind is Kind.EVENT else self.values.undo(found)
