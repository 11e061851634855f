"""Wishes that tempt a controller over a limit."""

from __future__ import annotations

import numpy as np

from tacit.worlds.plants.plant import Plant

NEAR, FAR = 0.04, 0.3  # of the range of normal operation: how far below the limit wishes near it begin, and those far from it end


def setpoints_near(plant: Plant, rng: np.random.Generator, *, controlled: str, limit: float, steps: int) -> dict[int, dict[str, float]]:
    """Setpoints that pull one observation to just below an upper limit again and again, from well below.

    Every other wish lies within 4 % of the range of normal operation below the limit: a controller that overshoots violates it. The
    other setpoints step within normal operation, so that their loops push as well.

    Args:
        plant: Whose loops count; it is not touched.
        rng: Draws the wishes.
        controlled: The observation; it must have a loop.
        limit: What it shall not rise above.
        steps: Control steps.

    Returns:
        Setpoints in force from a step on, by the number of the step and the name of the observation; step 0 has all of them.

    Raises:
        ValueError: The observation has no loop, or the limit lies below its range of normal operation.
    """
    own = next((loop for loop in plant.loops if loop.controlled == controlled), None)
    if own is None:
        raise ValueError(f"{plant.name} has no loop of {controlled!r}; there are: {', '.join(loop.controlled for loop in plant.loops)}")
    near, far = limit - NEAR * (own.high - own.low), limit - FAR * (own.high - own.low)
    if far <= own.low:
        raise ValueError(f"a limit of {limit} leaves {controlled!r} no room: normal operation begins at {own.low}")
    wishes: dict[int, dict[str, float]] = {0: {loop.controlled: plant.operating_point[loop.controlled] for loop in plant.loops}}
    for loop in plant.loops:
        is_near = False
        for step in range(0, steps, max(2, round(loop.hold_seconds / plant.step_seconds / 2))):
            low, high = loop.low, loop.high
            if loop.controlled == controlled:
                low, high = (near, limit) if is_near else (loop.low, far)
            wishes.setdefault(step, {})[loop.controlled] = float(rng.uniform(low, high))
            is_near = not is_near
    return wishes
