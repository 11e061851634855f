"""Linear model predictive control on an identified ARX model, without offset.

What the last prediction of one step got wrong is filtered and added to every predicted step: an estimate of a disturbance that stays. At
rest the prediction goes on from what is measured, so the only rest of a controller that tracks it is on its setpoint (the conditions are
those of Pannocchia and Rawlings, AIChE J. 49, 2003). Measured disturbances count as they are from now on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from benchmarks.plants.aims import Aims, Floats
from benchmarks.plants.identification import Arx
from benchmarks.plants.quadratic import Moves

from tacit.evaluation.closed_loop import Samples
from tacit.planning import Decision
from tacit.signals import MASK, Role
from tacit.worlds.plants import Plant


@final
class LinearControl:
    """A `tacit.evaluation.closed_loop.Policy`.

    Args:
        model: Identified; its inputs are all actions and measured disturbances of the plant.
        aims: What is asked for.
    """

    name = "linear MPC"

    def __init__(self, model: Arx, aims: Aims) -> None:
        self._model, self._aims = model, aims
        self._moves = Moves(aims)
        self._controlled = [model.outputs.index(name) for name in aims.names]
        size = len(aims.actions)
        gain = model.gain(aims.horizon, size)
        self._gain = gain.reshape(aims.horizon, -1, gain.shape[1])[:, self._controlled].reshape(-1, gain.shape[1])

    def begin(self, plant: Plant) -> None:
        self._measured = [s.name for s in plant.schema.having(Role.DISTURBANCE) if not s.name.endswith(MASK)]
        self._applied = np.array([plant.operating_point[name] for name in self._aims.actions])
        self._outputs: Floats | None = None

    def watch(self, samples: Samples, setpoints: Mapping[str, float], commands: Floats) -> None:
        """Decide as if in charge, and go on from what was sent instead."""
        self.act(samples, setpoints)
        self._applied = commands
        self._inputs[0, : len(commands)] = commands

    def act(self, samples: Samples, setpoints: Mapping[str, float]) -> tuple[Floats, Decision | None]:
        model, aims = self._model, self._aims
        now = np.array([float(samples[name]) for name in model.outputs])
        disturbed = np.array([float(samples[name]) for name in self._measured])
        if self._outputs is None:
            self._outputs, self._drift = np.tile(now, (model.order, 1)), np.zeros(len(now))
            self._inputs = np.tile(np.concatenate((self._applied, disturbed)), (model.order, 1))
        else:
            error = now - model.step(self._outputs, self._inputs)
            self._drift = aims.keep * self._drift + (1 - aims.keep) * error
            self._outputs = np.concatenate((now[None], self._outputs[:-1]))
        ahead = np.tile(np.concatenate((np.zeros(len(self._applied)), disturbed)), (aims.horizon, 1))
        free = model.free(self._outputs, self._inputs, ahead, self._drift)[:, self._controlled]
        wanted = np.array([setpoints[name] for name in aims.names])
        self._applied = self._moves.best(free, self._gain, wanted, self._applied)[0]
        self._inputs = np.concatenate((np.concatenate((self._applied, disturbed))[None], self._inputs[:-1]))
        return self._applied, None
