"""Who moves the cube for the logs: OGBench's own oracles with noise, and now and then nobody who looks.

The benchmark's data come from scripted policies that pick the cube up and put it down at ever new random places (Park et al., OGBench,
arXiv 2410.20092): one that follows a plan of poses, and one that decides anew at every step. Both see the cube, neither sees a goal of
an evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tacit.worlds.world import Env, Recorder, Samples, blind

BLIND = 0.1  # share of the episodes in which nobody looks
PLANNED = 0.6  # share of the others that follow plans
NOISE_SCALE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])  # of the action's five elements, to one another


def wander(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blind actions (steps, 5) in [-1, 1]: smooth ways through the room, turns, a gripper that opens and closes, and rests."""
    actions = np.empty((steps, 5))
    drift = rng.normal(0.0, 0.4, 4)
    gripper, rests = float(rng.choice((-1.0, 1.0))), False
    for t in range(steps):
        drift = 0.9 * drift + np.array([0.2, 0.2, 0.2, 0.15]) * rng.standard_normal(4)
        if rng.random() < 1 / 15:
            gripper = -gripper
        if rng.random() < 1 / 12:
            rests = bool(rng.random() < 0.15)
        actions[t] = 0.0 if rests else (*drift, gripper * rng.uniform(0.3, 1.0))
    return np.clip(actions, -1.0, 1.0).astype(np.float32)


def recorder(steps: int, rng: np.random.Generator) -> Recorder:
    """Who acts in one recorded episode."""
    if rng.random() < BLIND:
        return blind(wander(steps, rng))
    return Oracle(rng)


@final
class Oracle:
    """One of OGBench's oracles with the noise of this episode; whenever it is done, it gets a new random place for the cube.

    Args:
        rng: Its own random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._plans = bool(rng.random() < PLANNED)
        self._noise = float(rng.choice((0.0, 0.1, 0.3)))
        self._pace = float(rng.uniform(0.25, 0.45))  # seconds between the poses of a plan
        self._hurry = float(rng.uniform(0.2, 0.5))  # least length of what a step-by-step oracle asks for
        self._oracle: Any = None

    def __call__(self, env: Env, samples: Samples) -> NDArray[np.float32]:
        simulator = env.get_wrapper_attr("simulator")
        with global_randomness(self._rng):
            if self._oracle is None:
                self._oracle = self._made(simulator)
                self._oracle.reset(None, simulator.compute_ob_info())
            elif self._oracle.done:
                simulator.set_new_target(return_info=False)
                self._oracle.reset(None, simulator.compute_ob_info())
            action = self._oracle.select_action(None, simulator.compute_ob_info())
        if not self._plans:  # plans carry their noise
            action = action + self._noise * NOISE_SCALE * self._rng.standard_normal(5)
        clipped: NDArray[np.float32] = np.clip(action, -1.0, 1.0).astype(np.float32)
        return clipped

    def _made(self, simulator: Any) -> Any:
        if self._plans:
            from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

            return CubePlanOracle(env=simulator, segment_dt=self._pace, noise=self._noise)
        from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle

        return CubeMarkovOracle(env=simulator, min_norm=self._hurry)


@contextmanager
def global_randomness(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global random numbers, which the oracles draw from, come from `rng` for a while; afterwards they go on as before."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
