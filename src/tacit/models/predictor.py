"""The world model proper: latest latents and an action -> next latent.

A residual MLP: enough for small worlds and several times faster to roll out than attention. A latent is a state, which is predicted,
and a context, which is taken to stay as it was last seen. Dimensions: h history, D latent = S state + C context, A action,
K candidates, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        """Roll candidates out together: the same numbers as `forward` step by step.

        Args:
            history: (B, h, D), shared by the candidates.
            actions: Standardised, (B, K, H, A).

        Returns:
            Predicted latents, (B, K, H, D), float32. The running state stays in float32; products are in the weights' dtype.
        """
        if torch.is_grad_enabled():
            return self._unrolled(history, actions)
        return self._unrolled_in_place(history, actions)

    def _unrolled(self, history: Tensor, actions: Tensor) -> Tensor:
        """`unroll` for training: every step is kept for the gradient."""
        batch, candidates, horizon, size = actions.shape
        dtype = self._layers()[0].weight.dtype
        # One row per candidate, and steps first, so that every step reads and writes whole blocks of memory.
        rows = history.float()[:, None].expand(-1, candidates, -1, -1).reshape(batch * candidates, self.history, -1)
        window, context = list(rows[..., : self.state].unbind(1)), rows[:, -1, self.state :]
        steps = actions.to(dtype).reshape(batch * candidates, horizon, size).transpose(0, 1).contiguous()
        held = context.to(dtype)
        states = []
        for action in steps:
            change: Tensor = self.network(torch.cat((*(state.to(dtype) for state in window), held, action), dim=1))
            states.append(window[-1] + change.float())
            window = [*window[1:], states[-1]]
        future = torch.stack(states, dim=1).view(batch, candidates, horizon, self.state)
        return torch.cat((future, history[:, None, None, -1, self.state :].float().expand(-1, candidates, horizon, -1)), dim=-1)

    def _unrolled_in_place(self, history: Tensor, actions: Tensor) -> Tensor:
        """`unroll` for planning: the same products, in buffers that every step uses again. Half of a small step was their making."""
        batch, candidates, horizon, size = actions.shape
        rows, seen = batch * candidates, self.history * self.state
        layers = self._layers()
        first = layers[0]
        latent = history.new_empty((batch, candidates, horizon, history.shape[-1]), dtype=torch.float32)
        latent[..., self.state :] = history[:, None, None, -1, self.state :]
        future = latent.view(rows, horizon, -1)[..., : self.state]
        # Columns of the network's input: the window's states, oldest first, the context, the action.
        x = first.weight.new_empty((batch, candidates, first.in_features))
        x[..., :seen] = history[:, None, :, : self.state].flatten(-2)
        x[..., seen:-size] = history[:, None, -1, self.state :]
        x = x.view(rows, -1)
        state = history[:, None, -1, : self.state].float().repeat(1, candidates, 1).view(rows, -1)
        hidden = [x.new_empty((rows, layer.out_features)) for layer in layers]
        for t, action in enumerate(actions.reshape(rows, horizon, size).to(x.dtype).unbind(1)):
            x[:, -size:] = action
            before = x
            for layer, after in zip(layers, hidden, strict=True):
                torch.addmm(layer.bias, before, layer.weight.t(), out=after)
                before = after if layer is layers[-1] else after.relu_()
            state += before
            x[:, : seen - self.state] = x[:, self.state : seen].clone()
            x[:, seen - self.state : seen] = state
            future[:, t] = state
        return latent

    def _layers(self) -> list[nn.Linear]:
        return [layer for layer in self.network if isinstance(layer, nn.Linear)]
