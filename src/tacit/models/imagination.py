"""A goal policy, followed in the world model in one call: what it would do step by step, if all came as the model says.

Dimensions: B batch, P proposals, h history, H horizon, A action, D latent = S state + C context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tacit.models.heads import GoalPolicy
from tacit.models.jepa import JEPA
from tacit.models.state_space import StateSpace
from tacit.nn import native

Followed = Callable[[Tensor, Tensor, Tensor], Tensor]


def following(model: JEPA, policy: GoalPolicy) -> Followed | None:
    """Latents (B, h, D), goals (B, D) and strays in units of the policy's spread (B, P, H, A) -> physical actions (B, P, H, A).

    None where model and policy have to be asked in turns, because there is no C for them, and the model says all that it knows in latents.
    """
    dynamics = model.dynamics
    space = dynamics if isinstance(dynamics, StateSpace) else None
    network, asked = _ready(dynamics.packed, model.actions.mean), _ready(policy.packed, policy.actions.mean)
    emission = None if space is None else _ready(space.emitted, model.actions.mean)
    if network is None or asked is None or (space is not None and emission is None):
        return None if space is None else _in_turns(model, space, policy)
    scales = torch.stack((policy.actions.mean, policy.actions.std, model.actions.mean, model.actions.std))

    def followed(history: Tensor, goal: Tensor, strays: Tensor) -> Tensor:
        shown = None if space is None or emission is None else native.Shown(emission, *space.begin(history))
        size = dynamics.state
        return native.follow(network, asked, history, goal, strays, state=size, log_std=policy.LOG_STD, scales=scales, shown=shown)

    return followed


def _in_turns(model: JEPA, space: StateSpace, policy: GoalPolicy) -> Followed:
    """The same by torch, in the model's own state: to infer it anew from every latent that it shows would be another way."""

    def followed(history: Tensor, goal: Tensor, strays: Tensor) -> Tensor:
        batch, count, horizon, size = strays.shape
        # A row for each proposal.
        window, towards, state, origin = (x.repeat_interleave(count, dim=0) for x in (history.float(), goal, *space.begin(history)))
        actions: list[Tensor] = []
        for stray in strays.reshape(batch * count, horizon, size).unbind(1):
            if actions:
                state = space.transition.unroll(state[:, None], model.actions(actions[-1])[:, None, None])[:, 0, 0]
                latent = torch.cat((origin + space.shown(state), window[:, -1, space.state :]), dim=-1)
                window = torch.cat((window[:, 1:], latent[:, None]), dim=1)
            mean, std = policy.distribution(window, towards)
            actions.append(mean + std * stray)
        return torch.stack(actions, dim=1).view(strays.shape)

    return followed


@torch.no_grad()
def _ready(network: native.Network | None, weights: Tensor) -> native.Network | None:
    """A network in C, if it is there and is to be asked, with weights where these are."""
    return network if network is not None and network.answers(weights) else None
