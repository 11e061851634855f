"""Offset-free prediction: how far sensors end up from what was predicted, learned while the machine runs.

A model is never perfect and never told everything: a valve sticks, a feed is colder. What it predicts k steps ahead is then wrong by about
the same each time, and a plan that believes it stays off its setpoint for ever. So the error of what was predicted 1, 2, ... H steps ago,
under the actions that were really applied since and the disturbances that were measured meanwhile, is filtered per channel and added to the
next prediction of as many steps. At rest the corrected prediction is exact at every step, however wrong the model, so the only rest of a
controller that tracks it is on its setpoint.

The constant output disturbance of DMC (Cutler and Ramaker, 1980) is the case of one error for all steps; it leaves an offset where
predictions begin from a measured state, as they do here, since a disturbance then has only one step to show itself. Conditions for no
offset: Pannocchia and Rawlings, AIChE J. 49 (2003), 426-437.

Dimensions: B machines, h history, H horizon, A action, D latent, N channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.contracts import Limit, TellsDisturbances, WorldModel
from tacit.planning.channels import Channels, selected, sensor_of, shown
from tacit.planning.state_limits import StateLimit
from tacit.planning.task import Task
from tacit.planning.task_limits import TaskError


@final
class OutputDisturbance:
    """How much more sensors show than was predicted, for each number of steps ahead.

    It only ever compares what was measured with what follows from actions that were applied, so nothing winds up while an actuator stands
    at its limit; and from disturbances that were measured, where the model tells them, so that one which jumps is no error of what was
    predicted before it jumped. A channel whose sample is missing keeps its estimate.
    """

    def __init__(self, *, model: WorldModel, channels: Sequence[str], read: Callable[[Tensor], Tensor], horizon: int, keep: float) -> None:
        """Args:
        model: Predicts.
        channels: N names, each of a channel that a sensor shows.
        read: Latents (..., D) -> these channels, (..., N).
        horizon: H.
        keep: Share of the estimate that stays from one step to the next, 0 to 1.
        """
        self.channels = tuple(channels)
        self._model = model
        self._read = read
        self._horizon = horizon
        self._keep = keep
        self.reset()

    def reset(self) -> None:
        """Begin with nothing known: what the model predicts counts."""
        self._offset: Tensor | None = None
        self._rows: Tensor  # (B, H, h, D): row k has seen all but the last k moments, and predicted those but for measured disturbances

    def advance(self, action: Tensor, samples: Mapping[str, NDArray[Any]], latents: Tensor) -> None:
        """Take in what came after an action.

        Args:
            action: Applied since the last call, (B, A).
            samples: What the sensors show now, (B, *shape) by signal, with masks.
            latents: The latest latents with what is known now, (B, h, D), oldest first.
        """
        if self._offset is None:
            self._rows = latents[:, None].expand(-1, self._horizon, -1, -1)
            self._offset = latents.new_zeros((len(latents), self._horizon, len(self.channels)), dtype=torch.float32)
            return
        batch, horizon = self._rows.shape[:2]
        predicted = self._model.step(self._rows.flatten(0, 1), action.repeat_interleave(horizon, dim=0)).view(batch, horizon, -1)
        found = torch.tensor(shown(self._model.schema, self.channels, samples), device=latents.device)
        error = found[:, None] - self._read(predicted)
        self._offset = torch.where(error.isfinite(), torch.lerp(error, self._offset, self._keep), self._offset)
        if isinstance(self._model, TellsDisturbances):
            seen = {name: torch.as_tensor(value, device=latents.device) for name, value in samples.items()}
            predicted = self._model.as_measured(predicted, seen)
        older = torch.cat((self._rows[:, :-1, 1:], predicted[:, :-1, None]), dim=2)
        self._rows = torch.cat((latents[:, None], older), dim=1)

    def of(self, names: Sequence[str]) -> Tensor:
        """What is added to predictions of some channels, 0 for those that no sensor shows: (B, H, N)."""
        assert self._offset is not None, "nothing was observed yet"
        none = torch.zeros_like(self._offset[..., 0])
        columns = [self._offset[..., self.channels.index(name)] if name in self.channels else none for name in names]
        return torch.stack(columns, -1)

    def far(self) -> NDArray[np.float32]:
        """What is added at the end of the horizon, (B, N)."""
        assert self._offset is not None, "nothing was observed yet"
        found: NDArray[np.float32] = self._offset[:, -1].cpu().numpy().copy()
        return found

    def by_channel(self) -> list[dict[str, float]]:
        """What is added at the end of the horizon, by channel, of each machine."""
        return [dict(zip(self.channels, row, strict=True)) for row in self.far().tolist()]

    def correcting(self, limit: Limit) -> Limit:
        """A limit that is checked on predictions as they are corrected now; the same one where it is none on states."""
        return limit.corrected(self.of(limit.channels)) if isinstance(limit, StateLimit) else limit


def output_disturbance(task: Task, model: WorldModel, readouts: Mapping[str, Channels]) -> OutputDisturbance | None:
    """The estimate for all channels that a task tracks, scores or limits and that a sensor shows; None where there is none, or the task
    wants none (`PlanSettings.disturbance_filter` of 1).

    Raises:
        TaskError: The task names what no readout reads.
    """
    try:
        wanted = [name for entry in task.state_limits for name in selected(readouts, entry.channels, *entry.key).names]
    except TaskError as error:
        raise task.located(error) from None
    if task.goal is not None:
        offered = {name for readout in readouts.values() for name in readout.names}
        terms = [name for indicator in task.goal.indicators for name in indicator.terms if name in offered]
        wanted += [*(name for name in task.goal.signals if name in offered), *terms]
    channels = [name for name in dict.fromkeys(wanted) if sensor_of(model.schema, name) is not None]
    keep = task.plan.disturbance_filter
    if not channels or keep == 1:
        return None
    return OutputDisturbance(model=model, channels=channels, read=selected(readouts, channels), horizon=task.plan.horizon, keep=keep)
