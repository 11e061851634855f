"""Latents of what sensors show: of a moment, and of a goal. Dimensions: B machines, A action, D latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.planning.samples import finite, samples_of, unknown
from tacit.signals import Role


def latents_of(model: WorldModel, samples: Mapping[str, NDArray[Any]], before: Tensor | None) -> Tensor:
    """Latents (B, D) of one sample per machine, (B, *shape), and of the actions (B, A) before it; None where nobody says."""
    moment = {name: torch.tensor(value).unsqueeze(1) for name, value in samples.items()}
    return model.encode(moment, None if before is None else before[:, None])[:, 0]


def latents_of_goal(model: WorldModel, goal: Mapping[str, ArrayLike]) -> Tensor:
    """Latents of goals (B, D), under disturbances and after actions that nobody knows yet.

    Args:
        model: Encodes observations.
        goal: By observation signal, (B, *shape).

    Raises:
        ValueError: It has a wrong name, shape or dtype, or a number that is not finite, or leaves out an observation.
    """
    samples = samples_of(model.schema, goal, Role.OBSERVATION)
    if not finite(model.schema, samples).all():
        raise ValueError("the goal has a number that is not finite")
    goals = len(next(iter(samples.values())))
    nobody_knows = {s.name: unknown(s, goals) for s in model.schema.having(Role.DISTURBANCE)}
    with torch.no_grad():
        return latents_of(model, samples | nobody_knows, None)
