"""Processes small enough to solve on paper, and models of them that are wrong: levels that pumps fill and that run out by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.planning import (
    Controller,
    Goal,
    SignalGoal,
    Task,
    for_signals,
    output_disturbance,
    planner_for,
    signal_objective,
    state_limits,
)
from tacit.signals import Role, Schema, Signal, mask_of

LEVELS = tuple(Signal(name=f"level_{n}", role=Role.OBSERVATION, unit="cm", low=-50.0, high=50.0) for n in (1, 2))
SCHEMA = Schema(
    signals=(
        LEVELS[0],
        mask_of(LEVELS[0]),
        LEVELS[1],
        *(Signal(name=f"pump_{n}", role=Role.ACTION, unit="V", low=-10.0, high=10.0) for n in (1, 2)),
        Signal(name="weather", role=Role.LABEL, unit="K"),
    ),
    period=2.0,
)
DECAY, GAIN = 0.9, 0.5


@dataclass(kw_only=True)
class Tanks:
    """Levels z' = 0.9 z + gain * a; the latent is what is measured."""

    gain: float = GAIN
    schema: Schema = SCHEMA
    latent_size: int = 2
    history: int = 1

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        first = torch.where(observations["level_1.valid"], observations["level_1"], torch.nan)
        return torch.stack((first, observations["level_2"]), -1).float()

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        return DECAY * history[:, -1] + self.gain * action

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        state, states = history[:, None, -1].expand(-1, actions.shape[1], -1), []
        for action in actions.unbind(2):
            state = DECAY * state + self.gain * action
            states.append(state)
        return torch.stack(states, 2)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Shows some elements of the latent as they are."""

    names: tuple[str, ...]
    start: int
    unit: str = "cm"

    def __call__(self, latent: Tensor) -> Tensor:
        return latent[..., self.start : self.start + len(self.names)]


READOUTS = {"level_1": Part(names=("level_1",), start=0), "level_2": Part(names=("level_2",), start=1)}
SPREADS = {"level_1": 2.0, "level_2": 4.0}


def hold(first: float, second: float, **fields: object) -> Task:
    """Both levels at setpoints."""
    settings = fields.pop("plan", for_signals(horizon=10))
    goal = Goal(signals={"level_1": SignalGoal(value=first), "level_2": SignalGoal(value=second)})
    return Task(goal=goal, plan=settings, **fields)  # type: ignore[arg-type]


def controller(task: Task, model: Tanks | None = None, seed: int = 0) -> Controller:
    """As a run makes them."""
    model = model or Tanks()
    return Controller(
        model=model,
        planner=planner_for(model, task.plan, seed=seed),
        cost_for=lambda goal: None,  # type: ignore[arg-type,return-value]
        task=task,
        limits=state_limits(task, READOUTS, {}),
        objective=signal_objective(task, SCHEMA, READOUTS, SPREADS),
        disturbance=output_disturbance(task, model, READOUTS),
    )


@dataclass(kw_only=True)
class Site:
    """The true levels, with what nobody measures."""

    state: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    inflow: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def apply(self, action: NDArray[np.float32]) -> None:
        self.state = DECAY * self.state + GAIN * action + self.inflow

    def seen(self) -> dict[str, NDArray[np.float64]]:
        return {"level_1": self.state[0], "level_2": self.state[1]}  # type: ignore[dict-item]
