"""Candidate action sequences, rolled out and scored: what every planner ranks.

Dimensions: B batch, K candidates, N picked candidates, H horizon, A action, D latent, C constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Plan, Problem, Spent, WorldModel


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """Action sequences with what the model and the problem say of them.

    Attributes:
        actions: (B, K, H, A), inside the action limits.
        trajectory: Predicted latents, (B, K, H, D).
        cost: (B, K), with what broken soft limits add; +inf where the prediction, the cost or a margin is not a finite number.
        violation: (B, K), summed shortfall of the hard limits; 0 is feasible; +inf where `cost` is.
        margins: (B, K, C), one column per limit of the problem.
    """

    actions: Tensor
    trajectory: Tensor
    cost: Tensor
    violation: Tensor
    margins: Tensor

    def ranked(self) -> Tensor:
        """Indices (B, K), best first: feasible ones by cost, then infeasible ones by violation, then those without a finite cost."""
        by_cost = self.cost.argsort(dim=1)
        if self.margins.shape[-1] == 0:
            return by_cost
        return by_cost.gather(1, self.violation.gather(1, by_cost).argsort(dim=1, stable=True))

    def at(self, index: Tensor) -> Candidates:
        """The candidates at `index` (B, N)."""
        rows = torch.arange(len(index), device=index.device)[:, None]
        return Candidates(
            actions=self.actions[rows, index],
            trajectory=self.trajectory[rows, index],
            cost=self.cost[rows, index],
            violation=self.violation[rows, index],
            margins=self.margins[rows, index],
        )

    def part(self, start: int, end: int | None = None) -> Candidates:
        """The candidates from `start` to before `end`, in their order."""
        return Candidates(
            actions=self.actions[:, start:end],
            trajectory=self.trajectory[:, start:end],
            cost=self.cost[:, start:end],
            violation=self.violation[:, start:end],
            margins=self.margins[:, start:end],
        )

    def best(self) -> Candidates:
        """The best one per batch element (K = 1)."""
        return self.at(self.ranked()[:, :1])

    def beside(self, other: Candidates) -> Candidates:
        """These candidates and then the others, along K."""
        return Candidates(
            actions=torch.cat((self.actions, other.actions), 1),
            trajectory=torch.cat((self.trajectory, other.trajectory), 1),
            cost=torch.cat((self.cost, other.cost), 1),
            violation=torch.cat((self.violation, other.violation), 1),
            margins=torch.cat((self.margins, other.margins), 1),
        )

    def detached(self) -> Candidates:
        """The same numbers, cut off from the graph that computed them."""
        return Candidates(
            actions=self.actions.detach(),
            trajectory=self.trajectory.detach(),
            cost=self.cost.detach(),
            violation=self.violation.detach(),
            margins=self.margins.detach(),
        )

    def improved_by(self, other: Candidates) -> Candidates:
        """The better one of two single candidates (K = 1) per batch element; these ones where neither is."""
        better = (other.violation < self.violation) | ((other.violation == self.violation) & (other.cost < self.cost))
        return Candidates(
            actions=torch.where(better[..., None, None], other.actions, self.actions),
            trajectory=torch.where(better[..., None, None], other.trajectory, self.trajectory),
            cost=torch.where(better, other.cost, self.cost),
            violation=torch.where(better, other.violation, self.violation),
            margins=torch.where(better[..., None], other.margins, self.margins),
        )

    def as_plan(self, spent: Spent) -> Plan:
        """A single candidate (K = 1) as a plan."""
        return Plan(
            actions=self.actions[:, 0],
            trajectory=self.trajectory[:, 0],
            cost=self.cost[:, 0],
            margins=self.margins[:, 0],
            feasible=self.violation[:, 0] == 0,
            spent=spent,
        )


def scored(model: WorldModel, problem: Problem, proposals: Tensor, soft_weight: float) -> Candidates:
    """Roll proposals out and score exactly what would be applied.

    Args:
        model: Predicts what actions do.
        problem: Costs and limits.
        proposals: Action sequences (B, K, H, A), physical units; moved inside the action limits first.
        soft_weight: Cost of a shortfall of 1 in a soft limit's margin.

    Returns:
        The candidates, in the order of the proposals.
    """
    return judged(model, problem, problem.inside(proposals), soft_weight)


def judged(model: WorldModel, problem: Problem, actions: Tensor, soft_weight: float) -> Candidates:
    """Roll actions out and score them as they are: what `scored` does after moving them inside the limits.

    Args:
        model: Predicts what actions do.
        problem: Costs and limits.
        actions: Action sequences (B, K, H, A), physical units, inside the action limits.
        soft_weight: Cost of a shortfall of 1 in a soft limit's margin.

    Returns:
        The candidates, in the order of the actions; differentiable where gradients are enabled.

    Raises:
        ValueError: The model, the cost or a limit answers in another shape than the contract says.
    """
    trajectory = model.rollout(problem.history, actions)
    _check_shape("the model's rollout", trajectory, (*actions.shape[:3], problem.history.shape[-1]))
    cost = problem.cost(trajectory, actions).float()
    _check_shape("the cost", cost, actions.shape[:2])
    violation, margins = torch.zeros_like(cost), []
    for limit in problem.limits:
        margin = limit(trajectory, actions).float()
        _check_shape(f"the margin of {limit.name!r}", margin, actions.shape[:2])
        shortfall = margin.clamp(max=0).neg()
        if limit.hard:
            violation = violation + shortfall
        else:
            cost = cost + soft_weight * limit.priority * shortfall
        margins.append(margin)
    # Whatever is NaN or infinite is not below infinity. A NaN margin makes `violation` or `cost` NaN; a violation of +inf stays what it is,
    # the worst there is.
    finite = torch.maximum(cost.abs(), trajectory.abs().amax((-2, -1))) < torch.inf
    if margins:
        finite &= ~violation.isnan()
    return Candidates(
        actions=actions,
        trajectory=trajectory,
        cost=torch.where(finite, cost, torch.inf),
        violation=torch.where(finite, violation, torch.inf),
        margins=torch.stack(margins, -1) if margins else cost.new_zeros((*cost.shape, 0)),
    )


def _check_shape(what: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ValueError(f"{what} has shape {tuple(value.shape)} instead of {tuple(shape)}")
