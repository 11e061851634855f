"""MPPI: the mean of many action sequences, weighted by how little they cost.

Dimensions: B batch, K candidates, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import Rounds, Search, SearchConfig, first_guess, with_proposals


@dataclass(frozen=True, kw_only=True)
class MPPIConfig(SearchConfig):
    """Settings of the search.

    Attributes:
        shrink: What is left of the noise's standard deviation at each later iteration, above 0 and at most 1.
        temperature: What costs are divided by, in standard deviations of the candidates' costs. Near 0 only the best one counts; when
            large, all count alike.
    """

    shrink: float = 0.8
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.shrink <= 1:
            raise ValueError(f"shrink must be above 0 and at most 1, but is {self.shrink}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, but is {self.temperature}")


@final
class MPPI(Search[MPPIConfig]):
    """Model predictive path integral control (Williams et al., 2015, arXiv 1509.01149), for a batch of independent problems.

    The weights are those of the paper's path integral, `exp(-cost / temperature)` over their sum, of costs that are shifted to a least
    one of 0 and divided by their standard deviation: what a cost is measured in does not matter. Candidates that break a hard limit
    have no weight as long as one keeps them all; until then the broken amount is their cost. The paper's term for the effort of the
    noise is left out: give the problem a cost for effort instead. The noise shrinks from one iteration to the next.

    The mean is the first candidate of every iteration, and the last mean is tried once more, alone. The result is the best of all that
    was tried. In the first iteration, a problem's proposals take the places of samples (`with_proposals`).
    """

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Find a low-cost action sequence inside the limits; see `tacit.contracts.Planner`.

        At least one iteration is made. A further one, and the trial of the last mean, are started only when, at the duration of the
        iteration before, they end before the deadline. `Plan.cost` contains what broken soft limits add.

        Raises:
            ValueError: The warm start or the proposals have a wrong shape, or the horizon is not positive.
        """
        config, limits, device = self._config, problem.action_limits, problem.history.device
        rounds = Rounds(config.iterations, deadline, device)
        with torch.no_grad():
            mean = first_guess(problem, warm_start)
            std = config.initial_std * (limits.high - limits.low) / 2
            best: Candidates | None = None
            while True:
                noise = self._noise.smooth((len(mean), config.candidates, *mean.shape[1:]), config.noise_correlation, device)
                noise[:, 0] = 0
                samples = mean[:, None] + std * noise
                if best is None:
                    samples = with_proposals(samples, problem.proposals)
                candidates = scored(self._model, problem, samples, config.soft_weight)
                found = candidates.best()
                best = found if best is None else best.improved_by(found)
                goes_on = rounds.another(config.candidates)
                mean, std = self._weighted_mean(candidates, mean), config.shrink * std
                if not goes_on:
                    break
            if not rounds.has_time():
                return best.as_plan(rounds.spent())
            last = scored(self._model, problem, mean[:, None], config.soft_weight)
            return best.improved_by(last).as_plan(rounds.spent(further=1))

    def _weighted_mean(self, candidates: Candidates, mean: Tensor) -> Tensor:
        """The weighted mean of the candidates, (B, H, A); the old mean where none has a finite cost."""
        weights = softmin(candidates, self._config.temperature)
        new = (weights[..., None, None] * candidates.actions).sum(1)
        return torch.where(weights.sum(1)[:, None, None] > 0, new, mean)


def softmin(candidates: Candidates, temperature: float) -> Tensor:
    """Weights of candidates, (B, K): `exp(-cost / temperature)` of standardised costs, over their sum.

    Args:
        candidates: What is weighted. Where some keep every hard limit, only those count; where none does, the violation is the cost.
            What has no finite cost never counts.
        temperature: What costs are divided by, in standard deviations of those that count.

    Returns:
        Weights that sum to 1, or all 0 where nothing counts.
    """
    is_finite = candidates.cost.isfinite() & candidates.violation.isfinite()
    is_feasible = is_finite & (candidates.violation == 0)
    any_feasible = is_feasible.any(1, keepdim=True)
    counts = torch.where(any_feasible, is_feasible, is_finite)
    cost = torch.where(any_feasible, candidates.cost, candidates.violation).double()
    above = torch.where(counts, cost - torch.where(counts, cost, torch.inf).amin(1, keepdim=True), 0.0)
    number = counts.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(counts, above - above.sum(1, keepdim=True) / number, 0.0)
    spread = (centred.square().sum(1, keepdim=True) / number).sqrt()
    weights = torch.where(counts, torch.exp(-above / (temperature * spread).clamp(min=1e-300)), 0.0)
    return (weights / weights.sum(1, keepdim=True).clamp(min=1e-300)).float()
