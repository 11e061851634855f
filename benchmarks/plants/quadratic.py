"""The quadratic program of predictive control: the best moves of the actions where predictions are linear in them.

Dimensions: H horizon, N controlled signals, A action. Sequences of actions, (H A,), and predictions, (H N,), are laid out step after step.
"""

from __future__ import annotations

from typing import final

import numpy as np
from benchmarks.plants.aims import Aims, Floats

from tacit.planning.newton import least


@final
class Moves:
    """Finds the best actions. They keep box and rate limits; limits on signals are soft: each step has a slack, whose square costs.

    The program is solved exactly, as that of Tacit's own Newton steps is: with OSQP, which approaches the solution step by step, the moves
    of a plant that runs away were so far from it that control was lost.

    Args:
        aims: Costs and limits.
    """

    def __init__(self, aims: Aims) -> None:
        self._aims = aims
        horizon, size = aims.horizon, len(aims.actions) * aims.horizon
        self._size, self._width = size, np.tile(aims.high - aims.low, horizon)  # actions count in shares of their ranges inside
        self._change = np.eye(size) - np.eye(size, k=-len(aims.actions))  # actions -> changes from step to step
        self._calm = self._change.T @ (np.tile(aims.calm, horizon)[:, None] * self._change)
        self._weight = np.tile(aims.weight, horizon)
        self._soft = np.flatnonzero(np.tile(np.isfinite(aims.floor) | np.isfinite(aims.ceiling), horizon))

    def best(self, free: Floats, gain: Floats, wanted: Floats, previous: Floats) -> Floats:
        """The actions (H, A) of least cost; the previous one at all steps where numbers are so bad that nothing is found.

        Args:
            free: What is predicted where all actions are 0, (H, N).
            gain: What one unit of each action adds, (H N, H A).
            wanted: Setpoints, (N,).
            previous: Action that was applied last, (A,).
        """
        aims, size, width, soft = self._aims, self._size, self._width, self._soft
        first = np.zeros(size)
        first[: len(previous)] = previous
        cost = np.zeros((size + len(soft),) * 2)
        cost[:size, :size] = 2 * width[:, None] * (gain.T @ (self._weight[:, None] * gain) + self._calm) * width
        cost[size:, size:] = 2 * np.diag(np.tile(aims.shortfall, aims.horizon)[soft])
        tilt = np.zeros(len(cost))
        tilt[:size] = (
            2 * width * (gain.T @ (self._weight * (free - wanted).ravel()) - self._change.T @ (np.tile(aims.calm, aims.horizon) * first))
        )
        rows, bounds = self._limits(free.ravel(), gain, first)
        found = least(cost, tilt, rows, bounds) if np.isfinite(cost).all() and np.isfinite(tilt).all() else None
        if found is None:
            return np.tile(previous, (aims.horizon, 1))
        return self._inside((found[:size] * width).reshape(aims.horizon, -1), previous)

    def _limits(self, free: Floats, gain: Floats, first: Floats) -> tuple[Floats, Floats]:
        """Rows G and bounds h of all limits, G x >= h for actions and slacks x; those of limits that nobody gave are left out."""
        aims, size, width, soft = self._aims, self._size, self._width, self._soft
        box, changes = np.eye(size), self._change * width / width[:, None]
        low, high, step = (np.tile(side, aims.horizon) for side in (aims.low, aims.high, aims.step))
        floor, ceiling = (np.tile(side, aims.horizon)[soft] - free[soft] for side in (aims.floor, aims.ceiling))
        of_actions = np.concatenate((box, -box, changes, -changes, gain[soft] * width, -gain[soft] * width))
        of_slacks = np.concatenate((np.zeros((4 * size, len(soft))), np.eye(len(soft)), np.eye(len(soft))))
        bounds = np.concatenate((low / width, -high / width, (first - step) / width, -(first + step) / width, floor, -ceiling))
        given = np.isfinite(bounds)
        return np.concatenate((of_actions, of_slacks), axis=1)[given], bounds[given]

    def _inside(self, actions: Floats, previous: Floats) -> Floats:
        """The same to the last digit inside the limits."""
        found = []
        for wanted in actions:
            previous = np.clip(np.clip(wanted, previous - self._aims.step, previous + self._aims.step), self._aims.low, self._aims.high)
            found.append(previous)
        return np.array(found)
