"""Costs of predicted trajectories: how far from the goal, in the latent space or in steps.

Dimensions: B batch, K candidates, H horizon, A action, D latent. Every cost maps a trajectory (B, K, H, D) and actions
(B, K, H, A) to (B, K); lower is better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Cost, LeastSquares


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LatentDistance:
    """Squared Euclidean distance to the goal's latent, summed over the horizon.

    Attributes:
        goal: Latent of the goal, (B, D).
    """

    goal: Tensor

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return (trajectory - self.goal[:, None, None]).square().sum((-2, -1))

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.LeastSquares`."""
        return (trajectory - self.goal[:, None, None]).flatten(2)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TerminalLatentDistance:
    """Squared Euclidean distance of the last latent to the goal's.

    Attributes:
        goal: Latent of the goal, (B, D).
    """

    goal: Tensor

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return (trajectory[:, :, -1] - self.goal[:, None]).square().sum(-1)

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.LeastSquares`."""
        return trajectory[:, :, -1] - self.goal[:, None]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TemporalDistance:
    """Learned number of steps to the goal, summed over the horizon.

    Attributes:
        distance: Steps to go from latents (..., D) to goals (..., D), broadcast against each other, as (...).
        goal: Latent of the goal, (B, D).
        terminal_weight: How often the last step counts on top of its place in the sum.
        stride: Looks at every so many moments, counted back from the last one, each of which then stands for that many.
    """

    distance: Callable[[Tensor, Tensor], Tensor]
    goal: Tensor
    terminal_weight: float = 0.0
    stride: int = 1

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        looks = trajectory[:, :, (trajectory.shape[2] - 1) % self.stride :: self.stride]
        steps = self.distance(looks, self.goal[:, None, None])
        cost = self.stride * steps.sum(-1)
        return cost + self.terminal_weight * steps[..., -1] if self.terminal_weight else cost


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class EverySecond:
    """A distance along trajectories that is asked for at every second moment, the last one among them, and lies half way in between.

    For distances that change smoothly from step to step, where to ask is most of what a plan costs.

    Attributes:
        distance: Steps to go from latents (..., D) to goals (..., D), broadcast against each other, as (...).
    """

    distance: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, trajectory: Tensor, goal: Tensor) -> Tensor:
        """Trajectories (B, K, H, D) and goals (B, 1, 1, D) -> (B, K, H). Of an even number the first one counts as the second."""
        horizon = trajectory.shape[2]
        asked = self.distance(trajectory[:, :, (horizon - 1) % 2 :: 2], goal)
        between = torch.stack((asked[..., :-1], asked[..., :-1].lerp(asked[..., 1:], 0.5)), dim=-1).flatten(-2)
        found = torch.cat((between, asked[..., -1:]), dim=-1)
        return found if horizon % 2 else torch.cat((asked[..., :1], found), dim=-1)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FirstArrival:
    """Learned number of steps to the goal at the best moment of the horizon: how near does this way come at all?

    Unlike a sum it does not mind a detour, such as the way to a door that first leads away from the goal.

    Attributes:
        distance: Steps to go from latents (..., D) to goals (..., D), broadcast against each other, as (...).
        goal: Latent of the goal, (B, D).
        stride: Looks at every so many moments, counted back from the last one; a look costs more than a step of the model.
        near: Steps to go, from the next moment on, within which staying counts: the cost is then the mean over the next moments.
        settle: How many moments that mean is over. A few: errors of the model far ahead would outweigh the last step to the goal.
    """

    distance: Callable[[Tensor, Tensor], Tensor]
    goal: Tensor
    stride: int = 1
    near: float = 0.0
    settle: int = 12

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        if not trajectory.is_cpu:
            return self.everywhere(trajectory)
        looks, is_near = self._looked(trajectory)
        cost, near = looks.amin(-1), is_near.nonzero()[:, 0]
        if len(near):
            soon = self._soon(trajectory[near], looks[near], near).mean(-1)
            cost = cost.index_copy(0, near, soon)  # not in place: the gradient of `amin` needs what it returned
        return cost

    def everywhere(self, trajectory: Tensor) -> Tensor:
        """The same cost, with both looks taken at every machine: to ask an accelerator which ones are near would be to wait for it."""
        looks, is_near = self._looked(trajectory)
        return torch.where(is_near[:, None], self._soon(trajectory, looks).mean(-1), looks.amin(-1))

    def _looked(self, trajectory: Tensor) -> tuple[Tensor, Tensor]:
        """Steps to go at the moments that are looked at, (B, K, L), and at which machines the goal is near, (B,) bool."""
        looks = self._at(trajectory[:, :, (trajectory.shape[2] - 1) % self.stride :: self.stride])
        # A look is most of what a plan costs: where all moments are looked at, nobody looks twice.
        first = looks[:, :, 0] if self.stride == 1 else self._at(trajectory[:, :, 0])
        return looks, first.amin(-1) < self.near

    def _soon(self, trajectory: Tensor, looks: Tensor, rows: Tensor | None = None) -> Tensor:
        """Steps to go at the moments that count where the goal is near, of these machines; None for all of them."""
        if self.stride == 1:
            return looks[:, :, : self.settle : 2]
        return self._at(trajectory[:, :, : self.settle : 2], rows)

    def _at(self, latents: Tensor, rows: Tensor | None = None) -> Tensor:
        """Steps to go from latents (B, ..., D) of these machines; None for all of them."""
        goal = self.goal if rows is None else self.goal[rows]
        return self.distance(latents, goal.view(len(goal), *(1,) * (latents.ndim - 2), -1))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ActionEffort:
    """Squared actions over their scale, summed over the horizon and the elements.

    Attributes:
        scale: What counts as one, per action element, physical units, (A,).
    """

    scale: Tensor

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        return (actions / self.scale).square().sum((-2, -1))

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.LeastSquares`."""
        return (actions / self.scale).flatten(2)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedSum:
    """Several costs at once.

    Attributes:
        terms: Weight and cost of each term.

    Raises:
        ValueError: There is no term.
    """

    terms: tuple[tuple[float, Cost], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a weighted sum needs at least one term")

    def __call__(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        (weight, first), *others = self.terms
        total = weight * first(trajectory, actions)
        for weight, cost in others:
            total = torch.add(total, cost(trajectory, actions), alpha=weight)
        return total

    def residuals(self, trajectory: Tensor, actions: Tensor) -> Tensor:
        """See `tacit.contracts.LeastSquares`; of the terms that have some."""
        found = [w**0.5 * cost.residuals(trajectory, actions) for w, cost in self.terms if w > 0 and isinstance(cost, LeastSquares)]
        return torch.cat(found, -1) if found else trajectory.new_zeros((*trajectory.shape[:2], 0))
