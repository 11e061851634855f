"""Propose and verify: a policy's suggestions, tried in imagination beside a few of the search's own, and refined.

A policy cloned from the logs knows ways that no blind search finds in time, and is wrong now and then; a world model can tell. The search
keeps several ways alive: each of the best candidates is refined around itself, not around the mean of all of them, which may lead into the
wall between two good ways. Dimensions: B batch, K candidates, P proposals, E elites, C children, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import EliteConfig, Rounds, Search, first_guess, resting, usable


@dataclass(frozen=True, kw_only=True)
class ProposeVerifyConfig(EliteConfig):
    """Settings of the search.

    Attributes:
        iterations: Iterations when no deadline cuts them; the first one verifies, the others refine.
        refine_std: Standard deviation of the first refinement, as a fraction of half the range of each action element.
        shrink: What is left of it at each later one, above 0 and at most 1.
    """

    candidates: int = 96
    elites: int = 8
    iterations: int = 2
    initial_std: float = 0.8
    noise_correlation: float = 0.8
    refine_std: float = 0.15
    shrink: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.refine_std > 0:
            raise ValueError(f"refine_std must be positive, but is {self.refine_std}")
        if not 0 < self.shrink <= 1:
            raise ValueError(f"shrink must be above 0 and at most 1, but is {self.shrink}")


@final
class ProposeVerify(Search[ProposeVerifyConfig]):
    """Verifies a problem's proposals, the last plan and samples of its own, and refines the best, for a batch of independent problems.

    The first candidate is the last plan. Proposals come next, all of them if they are fewer than K; in the place of one with a number
    that is not finite comes the last plan again. Half of what is left are samples around the last plan, and half move for a while and
    then rest. Without proposals all candidates are samples: a wide search. The result is the best candidate of all iterations.
    """

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Find a low-cost action sequence inside the limits; see `tacit.contracts.Planner`.

        The first iteration is always made. A further one is started only when, at the duration of the one before, it ends before the
        deadline. `Plan.cost` contains what broken soft limits add.

        Raises:
            ValueError: The warm start or the proposals have a wrong shape, or the horizon is not positive.
        """
        config = self._config
        rounds = Rounds(config.iterations, deadline, problem.history.device)
        std = config.refine_std
        with torch.no_grad():
            trials = self._first(problem, first_guess(problem, warm_start))
            elites: Candidates | None = None
            while True:
                candidates = scored(self._model, problem, trials, config.soft_weight)
                pool = candidates if elites is None else elites.beside(candidates)
                elites = pool.at(pool.ranked()[:, : config.elites])
                if not rounds.another(trials.shape[1]):
                    return elites.part(0, 1).as_plan(rounds.spent())
                trials = self._children(problem, elites, std)
                std *= config.shrink

    def _first(self, problem: Problem, last: Tensor) -> Tensor:
        """What is verified first, (B, K, H, A)."""
        config, limits = self._config, problem.action_limits
        parts = [last[:, None]]
        if problem.proposals is not None:
            parts.append(usable(problem.proposals[:, : config.candidates - 1].to(last), last[:, None]))
        left = config.candidates - sum(part.shape[1] for part in parts)
        if left:
            half_range = (limits.high - limits.low) / 2
            shape = (len(last), left, *last.shape[1:])
            noise = config.initial_std * half_range * self._noise.smooth(shape, config.noise_correlation, last.device)
            still = left // 2
            parts.append(last[:, None] + noise[:, still:])
            parts.append(limits.low + half_range + resting(still, problem.horizon, last.device)[..., None] * noise[:, :still])
        return torch.cat(parts, dim=1)

    def _children(self, problem: Problem, elites: Candidates, std: float) -> Tensor:
        """Smooth variations of the elites, as many for each, (B, about K, H, A); of the best instead of one without a finite cost."""
        limits, (batch, count, horizon, size) = problem.action_limits, elites.actions.shape
        centres = torch.where(elites.cost[..., None, None].abs() < torch.inf, elites.actions, elites.actions[:, :1])
        each = max(1, self._config.candidates // count)
        noise = self._noise.smooth((batch, count * each, horizon, size), self._config.noise_correlation, centres.device)
        return centres.repeat_interleave(each, dim=1) + std * (limits.high - limits.low) / 2 * noise
