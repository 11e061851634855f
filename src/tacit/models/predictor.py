"""The world model proper: latest latents and an action -> next latent.

A residual MLP: enough for small worlds and several times faster to roll out than attention. A latent is a state, which is predicted,
and a context, which is taken to stay as it was last seen. Dimensions: h history, D latent = S state + C context, A action,
K candidates, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.nn.blocks import mlp, zero_last


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Settings of `ResidualPredictor`.

    Attributes:
        history: h, frames of latent history.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
    """

    history: int = 2
    width: int = 512
    depth: int = 2


class ResidualPredictor(nn.Module):
    """`state + network(states, context, action)`, the identity before training.

    Args:
        state: S.
        context: C; 0 for none.
        actions: A.
        config: Widths and history.
    """

    def __init__(self, state: int, context: int, actions: int, config: PredictorConfig) -> None:
        super().__init__()
        self.state, self.context, self.history = state, context, config.history
        hidden = (config.width,) * config.depth
        self.network = zero_last(mlp((state * config.history + context + actions, *hidden, state)))

    def forward(self, history: Tensor, action: Tensor) -> Tensor:
        """Latents (..., h, D), oldest first, and standardised actions (..., A) -> next latents (..., D)."""
        newest = history[..., -1, :]
        context = newest[..., self.state :]
        change: Tensor = self.network(torch.cat((history[..., : self.state].flatten(-2), context, action), dim=-1))
        return torch.cat((newest[..., : self.state] + change, context), dim=-1)

    def unroll(self, history: Tensor, actions: Tensor) -> Tensor:
        """Roll candidates out together; the same numbers as `forward` step by step, with less work.

        The first layer is split: what the context and the actions add to it is one product for the whole horizon.

        Args:
            history: (B, h, D), shared by the candidates.
            actions: Standardised, (B, K, H, A).

        Returns:
            Predicted latents, (B, K, H, D), float32. The running latent stays in float32; products are in the weights' dtype.
        """
        batch, candidates, horizon, _ = actions.shape
        first, *rest = self.network
        assert isinstance(first, nn.Linear)
        seen = self.state * self.history
        dtype = first.weight.dtype
        by_state, by_context, by_action = first.weight.tensor_split((seen, seen + self.context), dim=1)
        context = history[:, -1, self.state :].float()
        given = F.linear(actions.to(dtype), by_action) + F.linear(context.to(dtype), by_context, first.bias)[:, None, None]
        given = given.view(batch * candidates, horizon, -1)
        states = history[..., : self.state].float()
        past = states[:, None].expand(-1, candidates, -1, -1).reshape(batch * candidates, self.history, self.state)
        window = list(past.unbind(1))
        predicted = []
        for k in range(horizon):
            hidden = torch.addmm(given[:, k], torch.cat(window, dim=1).to(dtype), by_state.t())
            for layer in rest:
                hidden = layer(hidden)
            predicted.append(window[-1] + hidden.float())
            window = [*window[1:], predicted[-1]]
        future = torch.stack(predicted, dim=1).view(batch, candidates, horizon, self.state)
        return torch.cat((future, context[:, None, None].expand(-1, candidates, horizon, -1)), dim=-1)
