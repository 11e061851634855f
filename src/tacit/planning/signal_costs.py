"""Costs of goals on signals: tracking, ranges, indicators and calm actions, over readouts of predicted latents.

Dimensions: B batch, K candidates, H horizon, A action, D latent, N channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from tacit.planning.channels import Channels, Selection, selected
from tacit.planning.goals import Indicator
from tacit.planning.task import Task
from tacit.planning.task_limits import Elements, TaskError
from tacit.signals import Role, Schema, Signal

MOVE_WEIGHT = 1.0  # of the squared change of an action, in units of its range, where a task says nothing


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SignalCost:
    """What channels cost outside their bounds, what indicators come to, and what changes of the actions cost, summed over the horizon.

    Attributes:
        read: Latents (..., D) -> channels (..., N) in their units.
        offset: What is added to them, (B, H, N).
        low: From here on down, channels cost their squared distance, (B, H, N).
        high: From here on up, likewise; the same as `low` for a setpoint.
        weight: Of the squared distance, (N,).
        slope: What one unit of a channel costs, (N,).
        price: What one unit of an action costs, (A,).
        calm: What the squared change of an action costs, (A,).
        previous: Action applied last, (B, A).
    """

    read: Callable[[Tensor], Tensor]
    offset: Tensor
    low: Tensor
    high: Tensor
    weight: Tensor
    slope: Tensor
    price: Tensor
    calm: Tensor
    previous: Tensor

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        channels = self.channels(trajectory)
        of_channels = self._outside(channels).square() @ self.weight + channels @ self.slope
        of_actions = self._changes(actions).square() @ self.calm + actions @ self.price
        return (of_channels + of_actions).sum(-1)

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.LeastSquares`: what is left of the cost are the indicators."""
        tracked = self.weight > 0
        errors = (self._outside(self.channels(trajectory)) * self.weight.sqrt())[..., tracked]
        return torch.cat((errors.flatten(2), (self._changes(actions) * self.calm.sqrt()).flatten(2)), -1)

    def channels(self, trajectory: Tensor) -> Tensor:
        """Predicted latents (B, K, H, D) -> corrected channels (B, K, H, N)."""
        return self.read(trajectory) + self.offset[:, None]

    def _outside(self, channels: Tensor) -> Tensor:
        """How far channels (B, K, H, N) are outside their bounds, above 0 on the high side and below 0 on the low one."""
        return (channels - self.high[:, None]).clamp(min=0) + (channels - self.low[:, None]).clamp(max=0)

    def _changes(self, actions: Tensor) -> Tensor:
        """From one action to the next, (B, K, H, A)."""
        return actions - torch.cat((self.previous[:, None, None].expand_as(actions[:, :, :1]), actions[:, :, :-1]), dim=2)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SignalObjective:
    """A task's goals on signals, ready to be scored.

    Attributes:
        read: Latents -> the N channels, those that are tracked first.
        low: What costs nothing, from here, (N,); -inf for a channel that is only part of an indicator.
        high: To here, (N,).
        weight: As of `SignalCost`, with the scales in it; so are the following.
        slope: (N,).
        price: (A,).
        calm: (A,).
        reach: Steps ahead from which on a channel is not tracked, (N,): forecasts of what is unstable mean nothing there.
    """

    read: Selection
    low: Tensor
    high: Tensor
    weight: Tensor
    slope: Tensor
    price: Tensor
    calm: Tensor
    reach: Tensor

    @property
    def is_setpoint(self) -> tuple[bool, ...]:
        """Whether each channel has one value to be at, not a range."""
        return tuple((self.low == self.high).tolist())

    def cost(self, *, low: Tensor, high: Tensor, offset: Tensor, previous: Tensor) -> SignalCost:
        """The cost of this moment: bounds and what is added to predictions, (B, H, N) each, and the action applied last, (B, A)."""
        at = previous.device
        beyond = torch.arange(low.shape[1], device=low.device)[:, None] >= self.reach.to(low.device)
        return SignalCost(
            read=self.read,
            offset=offset,
            low=low.masked_fill(beyond, -torch.inf),
            high=high.masked_fill(beyond, torch.inf),
            weight=self.weight.to(at),
            slope=self.slope.to(at),
            price=self.price.to(at),
            calm=self.calm.to(at),
            previous=previous,
        )


def signal_objective(
    task: Task,
    schema: Schema,
    readouts: Mapping[str, Channels],
    spreads: Mapping[str, float] | None = None,
    reaches: Mapping[str, int] | None = None,
) -> SignalObjective | None:
    """The goals of a task on signals; None when it has none.

    Args:
        task: Its goal names channels and actions.
        schema: The machine's signals.
        readouts: By name.
        spreads: Standard deviation in the logs, by channel: what an error is measured in where the task gives no scale. Without one it is
            the range of the signal.
        reaches: Steps ahead up to which forecasts mean something, by channel; all of them where it is not there.

    Raises:
        TaskError: There is no such channel, it is in another unit, or nothing says how large an error is; with its line where the task
            came from a file.
    """
    goal = task.goal
    if goal is None or not goal.has_signals:
        return None
    try:
        for name in goal.signals:
            selected(readouts, [name], "goal", "signals", name)
        actions = {signal.name: signal for signal in schema.actions}
        names = list(goal.signals)
        for indicator in goal.indicators:
            for name in indicator.terms:
                if name not in actions:
                    selected(readouts, [name], *indicator.key, "terms", name)
                    names.append(name)
        read = selected(readouts, tuple(dict.fromkeys(names)), "goal")
        for name, unit in zip(read.names, read.units, strict=True):
            wanted = goal.signals.get(name)
            if wanted is not None and wanted.unit not in (None, unit):
                raise TaskError(f"is {wanted.unit!r}, but {name!r} is in {unit!r}", "goal", "signals", name, "unit")
        scales = _Scales(task, schema, spreads or {})
        low, high, weight = np.full(len(read.names), -np.inf), np.full(len(read.names), np.inf), np.zeros(len(read.names))
        for place, (name, aim) in enumerate(goal.signals.items()):
            low[place], high[place] = aim.bounds
            weight[place] = aim.weight / (aim.scale or scales.of_channel(name, "goal", "signals", name)) ** 2
        slope, price = np.zeros(len(read.names)), np.zeros(schema.action_size)
        for indicator in goal.indicators:
            share = (-1 if indicator.maximise else 1) * indicator.weight / (indicator.scale or scales.of_indicator(indicator))
            for name, term in indicator.terms.items():
                if name in actions:
                    price += share * _laid_out({name: term}, schema.actions, 0.0)
                else:
                    slope[read.names.index(name)] += share * float(np.asarray(term))
        ranges = np.concatenate([scales.of_action(signal) for signal in schema.actions])
        calm = _laid_out(goal.moves, schema.actions, MOVE_WEIGHT) / ranges**2
    except TaskError as error:
        raise task.located(error) from None
    parts = (torch.tensor(part, dtype=torch.float32) for part in (low, high, weight, slope, price, calm))
    reach = torch.tensor([(reaches or {}).get(name, task.plan.horizon) for name in read.names])
    return SignalObjective(read=read, reach=reach, **dict(zip(("low", "high", "weight", "slope", "price", "calm"), parts, strict=True)))


@final
class _Scales:
    """What counts as one, where a task does not say."""

    def __init__(self, task: Task, schema: Schema, spreads: Mapping[str, float]) -> None:
        self._task, self._schema, self._spreads = task, schema, spreads

    def of_channel(self, name: str, *key: str) -> float:
        if (spread := self._spreads.get(name, 0.0)) > 0:
            return spread
        signal = self._schema.by_name.get(name)
        if signal is None or signal.low is None or signal.high is None or signal.low == signal.high:
            raise TaskError(f"nothing says how large an error of {name!r} is: give a scale, the error that counts as one", *key)
        return signal.high - signal.low

    def of_action(self, signal: Signal) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        low, high = self._task.range_of(signal)
        low = low if signal.low is None else np.full(signal.size, signal.low)
        high = high if signal.high is None else np.full(signal.size, signal.high)
        return np.where(high > low, high - low, 1.0)

    def of_indicator(self, indicator: Indicator) -> float:
        total = 0.0
        for name, term in indicator.terms.items():
            signal = self._schema.by_name.get(name)
            is_action = signal is not None and signal.role is Role.ACTION
            scale = self.of_action(signal) if signal is not None and is_action else self.of_channel(name, *indicator.key, "terms", name)
            total += float(np.abs(np.asarray(term) * scale).sum())
        return total


def _laid_out(given: Mapping[str, Elements], actions: Sequence[Signal], otherwise: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers by action signal as (A,)."""
    return np.concatenate([np.broadcast_to(np.asarray(given.get(signal.name, otherwise)), (signal.size,)) for signal in actions])
