"""The world model proper: latest latents and an action -> next latent.

A residual MLP: enough for small worlds and several times faster to roll out than attention. A latent is a state, which is predicted,
and a context, which is taken to stay as it was last seen. Dimensions: h history, D latent = S state + C context, A action,
K candidates, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.nn import native
from tacit.nn.blocks import ResidualMLP, linear_layers, mlp, zero_last


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Settings of `ResidualPredictor`.

    Attributes:
        history: h, frames of latent history.
        width: Width of the hidden layers.
        depth: Number of hidden layers; or of residual blocks of two.
        leading: 0 for the network alone. Else add a linear map to it, most of what a process does near an operating point, and let the
            network see so many leading components of the inputs: what bends a process is where it is, not the small differences between
            the moments of a history that the linear map reads.
        residual: Residual blocks of normalised features instead of a plain network (`tacit.nn.blocks.ResidualMLP`).
    """

    history: int = 2
    width: int = 512
    depth: int = 2
    leading: int = 0
    residual: bool = False


REACH = 3.0  # standard deviations of a component of the inputs, beyond which a network beside a linear map sees no further


class Straight(nn.Module):
    """What a predictor that is linear at first has besides its network.

    Far from the logs the map goes on alone: what a network says of where it has hardly been is anything, and a plan that believed it has
    made a plant swing. So the network sees components as if they were at the end of their `REACH`.

    Args:
        inputs: M, states of the history, context and action, side by side.
        state: S.

    Attributes:
        lens: Turns the inputs into components that vary alike, the leading one first, (M, M); it is set, and not trained.
        spread: Unit of each state's change, (S,); it is set, and not trained.
    """

    spread: Tensor

    def __init__(self, inputs: int, state: int) -> None:
        super().__init__()
        self.lens = nn.Linear(inputs, inputs).requires_grad_(False)
        nn.init.eye_(self.lens.weight)
        nn.init.zeros_(self.lens.bias)
        self.map = nn.Linear(inputs, state)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.register_buffer("spread", torch.ones(state))

    def through(self, inputs: Tensor) -> Tensor:
        """Inputs (..., M) -> what is seen of them through the lens, (..., M)."""
        seen: Tensor = self.lens(inputs)
        return seen

    @staticmethod
    def near(seen: Tensor) -> Tensor:
        """What a network is shown of leading components (..., L): none is further from its mean than it reaches."""
        return seen.clamp(-REACH, REACH)

    @torch.no_grad()
    def set_lens(self, weight: Tensor, bias: Tensor) -> None:
        """Take over a lens, (M, M) and (M,)."""
        self.lens.weight.copy_(weight)
        self.lens.bias.copy_(bias)

    def forward(self, seen: Tensor) -> Tensor:
        """Inputs through the lens (..., M) -> changes in units of `spread`, (..., S)."""
        change: Tensor = self.map(seen)
        return change


@dataclass(frozen=True, kw_only=True, eq=False)
class Merged:
    """A predictor with a linear map and one hidden layer as few products. L leading components, W width, h history, S, C, A as below.

    Attributes:
        of_states: From the history's states to leading components and changes of the state, (h S, L + S).
        of_known: From context and action to the same, (C + A, L + S).
        bias: Of both, (L + S,).
        into: From leading components to the hidden layer, (L, W).
        into_bias: Of that, (W,).
        out_of: From the hidden layer to changes of the state, (W, S).
        versions: Of the weights that they were made of.
    """

    of_states: Tensor
    of_known: Tensor
    bias: Tensor
    into: Tensor
    into_bias: Tensor
    out_of: Tensor
    versions: tuple[int, ...]

    def layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """From all inputs to changes of the state and leading components; from these to the hidden layer; from there to changes."""
        leading = self.into.shape[0]
        first = torch.cat((self.of_states, self.of_known))
        none = self.bias.new_zeros(self.out_of.shape[1])
        return (
            _linear(first.roll(-leading, 1), self.bias.roll(-leading)),
            _linear(self.into, self.into_bias),
            _linear(self.out_of, none),
        )


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer of a weight (inputs, outputs) and a bias (outputs,)."""
    layer = nn.Linear(weight.shape[0], weight.shape[1], device="meta")
    layer.weight, layer.bias = (nn.Parameter(part.contiguous(), requires_grad=False) for part in (weight.t(), bias))
    return layer


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
        inputs = state * config.history + context + actions
        self.leading, self.width, self.depth = min(config.leading, inputs), config.width, config.depth
        self.residual = config.residual
        self.network = self._network(self.leading or inputs, config.width)
        self.straight: Straight | None = Straight(inputs, state) if config.leading else None
        self.packed: native.Network | None = None
        self.merged: Merged | None = None

    def _network(self, inputs: int, width: int) -> nn.Sequential:
        if self.residual:
            return zero_last(ResidualMLP(inputs, width, self.depth, self.state))
        return zero_last(mlp((inputs, *(width,) * self.depth, self.state)))

    def fresh(self, width: int) -> nn.Sequential:
        """A network of another width for the place of this one's, zero before training."""
        return self._network(self._layers()[0].in_features, width)

    def pack(self, dtype: torch.dtype) -> None:
        """From now on, plan with the present weights in C, with products of this dtype, where this machine can. One that is linear at
        first has its products merged, and keeps to float32: it lives from small differences of large numbers."""
        self.merged = merged = None if self.straight is None or not self._is_mergeable else self._merged(self.straight)
        if merged is not None:
            beside = native.Beside(leading=self.leading, reach=REACH)
            made_of = self._weights()
            self.packed = native.packed(lambda: native.Network(merged.layers(), torch.float32, beside=beside, made_of=made_of))
        elif self.straight is None:
            self.packed = native.packed(lambda: native.Network(self._layers(), dtype, residual=self.residual))
        else:
            self.packed = None

    @torch.no_grad()
    def keep(self, projection: Tensor) -> None:
        """From now on let through only a part of every change of the state: what a projection (S, S), float64, makes of it.

        Raises:
            ValueError: There is no linear map, whose changes it is that are known.
        """
        if self.straight is None:
            raise ValueError("changes of a predictor without a linear map are not projected")
        spread = self.straight.spread.double()
        through = projection * spread / spread[:, None]
        for layer in (self.straight.map, self._layers()[-1]):
            layer.weight.copy_(through @ layer.weight.double())
            layer.bias.copy_(through @ layer.bias.double())

    def forward(self, history: Tensor, action: Tensor) -> Tensor:
        """Latents (..., h, D), oldest first, and standardised actions (..., A) -> next latents (..., D)."""
        newest = history[..., -1, :]
        context = newest[..., self.state :]
        change = self.change(torch.cat((history[..., : self.state].flatten(-2), context, action), dim=-1))
        return torch.cat((newest[..., : self.state] + change, context), dim=-1)

    def change(self, inputs: Tensor) -> Tensor:
        """States of the history, context and action, side by side, -> change of the state (..., S)."""
        if self.straight is None:
            change: Tensor = self.network(inputs)
            return change
        seen = self.straight.through(inputs)
        bent: Tensor = self.straight.spread * (self.bend(seen) + self.straight(seen))
        return bent

    def bend(self, seen: Tensor) -> Tensor:
        """What is seen of the inputs through the lens (..., M) -> what the network adds to the map, (..., S)."""
        bent: Tensor = self.network(Straight.near(seen[..., : self.leading]))
        return bent

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
        if self.packed is not None and self.packed.answers(history, actions):
            return native.unroll(self.packed, history, actions, self.state)
        if self.straight is not None and self._is_mergeable:
            return self._unrolled_straight(self.straight, history, actions)
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
            change = self.change(torch.cat((*(state.to(dtype) for state in window), held, action), dim=1))
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
        x = first.weight.new_empty((batch, candidates, seen + self.context + size))
        x[..., :seen] = history[:, None, :, : self.state].flatten(-2)
        x[..., seen:-size] = history[:, None, -1, self.state :]
        x = x.view(rows, -1)
        state = history[:, None, -1, : self.state].float().repeat(1, candidates, 1).view(rows, -1)
        hidden = [] if self.residual else [x.new_empty((rows, layer.out_features)) for layer in layers]
        straight = self.straight
        for t, action in enumerate(actions.reshape(rows, horizon, size).to(x.dtype).unbind(1)):
            x[:, -size:] = action
            through = x if straight is None else straight.through(x)
            before = through if straight is None else straight.near(through[:, : self.leading])
            if self.residual:
                before = self.network(before)
            else:
                for layer, after in zip(layers, hidden, strict=True):
                    torch.addmm(layer.bias, before, layer.weight.t(), out=after)
                    before = after if layer is layers[-1] else after.relu_()
            state += before if straight is None else straight.spread * (before + straight(through))
            x[:, : seen - self.state] = x[:, self.state : seen].clone()
            x[:, seen - self.state : seen] = state
            future[:, t] = state
        return latent

    def _unrolled_straight(self, straight: Straight, history: Tensor, actions: Tensor) -> Tensor:
        """`unroll` for planning with a linear map and one hidden layer: what actions and context come to is known for all steps before the
        first. A step then takes six operations, of which a small plan feels each."""
        merged = self.merged
        if merged is None or merged.into.device != history.device or merged.versions != self._versions():
            merged = self._merged(straight)
        batch, candidates, horizon, _ = actions.shape
        rows, seen, leading = batch * candidates, self.history * self.state, self.leading
        held = history[:, None, None, -1, self.state :].float().expand(-1, candidates, horizon, -1)
        known = torch.cat((held, actions.float()), dim=-1).view(rows, horizon, -1).transpose(0, 1)
        ahead = known @ merged.of_known + merged.bias
        # The states of a row, the history's first, side by side: a window of them is what a step looks at.
        path = history.new_empty((batch, candidates, seen + horizon * self.state), dtype=torch.float32)
        path[..., :seen] = history[:, None, :, : self.state].flatten(-2)
        path = path.view(rows, -1)
        for t, through in enumerate(ahead):
            start, end = t * self.state, t * self.state + seen
            through.addmm_(path[:, start:end], merged.of_states)
            features = torch.addmm(merged.into_bias, straight.near(through[:, :leading]), merged.into).relu_()
            change = torch.addmm(through[:, leading:], features, merged.out_of)
            torch.add(path[:, end - self.state : end], change, out=path[:, end : end + self.state])
        future = path[:, seen:].view(batch, candidates, horizon, self.state)
        return torch.cat((future, held), dim=-1)

    @torch.no_grad()
    def _merged(self, straight: Straight) -> Merged:
        """The present weights as few products, which are made in float64."""
        (first, last), seen = self._layers(), self.history * self.state
        lens, bias, spread = straight.lens.weight.double(), straight.lens.bias.double(), straight.spread.double()[:, None]
        onto = spread * straight.map.weight.double()
        product = torch.cat((lens[: self.leading], onto @ lens)).float().t()
        drift = onto @ bias + spread[:, 0] * (straight.map.bias + last.bias)
        return Merged(
            of_states=product[:seen].contiguous(),
            of_known=product[seen:].contiguous(),
            bias=torch.cat((bias[: self.leading], drift)).float(),
            into=first.weight.float().t().contiguous(),
            into_bias=first.bias.float(),
            out_of=(spread * last.weight.double()).float().t().contiguous(),
            versions=self._versions(),
        )

    def _weights(self) -> list[Tensor]:
        return [*self.parameters(), *self.buffers()]

    def _versions(self) -> tuple[int, ...]:
        """How often each weight has been changed; weights of inference mode do not count that."""
        return tuple(-1 if weight.is_inference() else weight._version for weight in self._weights())

    @property
    def _is_mergeable(self) -> bool:
        return self.depth == 1 and not self.residual

    def _layers(self) -> list[nn.Linear]:
        return linear_layers(self.network)
