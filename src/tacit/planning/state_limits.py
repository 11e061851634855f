"""Limits on what sensors will show: on readouts of predicted latents, each step tightened by what the model may be wrong there.

Dimensions: B batch, K candidates, H horizon, A action, D latent, N channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.planning.channels import Channels, selected
from tacit.planning.task import Task
from tacit.planning.task_limits import RegionLimit, SignalLimit, TaskError

Margin = Callable[[Tensor], Tensor]
"""Channels (..., N) in physical units -> how far inside the limit they are, (...), in the limit's unit; below 0 it is broken."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StateLimit:
    """A limit on readouts of predicted latents; satisfies `tacit.contracts.Limit`.

    Attributes:
        name: What a person calls it.
        read: Latents (..., D) -> the channels that the limit is on, (..., N).
        inside: Margin of these channels.
        tightening: What is taken off the margin at each step of the horizon, (H,), in `unit`, at least 0.
        unit: Of the margin.
        hard: True when a plan that breaks it is infeasible.
        priority: How much a shortfall counts, when it is soft.
        confidence: Of the tightening; None when nothing is taken off.
        channels: Names of the channels that the limit is on.
        offset: What is added to them, (B, H, N): what the model was seen to leave out; None for nothing.
    """

    name: str
    read: Callable[[Tensor], Tensor]
    inside: Margin
    tightening: Tensor
    unit: str = "1"
    hard: bool = True
    priority: float = 1.0
    confidence: float | None = None
    channels: tuple[str, ...] = ()
    offset: Tensor | None = None

    def corrected(self, offset: Tensor) -> StateLimit:
        """The same limit where so much is added to predicted channels, (B, H, N)."""
        return replace(self, offset=offset)

    def predicted(self, trajectory: Tensor) -> Tensor:
        """Predicted latents, (B, H, D) or (B, K, H, D) -> margins of every step, (B, H) or (B, K, H), with nothing taken off."""
        channels = self.read(trajectory)
        if self.offset is not None:
            channels = channels + (self.offset if trajectory.ndim == 3 else self.offset[:, None])
        return self.inside(channels)

    def margins(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.Stepwise`."""
        return self.predicted(trajectory) - self.tightening.to(trajectory.device)

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return self.margins(trajectory, actions).amin(-1)


def margin_of(limit: SignalLimit | RegionLimit) -> Margin:
    """How far inside a limit channels are."""
    return _signal_margin(limit) if isinstance(limit, SignalLimit) else _region_margin(limit)


def _signal_margin(limit: SignalLimit) -> Margin:
    def inside(channels: Tensor) -> Tensor:
        value, far = channels[..., 0], torch.full_like(channels[..., 0], torch.inf)
        above = far if limit.low is None else value - limit.low
        below = far if limit.high is None else limit.high - value
        return torch.minimum(above, below)

    return inside


def _region_margin(limit: RegionLimit) -> Margin:
    """Distance to the region, and below 0 the depth inside it."""
    if limit.centre is not None and limit.radius is not None:
        centre, radius = limit.centre, limit.radius

        def around(channels: Tensor) -> Tensor:
            distance: Tensor = torch.linalg.vector_norm(channels - channels.new_tensor(centre), dim=-1)
            return distance - radius

        return around
    assert limit.low is not None
    assert limit.high is not None
    low, high = limit.low, limit.high

    def outside(channels: Tensor) -> Tensor:
        beyond = torch.maximum(channels.new_tensor(low) - channels, channels - channels.new_tensor(high))
        distance: Tensor = torch.linalg.vector_norm(beyond.clamp(min=0), dim=-1)
        return distance + beyond.amax(-1).clamp(max=0)

    return outside


def state_limits(
    task: Task, readouts: Mapping[str, Channels], tightening: Mapping[str, Sequence[float]] | None = None
) -> tuple[StateLimit, ...]:
    """The limits of a task on what readouts show: of its signals first, then of its regions.

    Args:
        task: Its limits name channels.
        readouts: By name.
        tightening: What is taken off at each step of the horizon, (H,), by limit; it may be left out of limits without a confidence.

    Raises:
        TaskError: There is no such channel or it has another unit, or a limit with a confidence has no interval; with its line where the
            task came from a file.
    """
    tightening = tightening or {}
    found = []
    try:
        for limit, name, channels, key in task.state_limits:
            read = selected(readouts, channels, *key)
            units = sorted(set(read.units))
            if len(units) != 1:
                raise TaskError(f"the channels are of different units, {' and '.join(units)}: no distance is defined between them", *key)
            if limit.unit is not None and limit.unit != units[0]:
                raise TaskError(f"is {limit.unit!r}, but {channels[0]!r} is in {units[0]!r}", *key, "unit")
            taken = tightening.get(name)
            if taken is None and limit.confidence is not None:
                raise TaskError(
                    "has no interval for this task: record episodes with the planner that will use it (Run.settle), "
                    "or leave the confidence out and nothing is promised",
                    *key,
                    "confidence",
                )
            taken = [0.0] * task.plan.horizon if taken is None else list(taken)
            if len(taken) != task.plan.horizon:
                raise TaskError(f"has an interval of {len(taken)} steps for a horizon of {task.plan.horizon}", *key)
            found.append(
                StateLimit(
                    name=name,
                    read=read,
                    inside=margin_of(limit),
                    tightening=torch.tensor(taken, dtype=torch.float32),
                    unit=units[0],
                    hard=limit.hard,
                    priority=limit.priority,
                    confidence=limit.confidence,
                    channels=channels,
                )
            )
    except TaskError as error:
        raise task.located(error) from None
    return tuple(found)
