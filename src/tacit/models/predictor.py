"""The world model proper: latest latents and an action -> next latent.

A residual MLP: enough for small worlds and several times faster to roll out than attention. Dimensions: h history, D latent,
A action, K candidates, H horizon.
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
    """`z + network(history, action)`, the identity before training.

    Args:
        latent: D.
        actions: A.
        config: Widths and history.
    """

    def __init__(self, latent: int, actions: int, config: PredictorConfig) -> None:
        super().__init__()
        self.latent, self.history = latent, config.history
        hidden = (config.width,) * config.depth
        self.network = zero_last(mlp((latent * config.history + actions, *hidden, latent)))

    def forward(self, history: Tensor, action: Tensor) -> Tensor:
        """Latents (..., h, D), oldest first, and standardised actions (..., A) -> next latents (..., D)."""
        change: Tensor = self.network(torch.cat((history.flatten(-2), action), dim=-1))
        return history[..., -1, :] + change

    def unroll(self, history: Tensor, actions: Tensor) -> Tensor:
        """Roll candidates out together; the same numbers as `forward` step by step, with less work.

        The first layer is split: what the actions add to it is one product for the whole horizon.

        Args:
            history: (B, h, D), shared by the candidates.
            actions: Standardised, (B, K, H, A).

        Returns:
            Predicted latents, (B, K, H, D), float32. The running latent stays in float32; products are in the weights' dtype.
        """
        batch, candidates, horizon, _ = actions.shape
        first, *rest = self.network
        assert isinstance(first, nn.Linear)
        seen = self.latent * self.history
        dtype = first.weight.dtype
        by_latent, by_action = first.weight[:, :seen], first.weight[:, seen:]
        from_actions = F.linear(actions.reshape(-1, actions.shape[-1]).to(dtype), by_action, first.bias)
        from_actions = from_actions.view(batch * candidates, horizon, -1)
        past = history.float()[:, None].expand(-1, candidates, -1, -1).reshape(batch * candidates, self.history, self.latent)
        window = list(past.unbind(1))
        latents = []
        for k in range(horizon):
            hidden = torch.addmm(from_actions[:, k], torch.cat(window, dim=1).to(dtype), by_latent.t())
            for layer in rest:
                hidden = layer(hidden)
            latents.append(window[-1] + hidden.float())
            window = [*window[1:], latents[-1]]
        return torch.stack(latents, dim=1).view(batch, candidates, horizon, self.latent)
