"""The true equations of a plant, one control step at a time, for those that are told them."""

from __future__ import annotations

import numpy as np
from benchmarks.plants.aims import Floats

from tacit.worlds.plants import Process
from tacit.worlds.plants.integrate import runge_kutta

NUDGE = 1e-5  # of the range of a state, an action or a disturbance, for differences


def one_step(process: Process, states: Floats, actions: Floats, disturbances: Floats) -> Floats:
    """States (..., n) one control step later, inside their ranges."""
    after = runge_kutta(lambda t, x: process.derivative(t, x, actions, disturbances), states, process.step_seconds, process.substeps)
    return np.clip(after, [s.low for s in process.states], [s.high for s in process.states])
