"""Nonlinear model predictive control with the true equations, the true states and all disturbances: the ceiling, which no site has.

Gauss-Newton steps on the actions by single shooting: the equations are integrated along the last plan, their sensitivities are chained from
differences of one step, and the quadratic program of `Moves` gives the next plan. Disturbances stay as they are over the horizon, and so
does what valves stick by.

Source: Diehl, Ferreau, Haverbeke, Efficient numerical methods for nonlinear MPC and moving horizon estimation, 2009, section 3.

Dimensions: n states, m actions, N controlled signals, H horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from benchmarks.plants.aims import Aims, Floats
from benchmarks.plants.quadratic import Moves

from tacit.evaluation.closed_loop import Samples
from tacit.planning import Decision
from tacit.worlds.plants import Plant, Process, SimulatedPlant
from tacit.worlds.plants.integrate import runge_kutta
from tacit.worlds.plants.plant import position

NUDGE = 1e-5  # of a state's or an action's range, for differences
ITERATIONS = 2  # Gauss-Newton steps at each control step; the plan goes on from the last one


@final
class NonlinearControl:
    """A `tacit.evaluation.closed_loop.Policy` of simulated plants.

    Args:
        aims: What is asked for.
        iterations: Gauss-Newton steps at each control step.
    """

    name = "NMPC, true model"

    def __init__(self, aims: Aims, iterations: int = ITERATIONS) -> None:
        self._aims, self._iterations = aims, iterations
        self._moves = Moves(aims)

    def begin(self, plant: Plant) -> None:
        if not isinstance(plant, SimulatedPlant):
            raise ValueError(f"{plant.name}: nobody knows its equations")
        self._plant = plant
        process = plant.process
        self._controlled = [[s.name for s in process.sensors].index(name) for name in self._aims.names]
        self._applied = np.array([a.nominal for a in process.actuators])
        self._plan = np.tile(self._applied, (self._aims.horizon, 1))

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        actuators = self._plant.process.actuators
        stuck = [float(samples[position(a)]) - before if a.static else 0.0 for a, before in zip(actuators, self._applied, strict=True)]
        wanted = np.array([setpoints[name] for name in self._aims.names])
        for _ in range(self._iterations):
            predicted, gain = self._linear(self._plant.state, self._plan, np.array(stuck), self._plant.disturbances)
            free = predicted - (gain @ self._plan.ravel()).reshape(predicted.shape)
            self._plan = self._moves.best(free, gain, wanted, self._applied)
        self._applied = self._plan[0]
        self._plan = np.concatenate((self._plan[1:], self._plan[-1:]))
        return self._applied, None

    def _linear(self, state: Floats, plan: Floats, stuck: Floats, disturbances: Floats) -> tuple[Floats, Floats]:
        """Controlled signals along a plan, (H, N), and what a unit of each action adds to them, (H N, H m)."""
        process, horizon, size = self._plant.process, *plan.shape
        states = np.array([state])
        for action in plan:
            states = np.concatenate((states, one_step(process, states[-1], action + stuck, disturbances)[None]))
        n = len(state)
        nudges = NUDGE * np.concatenate(
            ([s.high - s.low for s in process.states], [actuator.high - actuator.low for actuator in process.actuators])
        )
        moved = np.diag(nudges)[:, None]  # (n + m, 1, n + m)
        ends = [
            one_step(process, states[:-1] + sign * moved[..., :n], plan + stuck + sign * moved[..., n:], disturbances) for sign in (1, -1)
        ]
        slopes = (ends[0] - ends[1]) / (2 * nudges[:, None, None])  # (n + m, H, n)
        of_states, of_actions = slopes[:n].transpose(1, 2, 0), slopes[n:].transpose(1, 2, 0)  # (H, n, n), (H, n, m)
        step = NUDGE * np.array([s.high - s.low for s in process.states])
        shown = [process.outputs(states[1:] + sign * np.diag(step)[:, None])[..., self._controlled] for sign in (1, -1)]
        of_outputs = ((shown[0] - shown[1]) / (2 * step[:, None, None])).transpose(1, 2, 0)  # (H, N, n)
        reach, gain = np.zeros((n, horizon, size)), np.zeros((horizon, len(self._controlled), horizon, size))
        for k in range(horizon):
            reach = np.einsum("ij,jhm->ihm", of_states[k], reach)
            reach[:, k] += of_actions[k]
            gain[k] = np.einsum("oi,ihm->ohm", of_outputs[k], reach)
        predicted = process.outputs(states[1:])[:, self._controlled]
        return predicted, gain.reshape(horizon * len(self._controlled), horizon * size)


def one_step(process: Process, states: Floats, actions: Floats, disturbances: Floats) -> Floats:
    """States (..., n) one control step later, inside their ranges."""
    after = runge_kutta(lambda t, x: process.derivative(t, x, actions, disturbances), states, process.step_seconds, process.substeps)
    return np.clip(after, [s.low for s in process.states], [s.high for s in process.states])
