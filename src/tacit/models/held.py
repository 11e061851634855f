"""A model of a process for planning: measured disturbances stay as they were last measured.

What they will be is not known. A model that foresees how they go back to their mean would plan for that; but how wrong it is about the
sensors is learned from predictions under the disturbances that were really measured, and only what is at rest in both alike leaves no
offset (`tacit.planning.disturbance`).
"""

from __future__ import annotations

import copy

import torch

from tacit.models.ensemble import Model
from tacit.models.jepa import JEPA
from tacit.nn.precision import products_dtype


@torch.no_grad()
def holding_disturbances(model: Model) -> Model:
    """The same model with measured disturbances held in rollouts; itself where it has none, or cannot tell them from the rest."""
    if not isinstance(model, JEPA) or not len(model.encoder.disturbed) or model.predictor.straight is None:
        return model
    held = copy.deepcopy(model)
    read, _, put = held.encoder.disturbance_map()
    unit = torch.eye(len(put), dtype=torch.float64, device=put.device)
    size = held.config.state
    held.predictor.keep((unit - put @ read)[:size, :size])
    held.predictor.pack(products_dtype())
    return held
