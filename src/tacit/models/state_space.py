"""A state-space model of latents: what touch does is predicted in a state of its own, and not in the latents themselves.

    x_0 = [e_t, g(z_{t-h+1..t}, c_t)]           infer a state from what was seen
    x_{k+1} = x_k + f(x_k, a_{t+k})             let it move
    ẑ_{t+k} = z_t + [e_k - e_t, q(x_k) - q(x_0)]     and show it in the latents

Latents are made to be white, so a few numbers that move, as the place and the turn of a thing, lie on a crooked surface of many dimensions.
Who predicts there has to read them at every step and to write them back, and what is lost in that adds up. Here both is done once, outside
of the rollout, and g, f and q are learned together by what comes out. e are the numbers that the encoder leaves as they are: where a sensor
tells a place, it is predicted with all its digits. No change is no change: q is only asked for differences.

Deep state-space models: Watter et al., arXiv 1506.07365; Hafner et al., arXiv 1811.04551. Dimensions: h history, D latent = S state + C
context, E exact numbers, I inferred, X = E + I, A action, B batch, K candidates, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.models.predictor import PredictorConfig, ResidualPredictor
from tacit.nn import native
from tacit.nn.blocks import ResidualMLP, linear_layers, mlp

INFERENCE_BLOCKS = 2


@dataclass(frozen=True, kw_only=True)
class StateSpaceConfig:
    """Settings of a `StateSpace`.

    Attributes:
        inferred: I.
        width: Of the residual blocks that move the state on.
        blocks: How many of them.
        reading: Width of the networks between latents and state.
    """

    inferred: int = 16
    width: int = 192
    blocks: int = 3
    reading: int = 256


class StateSpace(nn.Module):
    """Latents and actions -> latents to come, by way of a state of its own.

    Args:
        state: S.
        context: C; 0 for none.
        actions: A.
        history: h.
        exact: E, the first dimensions of a latent.
        config: Sizes.

    Raises:
        ValueError: All of the state are exact numbers.
    """

    def __init__(self, state: int, context: int, actions: int, *, history: int, exact: int, config: StateSpaceConfig) -> None:
        super().__init__()
        if exact >= state:
            raise ValueError(f"a state of {state} has no room beside {exact} exact numbers: what is only seen would have no place in it")
        self.state, self.context, self.history, self.exact = state, context, history, exact
        size = exact + config.inferred
        self.inference = ResidualMLP(state * history + context, config.reading, INFERENCE_BLOCKS, config.inferred)
        motion = PredictorConfig(history=1, width=config.width, depth=config.blocks, residual=True)
        self.transition = ResidualPredictor(size, 0, actions, motion)
        self.emission = mlp((size, config.reading, state - exact))
        self.emitted: native.Network | None = None

    @property
    def width(self) -> int:
        """Of the hidden layers of a step."""
        return self.transition.width

    @property
    def products(self) -> torch.dtype:
        """What the products of the steps are made in."""
        return self.transition.products

    @property
    def packed(self) -> native.Network | None:
        """The steps in C, where they are packed."""
        return self.transition.packed

    def products_in(self, dtype: torch.dtype) -> None:
        """From now on, make the products of the steps in this dtype; what is between latents and state stays in float32."""
        self.transition.products_in(dtype)

    def pack(self, dtype: torch.dtype) -> None:
        """From now on, plan with the present weights in C, with products of this dtype, where this machine can."""
        self.transition.pack(dtype)
        self.emitted = native.packed(linear_layers(self.emission), dtype)

    def infer(self, history: Tensor) -> Tensor:
        """Latents (..., h, D), oldest first -> state (..., X)."""
        newest = history[..., -1, :]
        seen = torch.cat((history[..., : self.state].flatten(-2), newest[..., self.state :]), dim=-1).float()
        return torch.cat((newest[..., : self.exact].float(), self.inference(seen)), dim=-1)

    def shown(self, states: Tensor) -> Tensor:
        """States (..., X) -> what of them changes a latent when it changes, (..., S)."""
        return torch.cat((states[..., : self.exact], self.emission(states)), dim=-1)

    def begin(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, h, D) -> states (B, X), and what shows of a state must be added to for the latents to come, (B, S)."""
        start = self.infer(history)
        return start, history[:, -1, : self.state].float() - self.shown(start)

    def unroll(self, history: Tensor, actions: Tensor) -> Tensor:
        """Roll candidates out together.

        Args:
            history: (B, h, D), shared by the candidates.
            actions: Standardised, (B, K, H, A).

        Returns:
            Predicted latents, (B, K, H, D), float32.
        """
        start, origin = self.begin(history)
        network, emission = self.packed, self.emitted
        if network is not None and emission is not None and network.answers(history, actions) and emission.answers(history):
            return native.unroll(network, history, actions, self.state, native.Shown(emission, start, origin))
        future = self.shown(self.transition.unroll(start[:, None], actions)) + origin[:, None, None]
        context = history[:, None, None, -1, self.state :].float().expand(*future.shape[:3], -1)
        return torch.cat((future, context), dim=-1)
