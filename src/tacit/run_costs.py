"""Costs of plans by what a run has learned: how far predicted latents are from a goal's. Dimensions: B batch, D latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from tacit.contracts import Cost
from tacit.models.ensemble import Distance, MeanDistance
from tacit.planning import EverySecond, FirstArrival, LatentDistance, TemporalDistance, WeightedSum

LATENT_STEPS = 5.0  # that a squared latent distance of one counts as, where things are pushed
THERE = 1.5  # of both together, is there: of pairs of logged moments of `push_t` so near, 99.7 % are within the tolerance


def temporal_cost(distance: Distance, goal: Tensor) -> Cost:
    """Learned steps to the goal's latent (B, D), summed over the horizon."""
    return TemporalDistance(distance=distance, goal=goal)


def arrival_cost(distance: Distance, goal: Tensor) -> Cost:
    """Learned steps to the goal's latent (B, D) at the best moment of the horizon: for long horizons."""
    return FirstArrival(distance=distance, goal=goal, stride=5, near=4.0)


def touching_cost(distance: Distance, goal: Tensor) -> Cost:
    """Learned steps plus squared latent distance to the goal's latent (B, D), at the best moment of all: for things that are pushed.

    A push that goes wrong after the goal is of no harm to one that reached it. Only of what is there by now is it asked to stay.

    Several models are asked for their steps at every second moment, and their latents, which tell the last bit, are compared at all.
    """
    steps = EverySecond(distance=distance) if isinstance(distance, MeanDistance) else distance

    def apart(latents: Tensor, goal: Tensor) -> Tensor:
        found: Tensor = steps(latents, goal)
        return found + LATENT_STEPS * (latents - goal).square().sum(-1)

    return FirstArrival(distance=apart, goal=goal, near=THERE)


def reaching_cost(distance: Distance, goal: Tensor) -> Cost:
    """Squared latent distance to the goal's latent (B, D) plus the learned steps, summed over the horizon: for goals that the logs know a
    way to. The steps show the way from afar, and the latents tell the last bit better."""
    far = TemporalDistance(distance=distance, goal=goal, stride=5)
    return WeightedSum(terms=((1.0, LatentDistance(goal=goal)), (1.0, far)))


def latent_cost(distance: Distance, goal: Tensor) -> Cost:
    """Squared latent distance to the goal's latent (B, D), summed over the horizon: the ablation."""
    return LatentDistance(goal=goal)


def steps_to(distance: Distance, goal: Tensor) -> Callable[[Tensor], Tensor]:
    """The learned steps from latents (B, D) to the goal's latent (B, D) or (1, D), as a function of the former."""
    there = distance.embed(goal)
    return lambda latent: distance.between(distance.embed(latent), there)


COSTS: Mapping[str, Callable[[Distance, Tensor], Cost]] = {
    cost.__name__: cost for cost in (arrival_cost, touching_cost, temporal_cost, reaching_cost, latent_cost)
}
"""A run's costs, by the names that a session has for them."""
