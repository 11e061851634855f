"""A goal policy, followed in the world model in one call: what it would do step by step, if all came as the model says.

Dimensions: B batch, P proposals, h history, H horizon, A action, D latent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tacit.models.heads import GoalPolicy
from tacit.models.jepa import JEPA
from tacit.nn import native


def following(model: JEPA, policy: GoalPolicy) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """Latents (B, h, D), goals (B, D) and strays in units of the policy's spread (B, P, H, A) -> physical actions (B, P, H, A).

    None where model and policy have to be asked in turns: one is not packed, their products differ, or they are not on the CPU.
    """
    network, asked = model.predictor.packed, policy.packed
    with torch.no_grad():
        if network is None or asked is None or not (network.answers(model.actions.mean) and asked.answers(policy.actions.mean)):
            return None
    if network.library is not asked.library:
        return None
    scales = torch.stack((policy.actions.mean, policy.actions.std, model.actions.mean, model.actions.std))

    def followed(history: Tensor, goal: Tensor, strays: Tensor) -> Tensor:
        size = model.predictor.state
        return native.follow(network, asked, history, goal, strays, state=size, log_std=policy.LOG_STD, scales=scales)

    return followed
