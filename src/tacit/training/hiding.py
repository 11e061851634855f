"""Channel dropout: what may be missing is sometimes hidden, so that a model learns to live without it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tacit.signals import Schema


def hidden(observations: Mapping[str, Tensor], schema: Schema, share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The same windows with some elements of the signals that have a mask hidden, each for a whole window.

    Args:
        observations: By signal name, (B, L, *shape).
        schema: Says which signals have a mask; one without is never hidden.
        share: Of the windows in which an element is hidden, 0 to 1.
        generator: Of the random numbers, on the CPU.
    """
    masks = {}
    for mask in schema.masks.values():
        valid = observations[mask.name]
        kept = torch.rand((len(valid), 1, *valid.shape[2:]), generator=generator) >= share
        masks[mask.name] = valid & kept.to(valid.device)
    return {**observations, **masks}
