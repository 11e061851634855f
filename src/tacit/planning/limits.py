"""Limits on actions that hold by construction: a box per element and a ball per action signal.

Dimensions: B batch, K candidates, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

# An element rounds to float32 with a relative error of at most 6e-8: what is scaled to just below the radius stays inside.
_INSIDE = 1 - 4e-7


@dataclass(frozen=True, kw_only=True)
class NormLimit:
    """Largest Euclidean norm of neighbouring action elements.

    Attributes:
        elements: Which of the A elements.
        radius: Largest norm, physical units.
    """

    elements: slice
    radius: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class BoxLimits:
    """Bounds per action element and largest norms, in physical units.

    Attributes:
        low: Lower bounds (A,), float32, finite.
        high: Upper bounds (A,), float32, finite.
        norms: Norm limits over disjoint slices of the A elements.

    Raises:
        ValueError: A bound is not finite, low is above high, or 0 is outside the bounds of a norm limit.
    """

    low: Tensor
    high: Tensor
    norms: tuple[NormLimit, ...] = ()

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            raise ValueError(f"low {tuple(self.low.shape)} and high {tuple(self.high.shape)} must both have shape (A,)")
        if not (self.low.isfinite().all() and self.high.isfinite().all()):
            raise ValueError("low and high must be finite: planning searches between them")
        if (self.low > self.high).any():
            raise ValueError(f"low {self.low.tolist()} is above high {self.high.tolist()}")
        for norm in self.norms:
            if not norm.radius > 0:
                raise ValueError(f"a norm limit must be positive, not {norm.radius}")
            if (self.low[norm.elements] > 0).any() or (self.high[norm.elements] < 0).any():
                raise ValueError("a norm limit needs bounds that contain 0: its centre must be an action that is allowed")

    def to(self, device: torch.device) -> BoxLimits:
        """The same limits for actions on another device."""
        return BoxLimits(low=self.low.to(device), high=self.high.to(device), norms=self.norms)

    @property
    def counts_from_applied(self) -> bool:
        """Whether what is allowed depends on the actions before: never."""
        return False

    def project(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> Tensor:
        """Move candidate actions inside every limit: into the box, then straight towards 0 into the ball.

        Args:
            actions: Candidates (B, K, H, A), physical units. What is not finite becomes the previous action.
            previous: Action applied last, (B, A). What is not finite counts as 0.
            earlier: Action applied before that one; it does not matter here.

        Returns:
            Candidates (B, K, H, A), float32: every bound holds exactly, and so does every norm computed in float64. Actions that
            are inside come back unchanged.
        """
        last = previous.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        instead = last.view(len(last), 1, 1, last.shape[-1]).expand_as(actions).contiguous()  # `where` is fast then
        inside = torch.where(actions.abs() < torch.inf, actions, instead).float().clamp(self.low, self.high)
        for norm in self.norms:
            part = inside[..., norm.elements]
            length = torch.linalg.vector_norm(part, dim=-1, keepdim=True, dtype=torch.float64)
            part.mul_(torch.where(length > norm.radius, norm.radius * _INSIDE / length, 1.0))
        return inside

    def nearest(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> Tensor:
        """The actions (B, A) that are sent: as `project`."""
        return self.project(actions[:, None, None], previous)[:, 0, 0]

    def broken(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> list[str | None]:
        """What stands in the way where an action (B, A) is not allowed: never anything, whatever was applied before."""
        return [None] * len(actions)
