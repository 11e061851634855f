"""Nonlinear model predictive control with the true equations. Told the true states and all disturbances it is the ceiling, which no site
has; from what sensors show, with a Kalman filter of the same equations, it is what knowing the equations is worth.

Gauss-Newton steps by direct multiple shooting: each control step of the plan has a state of its own, from which the equations are
integrated for one step, so that a plant that runs away does not take the plan with it. Gaps between a step's end and the next one's state
are closed by the quadratic program, in which only the actions are left. Disturbances stay as they are over the horizon, and so does what
valves stick by.

Source: Bock and Plitt, A multiple shooting algorithm for direct solution of optimal control problems, IFAC World Congress 1984; for
control, Diehl, Ferreau, Haverbeke, Efficient numerical methods for nonlinear MPC and moving horizon estimation, 2009, section 3.

Dimensions: n states, m actions, N controlled signals, H horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from benchmarks.plants.aims import Aims, Floats
from benchmarks.plants.equations import NUDGE, one_step
from benchmarks.plants.kalman import Estimator
from benchmarks.plants.quadratic import Moves

from tacit.evaluation.closed_loop import Samples
from tacit.planning import Decision
from tacit.worlds.plants import Plant, SimulatedPlant
from tacit.worlds.plants.process import position

ITERATIONS = 2  # Gauss-Newton steps at each control step; the plan goes on from the last one


@final
class NonlinearControl:
    """A `tacit.evaluation.closed_loop.Policy` of simulated plants.

    Args:
        aims: What is asked for.
        iterations: Gauss-Newton steps at each control step.
        is_told: Whether it is told states and disturbances; else it estimates them from what sensors show.
    """

    def __init__(self, aims: Aims, iterations: int = ITERATIONS, *, is_told: bool = True) -> None:
        self._aims, self._iterations, self._is_told = aims, iterations, is_told
        self._moves = Moves(aims)

    @property
    def name(self) -> str:
        return "NMPC, true model" if self._is_told else "NMPC, true equations"

    def begin(self, plant: Plant) -> None:
        if not isinstance(plant, SimulatedPlant):
            raise ValueError(f"{plant.name}: nobody knows its equations")
        self._plant = plant
        process = plant.process
        self._controlled = [[s.name for s in process.sensors].index(name) for name in self._aims.names]
        self._applied = np.array([a.nominal for a in process.actuators])
        self._plan = np.tile(self._applied, (self._aims.horizon, 1))
        self._states = np.tile(plant.state, (self._aims.horizon + 1, 1))  # at the beginning of each step of the plan, and at its end
        self._estimator: Estimator | None = None

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Plan as if in charge, and go on from what was sent instead."""
        self.act(samples, setpoints)
        self._applied = commands

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        actuators = self._plant.process.actuators
        stuck = [float(samples[position(a)]) - before if a.static else 0.0 for a, before in zip(actuators, self._applied, strict=True)]
        wanted = np.array([setpoints[name] for name in self._aims.names])
        self._states[0], disturbances = self._found(samples, self._applied + stuck)
        for _ in range(self._iterations):
            self._improve(np.array(stuck), disturbances, wanted)
        self._applied = self._plan[0]
        self._plan, self._states = (np.concatenate((part[1:], part[-1:])) for part in (self._plan, self._states))
        return self._applied, None

    def _found(self, samples: Samples, applied: Floats) -> tuple[Floats, Floats]:
        """States and disturbances of now: what is true, or what follows from samples and from where valves were (m,)."""
        if self._is_told:
            return self._plant.state, self._plant.disturbances
        if self._estimator is None:
            self._estimator = Estimator(self._plant.process)
            self._estimator.begin(samples)
        else:
            self._estimator.advance(applied, samples)
        return self._estimator.states, self._estimator.disturbances

    def _improve(self, stuck: Floats, disturbances: Floats, wanted: Floats) -> None:
        """One Gauss-Newton step of the plan and of its states."""
        process, (horizon, size) = self._plant.process, self._plan.shape
        low, high = (np.array([getattr(s, side) for s in process.states]) for side in ("low", "high"))
        states, n = self._states, len(low)
        nudges = NUDGE * np.concatenate((high - low, [a.high - a.low for a in process.actuators]))
        moved = np.concatenate((np.zeros((1, n + size)), np.diag(nudges), -np.diag(nudges)))[:, None]
        ends = one_step(process, states[:-1] + moved[..., :n], self._plan + stuck + moved[..., n:], disturbances)  # (1 + 2 (n + m), H, n)
        slopes = (ends[1 : 1 + n + size] - ends[1 + n + size :]) / (2 * nudges[:, None, None])
        of_states, of_actions = slopes[:n].transpose(1, 2, 0), slopes[n:].transpose(1, 2, 0)  # (H, n, n), (H, n, m)
        moved = np.concatenate((np.zeros((1, n)), np.diag(nudges[:n]), -np.diag(nudges[:n])))[:, None]
        shown = process.outputs(states[1:] + moved)[..., self._controlled]
        of_outputs = ((shown[1 : 1 + n] - shown[1 + n :]) / (2 * nudges[:n, None, None])).transpose(1, 2, 0)  # (H, N, n)
        drift, reach = np.zeros((horizon + 1, n)), np.zeros((horizon + 1, n, horizon, size))  # of the states, by gaps and by actions
        for k in range(horizon):
            drift[k + 1] = of_states[k] @ drift[k] + ends[0, k] - states[k + 1]
            reach[k + 1] = np.einsum("ij,jhm->ihm", of_states[k], reach[k])
            reach[k + 1, :, k] += of_actions[k]
        predicted = shown[0] + np.einsum("koi,ki->ko", of_outputs, drift[1:])
        gain = np.einsum("koi,kihm->kohm", of_outputs, reach[1:]).reshape(horizon * len(wanted), horizon * size)
        free = predicted - (gain @ self._plan.ravel()).reshape(predicted.shape)
        plan = self._moves.best(free, gain, wanted, self._applied)
        change = drift + np.einsum("kihm,hm->ki", reach, plan - self._plan)
        self._plan, self._states = plan, np.clip(states + change, low, high)
