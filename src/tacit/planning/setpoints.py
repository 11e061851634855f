"""Setpoints while a machine runs: where its channels should be at each step to come, and how that is changed without losing the plan.

Dimensions: B machines, H horizon, T steps that a setpoint is told for, N channels, A action, D latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.contracts import Cost
from tacit.planning.disturbance import OutputDisturbance
from tacit.planning.goals import check_values
from tacit.planning.signal_costs import SignalObjective
from tacit.planning.task_limits import TaskError
from tacit.signals import Schema


@final
class Setpoints:
    """Where channels should be, from now on.

    Args:
        objective: With what the task asks for.
        schema: Of the machine.
        horizon: H.
    """

    def __init__(self, objective: SignalObjective, schema: Schema, horizon: int) -> None:
        self._objective, self._schema, self._horizon = objective, schema, horizon
        self.reset()

    def reset(self) -> None:
        """What the task asks for."""
        self._told: dict[str, NDArray[np.float32]] = {}  # (B or 1, T): still to come, the last one for ever

    def change(self, values: Mapping[str, ArrayLike], batch: int | None = None) -> None:
        """Other setpoints from the next observation on; nothing changes when one of them is refused.

        Args:
            values: By channel that has a setpoint: one number, one per machine (B, 1), or what it is to be at each step to come, (1, T) or
                (B, T); the last one stays.
            batch: B where it is known; None before the first observation.

        Raises:
            ValueError: A channel has no setpoint, a shape or the number of machines is wrong, or a number is not finite or outside its
                signal's range.
        """
        told = {}
        for name, value in values.items():
            known = [n for n, is_set in zip(self._objective.read.names, self._objective.is_setpoint, strict=True) if is_set]
            if name not in known:
                raise ValueError(f"{name!r} has no setpoint in this task; these have one: {', '.join(known) or 'none'}")
            steps = np.asarray(value, dtype=np.float64)
            if steps.ndim not in (0, 2) or not steps.size:
                raise ValueError(f"the setpoint of {name!r} has shape {steps.shape} instead of (), (B, 1) or (B, T)")
            if batch is not None and steps.ndim and len(steps) not in (1, batch):
                raise ValueError(f"the setpoint of {name!r} was told for {len(steps)} machines, but there are {batch}")
            try:
                check_values(self._schema, name, steps, name)
            except TaskError as error:
                raise ValueError(f"the setpoint of {error}") from None
            told[name] = steps.astype(np.float32).reshape(-1 if steps.ndim == 0 else len(steps), steps.shape[-1] if steps.ndim else 1)
        self._told |= told

    def advance(self) -> None:
        """One step has passed."""
        self._told = {name: value[:, 1:] if value.shape[1] > 1 else value for name, value in self._told.items()}

    def bounds(self, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """What costs nothing at each of the H steps to come, from and to, (B, H, N) each.

        Raises:
            ValueError: A setpoint was told for another number of machines.
        """
        shape = (batch, self._horizon, len(self._objective.low))
        low, high = (part.to(device).expand(shape).clone() for part in (self._objective.low, self._objective.high))
        for name, value in self._told.items():
            if len(value) not in (1, batch):
                raise ValueError(f"the setpoint of {name!r} was told for {len(value)} machines, but there are {batch}")
            steps = value[:, np.minimum(np.arange(self._horizon), value.shape[1] - 1)]
            column = self._objective.read.names.index(name)
            low[..., column] = high[..., column] = torch.from_numpy(steps).to(device)
        return low, high

    def cost(self, previous: Tensor, disturbance: OutputDisturbance | None) -> Cost:
        """What plans of this moment are scored by.

        Args:
            previous: Last action that was really applied, (B, A).
            disturbance: Corrects what is predicted; None for nothing.

        Raises:
            ValueError: As of `bounds`.
        """
        low, high = self.bounds(len(previous), previous.device)
        return self._objective.cost(low=low, high=high, offset=self._offset(low, disturbance), previous=previous)

    def forecast(self, trajectory: Tensor, disturbance: OutputDisturbance | None) -> dict[str, NDArray[np.float32]]:
        """What a plan is to bring by its predicted latents (B, H, D), corrected by the disturbance: (B, H) by channel."""
        channels = self._objective.read(trajectory)
        corrected = (channels + self._offset(channels, disturbance)).cpu().numpy()
        return {name: corrected[..., column] for column, name in enumerate(self._objective.read.names)}

    def _offset(self, like: Tensor, disturbance: OutputDisturbance | None) -> Tensor:
        """What is added to the channels, (B, H, N)."""
        return torch.zeros_like(like) if disturbance is None else disturbance.of(self._objective.read.names)
