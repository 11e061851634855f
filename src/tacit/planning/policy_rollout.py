"""Policy rollout: do what the goal policy would do, except where another way is better beyond doubt.

One step of policy improvement by imagined rollouts (Tesauro and Galperin, NIPS 1996; Bertsekas, Tsitsiklis and Wu, J. Heuristics 3,
1997), made careful: the best of many plans is, more often than not, the one that the model is wrong about. So a few ways are compared,
each by the mean cost of many variations of it, and the policy's own way is left only for one whose mean is lower by a number of standard
errors. For tasks in which the policy knows what to do and plans seldom know better. Dimensions: B batch, W ways, V variations of a way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem, WorldModel
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import Rounds, first_guess, usable

WAYS = 4
"""W, the ways that are compared, the policy's own among them."""


@dataclass(frozen=True, kw_only=True)
class PolicyRolloutConfig:
    """Settings of the comparison.

    Attributes:
        ways: W, the policy's own way and detours from it.
        sureness: By how many standard errors of the mean of the differences a detour has to be better.
        soft_weight: Cost of a shortfall of 1 in a soft limit's margin.

    Raises:
        ValueError: A setting is out of its domain.
    """

    ways: int = WAYS
    sureness: float = 2.0
    soft_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.ways < 1:
            raise ValueError(f"ways must be at least 1, not {self.ways}")
        for name in ("sureness", "soft_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")


@final
class PolicyRollout:
    """Compares the ways that a problem's proposals follow, for a batch of independent problems.

    Proposals are W ways of V variations each, way by way, the policy's own first; of each way the first is the way itself, and the others
    vary it (`tacit.planning.ImaginedDetours`). What is planned is a way itself, among those that keep the hard limits. Where none does, it
    is the best of all variations: the cheapest that keeps them, or the one that breaks them least.
    """

    def __init__(self, model: WorldModel, config: PolicyRolloutConfig) -> None:
        self._model = model
        self._config = config

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Choose a way inside the limits; see `tacit.contracts.Planner`.

        There is one iteration, whatever the deadline. The warm start is what a proposal with a number that is not finite is replaced by.

        Raises:
            ValueError: There are no proposals, they are not at least two for every way and as many for each, or they or the warm start
                have a wrong shape.
        """
        config = self._config
        rounds = Rounds(1, deadline, problem.history.device)
        with torch.no_grad():
            last = first_guess(problem, warm_start)
            given = 0 if problem.proposals is None else problem.proposals.shape[1]
            if problem.proposals is None or given % config.ways or given < 2 * config.ways:
                raise ValueError(f"there are {given} proposals; {config.ways} ways need as many for each, and two at least")
            tried = scored(self._model, problem, usable(problem.proposals.to(last), last[:, None]), config.soft_weight)
            rounds.another(given)
            return tried.at(self._chosen(tried)[:, None]).as_plan(rounds.spent())

    def _chosen(self, tried: Candidates) -> Tensor:
        """Which of the candidates (B, W V) is the plan, (B,)."""
        config = self._config
        shape = len(tried.cost), config.ways, tried.cost.shape[1] // config.ways
        cost, variations = tried.cost.view(shape), shape[-1]
        keeps = tried.violation.view(shape)[..., 0] == 0  # the limits, as it is
        mean = cost.mean(-1)  # +inf where not every variation has a finite cost
        more = cost - cost[:, :1]
        is_better = more.mean(-1) + config.sureness * more.std(-1) / variations**0.5 < 0  # not where that is NaN
        is_better |= mean.isfinite() & mean[:, :1].isinf()
        is_open = keeps & (is_better | ~keeps[:, :1])
        is_open[:, 0] = keeps[:, 0]
        least, way = torch.where(is_open, mean, torch.inf).min(1)
        at = torch.where(least < torch.inf, way, 0) * variations
        is_kept = tried.violation.gather(1, at[:, None])[:, 0] == 0
        return torch.where(is_kept, at, tried.ranked()[:, 0])
