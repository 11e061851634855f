"""Worlds small enough to solve on paper: linear dynamics, the latent is the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tacit.contracts import Cost, Limit, Problem
from tacit.planning import BoxLimits
from tacit.signals import Role, Schema, Signal

POINT_SCHEMA = Schema(
    signals=(
        Signal(name="state", role=Role.OBSERVATION, shape=(2,), unit="m"),
        Signal(name="velocity", role=Role.ACTION, shape=(2,), unit="m/s", low=-1.0, high=1.0),
        Signal(name="position", role=Role.LABEL, shape=(2,), unit="m"),
    )
)


@dataclass(kw_only=True)
class LinearWorld:
    """z' = F z + G a, observed as it is. Counts what it is asked."""

    dynamics: Tensor = field(default_factory=lambda: torch.eye(2))
    effect: Tensor = field(default_factory=lambda: 0.1 * torch.eye(2))
    history: int = 1
    schema: Schema = POINT_SCHEMA
    encoded: list[Tensor] = field(default_factory=list)
    rolled: list[Tensor] = field(default_factory=list)
    histories: list[Tensor] = field(default_factory=list)

    @property
    def latent_size(self) -> int:
        return len(self.dynamics)

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        self.encoded.append(observations["state"])
        return observations["state"]

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        assert history.shape[1] == self.history
        return history[:, -1] @ self.dynamics.T + action @ self.effect.T

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        self.rolled.append(actions.clone())
        self.histories.append(history.clone())
        state = history[:, None, -1].expand(-1, actions.shape[1], -1)
        states = []
        for action in actions.unbind(2):
            state = state @ self.dynamics.T + action @ self.effect.T
            states.append(state)
        return torch.stack(states, 2)


@dataclass(kw_only=True)
class Altered(LinearWorld):
    """A linear world whose predictions are changed afterwards, for rollouts only."""

    change: Callable[[Tensor, Tensor], Tensor]

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return self.change(super().rollout(history, actions), actions)


@dataclass(frozen=True, kw_only=True)
class Below:
    """Element 0 of every predicted latent stays at or below a bound."""

    bound: float
    hard: bool = True
    unit: str = "m"
    confidence: float | None = None
    priority: float = 1.0
    name: str = "ceiling"

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return self.bound - trajectory[..., 0].amax(-1)


def box(size: int = 2, bound: float = 1.0) -> BoxLimits:
    return BoxLimits(low=torch.full((size,), -bound), high=torch.full((size,), bound))


def problem(history: Tensor, cost: Cost, *, bound: float = 1.0, horizon: int = 8, limits: tuple[Limit, ...] = (), size: int = 2) -> Problem:
    return Problem(
        history=history,
        previous=torch.zeros(len(history), size),
        cost=cost,
        action_limits=box(size, bound),
        limits=limits,
        horizon=horizon,
    )
