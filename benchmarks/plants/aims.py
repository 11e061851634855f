"""What all controllers that plan are asked for: the same costs, limits and horizon, all from one task.

Dimensions: H horizon, N controlled signals, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.planning import ActionLimit, Goal, SignalGoal, Task, for_signals
from tacit.worlds.plants import Plant

Floats = NDArray[np.float64]
MOVES = 0.1  # what the squared change of an action costs, in units of its range, beside a squared error in units of its range of setpoints
HORIZON = 30  # steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Aims:
    """The cost is the sum over the horizon of `weight` times squared errors and `calm` times squared changes of the actions.

    Attributes:
        horizon: H.
        names: Of the controlled signals.
        actions: Names of the actions.
        weight: Of the squared error, (N,).
        calm: Of the squared change from one step to the next, (A,).
        low: Smallest commands, (A,).
        high: Largest commands, (A,).
        step: Largest changes from one step to the next, (A,).
        floor: Softly, controlled signals stay above, (N,); -inf for no limit.
        ceiling: Softly, they stay below, (N,).
        shortfall: Weight of a squared shortfall, (N,).
        keep: Share of an estimated disturbance that stays from one step to the next.
    """

    horizon: int
    names: tuple[str, ...]
    actions: tuple[str, ...]
    weight: Floats
    calm: Floats
    low: Floats
    high: Floats
    step: Floats
    floor: Floats
    ceiling: Floats
    shortfall: Floats
    keep: float


SHORTFALL = 100.0  # what a squared shortfall of a limit costs, beside an error of the same size


def plant_task(plant: Plant, *, horizon: int = HORIZON) -> Task:
    """Hold every loop of a plant at its setpoint, inside what its actuators can do: errors count in ranges of the setpoints."""
    signals = {
        loop.controlled: SignalGoal(value=plant.operating_point[loop.controlled], scale=loop.high - loop.low) for loop in plant.loops
    }
    return Task(
        goal=Goal(signals=signals, moves=dict.fromkeys(plant.action_limits, MOVES)),
        limits={name: ActionLimit(low=limit.low, high=limit.high, rate=limit.rate) for name, limit in plant.action_limits.items()},
        plan=for_signals(horizon=horizon),
    )


def aims_of(task: Task, plant: Plant) -> Aims:
    """The aims of a task of setpoints with scales, and of limits on scalar actions.

    Raises:
        ValueError: The task has no goal on signals, or one without scale.
    """
    if task.goal is None or not task.goal.signals:
        raise ValueError("the task has no setpoints")
    names, actions = tuple(task.goal.signals), tuple(signal.name for signal in plant.schema.actions)
    scales = [goal.scale for goal in task.goal.signals.values()]
    if any(scale is None for scale in scales):
        raise ValueError("every setpoint of the task needs a scale, so that all controllers are asked for the same")
    scale = np.array(scales, np.float64)
    weight = np.array([goal.weight for goal in task.goal.signals.values()]) / scale**2
    ranges = np.array([plant.action_limits[name].high - plant.action_limits[name].low for name in actions])
    bounds = [task.range_of(signal) for signal in plant.schema.actions]
    rates = [task.limits.get(name, ActionLimit()).rate for name in actions]
    soft = [task.signals.get(name) for name in names]
    return Aims(
        horizon=task.plan.horizon,
        names=names,
        actions=actions,
        weight=weight,
        calm=np.array([float(np.asarray(task.goal.moves.get(name, 1.0)).item()) for name in actions]) / ranges**2,
        low=np.array([low.item() for low, _ in bounds]),
        high=np.array([high.item() for _, high in bounds]),
        step=np.array([np.inf if rate is None else float(np.asarray(rate).item()) for rate in rates]) * plant.step_seconds,
        floor=np.array([-np.inf if limit is None or limit.low is None else limit.low for limit in soft]),
        ceiling=np.array([np.inf if limit is None or limit.high is None else limit.high for limit in soft]),
        shortfall=SHORTFALL / scale**2,
        keep=task.plan.disturbance_filter,
    )
