"""Where a plant usually is: most frames of its logs, told from the few of a runaway or a trip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BULK, FAR, FEW = (0.05, 0.95), 3.0, 0.02  # quantiles of a sensor; how far beyond is far, in half-widths of them; frames that may be


@dataclass(frozen=True, kw_only=True, eq=False)
class Usual:
    """The usual range of every sensor. N channels.

    Attributes:
        middle: (N,), in the channels' units.
        half: Half of its width, (N,).
        limit: How far a channel may be from its middle, in halves, ().
    """

    middle: Tensor
    half: Tensor
    limit: Tensor

    def distance(self, shown: Tensor) -> Tensor:
        """Of what sensors show (..., N), the distance of the one that is furthest away, in halves, (...)."""
        return ((shown - self.middle).abs() / self.half).amax(-1)

    def holds(self, shown: Tensor) -> Tensor:
        """Whether every sensor is about where it usually is, (..., N) -> (...) bool."""
        return self.distance(shown) <= self.limit


def usual_of(shown: Tensor) -> Usual:
    """The usual ranges, of what sensors showed, (F, N).

    What is not rare is usual, too: at most `FEW` of the frames are told apart.
    """
    low, high = torch.from_numpy(np.quantile(shown.numpy(), BULK, axis=0)).float()
    found = Usual(middle=(high + low) / 2, half=((high - low) / 2).maximum(shown.std(0)).clamp(min=1e-12), limit=torch.tensor(FAR))
    limit = max(FAR, float(np.quantile(found.distance(shown).numpy(), 1 - FEW)))
    return Usual(middle=found.middle, half=found.half, limit=torch.tensor(limit))
