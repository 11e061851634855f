"""Scenarios: what a controller is asked to do with a plant, drawn before it begins.

A scenario says when which setpoint changes and which disturbances are held from when on. What acts on the plant beside that is the plant's
own, by its seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tacit.worlds.plants.plant import Plant


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A stretch of operation with its wishes.

    Attributes:
        seed: Of the plant, for `Plant.reset`.
        steps: Control steps, T.
        setpoints: Wishes from a step on, by the number of the step and the name of the observation; step 0 has all of them.
        disturbances: Values that are held from a step on, likewise.
        low: Limits that observations shall not fall below, by name.
        high: Limits that they shall not rise above, by name.
    """

    seed: int
    steps: int
    setpoints: Mapping[int, Mapping[str, float]]
    disturbances: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)

    def wished(self, step: int) -> dict[str, float]:
        """The setpoints in force at a step."""
        wished: dict[str, float] = {}
        for since in sorted(self.setpoints):
            if since <= step:
                wished |= self.setpoints[since]
        return wished


def tracking(plant: Plant, rng: np.random.Generator, *, steps: int) -> Scenario:
    """Setpoints that step within the ranges of normal operation, as often as the operators of the plant change them.

    Args:
        plant: Whose loops count; it is not touched.
        rng: Draws the scenario.
        steps: Control steps.
    """
    setpoints: dict[int, dict[str, float]] = {0: {loop.controlled: plant.operating_point[loop.controlled] for loop in plant.loops}}
    for loop in plant.loops:
        changes = np.flatnonzero(rng.random(steps) < plant.step_seconds / loop.hold_seconds)
        for step in changes[changes > 0].tolist():
            setpoints.setdefault(step, {})[loop.controlled] = float(rng.uniform(loop.low, loop.high))
    return Scenario(seed=int(rng.integers(2**31)), steps=steps, setpoints=setpoints)


def rejection(plant: Plant, rng: np.random.Generator, *, steps: int, disturbance: str, value: float, since: int) -> Scenario:
    """The operating point, with one disturbance, measured or not, that steps to a value and stays there.

    Args:
        plant: Whose loops count; it is not touched.
        rng: Draws the seed of the plant.
        steps: Control steps.
        disturbance: Its name.
        value: Held from the step `since` on.
        since: Number of that step.
    """
    wished = {loop.controlled: plant.operating_point[loop.controlled] for loop in plant.loops}
    held = {since: {disturbance: value}}
    return Scenario(seed=int(rng.integers(2**31)), steps=steps, setpoints={0: wished}, disturbances=held)


def towards_limit(plant: Plant, rng: np.random.Generator, *, controlled: str, limit: float, steps: int) -> Scenario:
    """Setpoints that pull one observation to just below an upper limit again and again, from well below.

    Half of the wishes are nearer to the limit than a tenth of the range of normal operation: a controller that overshoots violates it. The
    other setpoints step as in `tracking`, so that their loops push as well.

    Args:
        plant: Whose loops count; it is not touched.
        rng: Draws the scenario.
        controlled: The observation; it must have a loop.
        limit: It shall not rise above.
        steps: Control steps.

    Raises:
        ValueError: The observation has no loop, or the limit lies below its range of normal operation.
    """
    loop = next((loop for loop in plant.loops if loop.controlled == controlled), None)
    if loop is None:
        raise ValueError(f"{plant.name} has no loop of {controlled!r}; there are: {', '.join(each.controlled for each in plant.loops)}")
    if limit <= loop.low:
        raise ValueError(f"limit {limit} of {controlled!r} must lie above {loop.low}, where normal operation begins")
    others = tracking(plant, rng, steps=steps)
    setpoints = {since: dict(wished) for since, wished in others.setpoints.items()}
    for wished in setpoints.values():
        wished.pop(controlled, None)
    margin = 0.1 * (loop.high - loop.low)
    period = max(2, round(loop.hold_seconds / plant.step_seconds / 2))
    for number, step in enumerate(range(0, steps, period)):
        near = float(rng.uniform(limit - margin, limit))
        wish = near if number % 2 else float(rng.uniform(loop.low, max(loop.low, min(loop.high, limit) - 3 * margin)))
        setpoints.setdefault(step, {})[controlled] = wish
    return Scenario(seed=others.seed, steps=steps, setpoints=setpoints, high={controlled: limit})
