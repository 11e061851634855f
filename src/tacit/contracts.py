"""The seams between the rooms: what a planner knows of a model, a cost and a limit, and nothing more.

Dimensions: B batch, T time, h history, K candidates, H horizon, A action, D latent, C constraints. Actions are in physical
units on this side of every seam; a model normalises inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tacit.signals import Schema


@runtime_checkable
class WorldModel(Protocol):
    """Encodes observations and predicts what actions do, in latent space."""

    @property
    def schema(self) -> Schema:
        """Signals the model knows; never a label."""

    @property
    def latent_size(self) -> int:
        """D."""

    @property
    def history(self) -> int:
        """h: how many latest latents `step` and `rollout` look at."""

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        """Observations and disturbances by signal name, each (B, T, *shape) as logged, and the actions applied before each of them
        (B, T, A), not finite where unknown, -> latents (B, T, D)."""

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        """Latents (B, h, D), oldest first, and the action (B, A) taken now -> next latent (B, D)."""

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        """Latents (B, h, D) and candidate actions (B, K, H, A) -> predicted latents (B, K, H, D)."""


@runtime_checkable
class TellsDisturbances(Protocol):
    """A world model that knows which part of a latent are disturbances that are measured."""

    def as_measured(self, latents: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        """Predicted latents of a moment (B, K, D) with the disturbances that were measured then in the place of those that were predicted;
        what is seen by signal name, each (B, *shape), with masks. What was not measured stays as it was predicted."""


@runtime_checkable
class Cost(Protocol):
    """Scores predicted trajectories; lower is better."""

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """Predicted latents (B, K, H, D) and actions (B, K, H, A) -> cost (B, K)."""


@runtime_checkable
class LeastSquares(Cost, Protocol):
    """A cost that is a sum of squares, and perhaps of something that is nearly linear besides: what a Newton step needs to know of it."""

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """Predicted latents (B, K, H, D) and actions (B, K, H, A) -> numbers whose squares are summed in the cost, (B, K, R)."""


@runtime_checkable
class Limit(Protocol):
    """A condition on predicted trajectories; a margin >= 0 satisfies it."""

    @property
    def name(self) -> str:
        """How a person calls the limit."""

    @property
    def hard(self) -> bool:
        """True when a plan that breaks it is infeasible; False when it only adds to the cost."""

    @property
    def unit(self) -> str:
        """Of the margin."""

    @property
    def confidence(self) -> float | None:
        """Of the interval that the margin already allows for; None when it allows for nothing."""

    @property
    def priority(self) -> float:
        """How much a shortfall of a soft limit counts beside that of another one."""

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """Predicted latents (B, K, H, D) and actions (B, K, H, A) -> margin (B, K)."""


@runtime_checkable
class Stepwise(Limit, Protocol):
    """A limit whose margin is the least of those of the steps."""

    def margins(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """Predicted latents (B, K, H, D) and actions (B, K, H, A) -> margin of each step (B, K, H)."""


@runtime_checkable
class ActionLimits(Protocol):
    """Limits that hold by construction: candidates are moved inside before they are scored."""

    @property
    def low(self) -> Tensor:
        """Lower bounds (A,)."""

    @property
    def high(self) -> Tensor:
        """Upper bounds (A,)."""

    def project(self, actions: Tensor, previous: Tensor, earlier: Tensor | None = None) -> Tensor:
        """Candidates (B, K, H, A) and the last two applied actions (B, A) -> candidates inside every limit, (B, K, H, A)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a planner is asked.

    Attributes:
        history: Encoded latest latents, (B, h, D), oldest first.
        previous: Action applied last, (B, A), physical units.
        cost: Score of predicted trajectories.
        action_limits: Limits that hold by construction.
        limits: Limits that are checked on the prediction.
        horizon: H, number of actions to plan.
        earlier: Action applied before `previous`, (B, A), physical units; None for the same one: the machine was at rest.
        proposals: Action sequences worth trying first, (B, P, H, A), physical units: what a policy or the logs would do. None for none.
        hold_for: So many actions in a row are the same, except where a limit on how fast they change needs more steps (move blocking).
    """

    history: Tensor
    previous: Tensor
    cost: Cost
    action_limits: ActionLimits
    limits: tuple[Limit, ...] = ()
    horizon: int
    earlier: Tensor | None = None
    proposals: Tensor | None = None
    hold_for: int = 1

    def inside(self, actions: Tensor) -> Tensor:
        """Candidates (B, K, H, A), held and moved inside the action limits."""
        if self.hold_for > 1:
            blocks = torch.stack([block.mean(2) for block in torch.split(actions, self.hold_for, dim=2)], dim=2)
            actions = blocks.repeat_interleave(self.hold_for, dim=2)[:, :, : self.horizon]
        return self.action_limits.project(actions, self.previous, self.earlier)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a plan took: wall seconds, refinement iterations, candidate rollouts per batch element, and whether the deadline cut it."""

    seconds: float
    iterations: int
    candidates: int
    cut_by_deadline: bool


Deadline = float | Spent
"""When a search ends: at a `time.perf_counter()` value, or where a search that is repeated did, whatever the clock says now."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The best plan found.

    Attributes:
        actions: (B, H, A), physical units, inside the action limits.
        trajectory: Predicted latents under `actions`, (B, H, D).
        cost: (B,); +inf where no candidate had a finite prediction.
        margins: (B, C), one column per limit of the problem, in its order.
        feasible: (B,) bool: the prediction is finite and every hard limit holds. Where False, `actions` must not be applied.
        spent: What it took.
    """

    actions: Tensor
    trajectory: Tensor
    cost: Tensor
    margins: Tensor
    feasible: Tensor
    spent: Spent


@runtime_checkable
class Proposal(Protocol):
    """Suggests action sequences without searching: fast, often right, and never trusted unverified."""

    def __call__(self, history: Tensor, horizon: int, count: int, generator: torch.Generator) -> Tensor:
        """Latest latents (B, h, D) -> `count` action sequences (B, P, H, A), physical units, the most likely one first."""


@runtime_checkable
class Planner(Protocol):
    """Searches action sequences through a world model."""

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Find a low-cost action sequence inside the limits.

        Args:
            problem: What is asked.
            warm_start: A first guess (B, H, A), physical units, usually the last plan shifted by what was applied.
            deadline: When the best plan so far is returned: a `time.perf_counter()` value, or what a plan that is made again took.
        """
