"""Limits on actions that hold by construction: a box per element and a ball per action signal.

Dimensions: B batch, K candidates, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.planning.task import Task, TaskError
from tacit.signals import Schema

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

    def project(self, actions: Tensor, previous: Tensor) -> Tensor:
        """Move candidate actions inside every limit: into the box, then straight towards 0 into the ball.

        Args:
            actions: Candidates (B, K, H, A), physical units. What is not finite becomes the previous action.
            previous: Action applied last, (B, A). What is not finite counts as 0.

        Returns:
            Candidates (B, K, H, A), float32: every bound holds exactly, and so does every norm computed in float64. Actions that
            are inside come back unchanged.
        """
        instead = previous.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)[:, None, None]
        inside = torch.where(actions.isfinite(), actions, instead).float().clamp(self.low, self.high)
        for norm in self.norms:
            part = inside[..., norm.elements]
            length = torch.linalg.vector_norm(part, dim=-1, keepdim=True, dtype=torch.float64)
            scale = torch.where(length > norm.radius, norm.radius * _INSIDE / length, 1.0)
            inside[..., norm.elements] = part * scale
        return inside


def action_limits(schema: Schema, task: Task | None = None) -> BoxLimits:
    """Limits of a machine's actions: its signals' own ranges and norms, narrowed by a task.

    Args:
        schema: The machine's signals; action signals are concatenated in storage order.
        task: Narrower limits, or None for the signals' own.

    Returns:
        Limits over the A action elements. Bounds are rounded inwards to float32, so that an action that holds them in float32 holds
        the given numbers too; two bounds closer together than float32 can tell become the nearest value.

    Raises:
        TaskError: An action has no known range, is not a floating-point signal, or the task does not fit the schema.
    """
    task = task or Task()
    task.check(schema)
    lows, highs, norms, start = [], [], [], 0
    for signal in schema.actions:
        key = ("limits", "action", signal.name)
        if not signal.dtype.startswith("float"):
            raise TaskError(f"planning needs a floating-point action, but {signal.name!r} is {signal.dtype}", *key)
        low, high = task.range_of(signal)
        if missing := [side for side, bound in (("low", low), ("high", high)) if not np.isfinite(bound).all()]:
            raise TaskError(
                f"action {signal.name!r} has no known range: give {' and '.join(missing)} in [limits.action.{signal.name}]", *key
            )
        lows.append(low)
        highs.append(high)
        if (radius := task.max_norm_of(signal)) is not None:
            norms.append(NormLimit(elements=slice(start, start + signal.size), radius=radius))
        start += signal.size
    if not lows:
        raise TaskError("the schema has no action signal: there is nothing to plan")
    low, high = np.concatenate(lows), np.concatenate(highs)
    inner_low, inner_high = -_rounded_down(-low), _rounded_down(high)
    empty = inner_low > inner_high
    inner_low, inner_high = np.where(empty, low, inner_low), np.where(empty, low, inner_high)
    return BoxLimits(
        low=torch.tensor(inner_low, dtype=torch.float32), high=torch.tensor(inner_high, dtype=torch.float32), norms=tuple(norms)
    )


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)
