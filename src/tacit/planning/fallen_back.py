"""The fallback of a task, for B machines side by side.

Dimensions: B machines, A action.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.planning.action_limits import action_row
from tacit.planning.fallbacks import MEMORY, PID, Action, Hold, Ramp, RetreatByMoves, RetreatBySetPoints, Safe, WithoutPlan, Zero
from tacit.planning.task import Task
from tacit.planning.task_fallback import Fallback, PIDSettings, RampSettings, RetreatSettings, SafeSettings
from tacit.signals import Schema


def fallback_of(task: Task, schema: Schema) -> WithoutPlan:
    """What one machine does when there is no plan to trust, as its task says.

    Args:
        task: One that fits the machine (`Task.check`).
        schema: The machine's signals.
    """
    match task.fallback:
        case Fallback.HOLD:
            return Hold()
        case Fallback.ZERO:
            return Zero()
        case SafeSettings(action=action):
            return Safe(action=action_row(schema, action))
        case RampSettings(action=action, seconds=seconds):
            return Ramp(action=action_row(schema, action), steps=_steps(seconds, schema))
        case RetreatSettings(by=by, seconds=seconds):
            steps = MEMORY if seconds is None else _steps(seconds, schema)
            return RetreatBySetPoints(steps=steps) if by == "set_points" else RetreatByMoves(steps=steps)
        case PIDSettings() as pid:
            before = 0
            for signal in schema.actions:
                if signal.name == pid.action:
                    break
                before += signal.size
            low, high = task.range_of(signal)
            return PID(
                signal=pid.signal,
                set_point=pid.set_point,
                proportional=pid.proportional,
                integral=pid.integral,
                derivative=pid.derivative,
                period=schema.period,
                low=float(low[pid.element]),
                high=float(high[pid.element]),
                element=before + pid.element,
            )


def _steps(seconds: float, schema: Schema) -> int:
    return max(1, round(seconds / schema.period))


@final
class FallenBack:
    """What those of B machines do that have no plan to trust, each by itself.

    Args:
        make: Makes what one machine does.
        schema: Of the machines.
        machines: B.
    """

    def __init__(self, make: Callable[[], WithoutPlan], schema: Schema, machines: int) -> None:
        self._each = [make() for _ in range(machines)]
        self._schema = schema
        self._is_fallen = [False] * machines
        self._past: deque[NDArray[np.float32]] = deque(maxlen=MEMORY)

    @property
    def words(self) -> str:
        """What they do, as the end of a sentence."""
        return self._each[0].words

    def applied(self, actions: Tensor) -> None:
        """Take in what was really applied, (B, A), once per step."""
        self._past.append(actions.cpu().numpy().copy())

    def actions(self, fallen: Sequence[bool], samples: Mapping[str, NDArray[Any]], instead: Tensor) -> Tensor:
        """What to do now.

        Args:
            fallen: Which machines have nothing better, B.
            samples: What the sensors show, (B, *shape) by signal.
            instead: Actions (B, A) of the others.

        Returns:
            (B, A).
        """
        if not any(fallen):
            return instead
        rows = instead.cpu().numpy().copy()
        for machine in np.flatnonzero(fallen).tolist():
            fallback, last = self._each[machine], self._past[-1][machine]
            if not self._is_fallen[machine]:
                fallback.begin(deque(actions[machine] for actions in self._past))
                self._is_fallen[machine] = True
            rows[machine] = fallback.act(self._shown(samples, machine), last)
        return torch.from_numpy(rows).to(instead.device)

    def recovered(self, sound: Sequence[bool]) -> None:
        """Note which machines have a plan again: where they lose it, their fallback begins anew."""
        self._is_fallen = [was and not is_sound for was, is_sound in zip(self._is_fallen, sound, strict=True)]

    def _shown(self, samples: Mapping[str, NDArray[Any]], machine: int) -> dict[str, Action]:
        """What one machine's sensors show; what is missing is not finite."""
        shown = {name: value[machine] for name, value in samples.items()}
        for name, mask in self._schema.masks.items():
            if name in shown and mask.name in shown and shown[name].dtype.kind == "f":
                shown[name] = np.where(shown[mask.name], shown[name], np.nan)
        return shown
