"""The quadratic program of predictive control: the best moves of the actions where predictions are linear in them.

Dimensions: H horizon, N controlled signals, A action. Sequences of actions, (H A,), and predictions, (H N,), are laid out step after step.
"""

from __future__ import annotations

from typing import final

import numpy as np
import osqp
from benchmarks.plants.aims import Aims, Floats
from scipy import sparse

TOLERANCE = 1e-6


@final
class Moves:
    """Finds the best actions by OSQP (Stellato et al., Mathematical Programming Computation 12, 2020).

    The actions keep box and rate limits; limits on signals are soft: each step has a slack of its own, whose square costs.

    Args:
        aims: Costs and limits.
    """

    def __init__(self, aims: Aims) -> None:
        self._aims = aims
        size, horizon = len(aims.actions) * aims.horizon, aims.horizon
        self._size = size
        self._width = np.tile(aims.high - aims.low, horizon)  # actions count in shares of their ranges inside
        # U -> changes from step to step
        self._change = np.eye(size) - np.eye(size, k=-len(aims.actions))
        bounded = np.isfinite(aims.floor) | np.isfinite(aims.ceiling)
        self._soft = np.flatnonzero(np.tile(bounded, horizon))
        self._calm = self._change.T @ (np.tile(aims.calm, horizon)[:, None] * self._change)
        self._weight = np.tile(aims.weight, horizon)
        self._solver: osqp.OSQP | None = None
        self._gain: Floats | None = None

    def best(self, free: Floats, gain: Floats, wanted: Floats, previous: Floats) -> Floats:
        """The actions (H, A) of least cost.

        Args:
            free: What is predicted where all actions are 0, (H, N).
            gain: What one unit of each action adds, (H N, H A).
            wanted: Setpoints, (N,).
            previous: Action that was applied last, (A,).

        Raises:
            RuntimeError: The program was not solved; the previous action is always allowed, so this is a defect of the numbers.
        """
        aims, size, width = self._aims, self._size, self._width
        error = (free - wanted).ravel()
        first = np.zeros(size)
        first[: len(previous)] = previous
        gradient = 2 * width * (gain.T @ (self._weight * error) - self._change.T @ (np.tile(aims.calm, aims.horizon) * first))
        tilt = np.concatenate((gradient, np.zeros(len(self._soft))))
        above, below = (np.tile(side, aims.horizon)[self._soft] - free.ravel()[self._soft] for side in (aims.ceiling, aims.floor))
        step = np.tile(aims.step, aims.horizon)
        none, endless = np.zeros(len(self._soft)), np.full(len(self._soft), np.inf)
        lower = np.concatenate((np.tile(aims.low, aims.horizon) / width, (first - step) / width, -endless, below, none))
        upper = np.concatenate((np.tile(aims.high, aims.horizon) / width, (first + step) / width, above, endless, endless))
        self._set(gain, tilt, lower, upper)
        assert self._solver is not None
        result = self._solver.solve(raise_error=False)
        if result.x is None or not np.isfinite(result.x).all():
            raise RuntimeError(f"OSQP: {result.info.status}")
        return self._inside((result.x[:size] * width).reshape(aims.horizon, -1), previous)

    def _set(self, gain: Floats, tilt: Floats, lower: Floats, upper: Floats) -> None:
        """Tell the solver what has changed."""
        if self._solver is not None and self._gain is gain:
            self._solver.update(q=tilt, l=lower, u=upper)
            return
        size, width, soft = self._size, self._width, self._soft
        cost = np.zeros((size + len(soft),) * 2)
        cost[:size, :size] = 2 * width[:, None] * (gain.T @ (self._weight[:, None] * gain) + self._calm) * width
        cost[size:, size:] = 2 * np.diag(np.tile(self._aims.shortfall, self._aims.horizon)[soft])
        rows = np.zeros((2 * size + 3 * len(soft), size + len(soft)))
        rows[:size, :size] = np.eye(size)
        rows[size : 2 * size, :size] = self._change * width / width[:, None]
        slack = np.eye(len(soft))
        for part, sign in ((slice(2 * size, 2 * size + len(soft)), -1.0), (slice(2 * size + len(soft), 2 * size + 2 * len(soft)), 1.0)):
            rows[part, :size], rows[part, size:] = gain[soft] * width, sign * slack
        rows[2 * size + 2 * len(soft) :, size:] = slack
        self._solver, self._gain = osqp.OSQP(algebra="builtin"), gain
        self._solver.setup(
            sparse.csc_matrix(np.triu(cost)), tilt, sparse.csc_matrix(rows), lower, upper,
            verbose=False, eps_abs=TOLERANCE, eps_rel=TOLERANCE,
        )  # fmt: skip

    def _inside(self, actions: Floats, previous: Floats) -> Floats:
        """The same to the last digit inside the limits."""
        found = []
        for wanted in actions:
            previous = np.clip(np.clip(wanted, previous - self._aims.step, previous + self._aims.step), self._aims.low, self._aims.high)
            found.append(previous)
        return np.array(found)
