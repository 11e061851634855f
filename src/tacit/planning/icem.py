"""iCEM: a cross-entropy method with coloured noise, elites that are kept, and ever fewer candidates.

Dimensions: B batch, K candidates, E elites, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import FitConfig, Rounds, Search, first_guess, fitted, with_proposals


@dataclass(frozen=True, kw_only=True)
class ICEMConfig(FitConfig):
    """Settings of the search.

    Attributes:
        noise_exponent: The noise has power proportional to frequency^-exponent along the horizon: 0 is white, 2 and more is smooth. It
            takes the place of `noise_correlation`, which must stay 0.
        decay: An iteration has this many times fewer candidates than the one before, though never fewer than two per elite.
        kept_share: Share of the elites that compete again in the next iteration.
    """

    momentum: float = 0.1
    noise_exponent: float = 2.0
    decay: float = 1.25
    kept_share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_correlation:
            raise ValueError("noise_correlation must be 0: noise_exponent says how smooth the noise is")
        if not 0 <= self.noise_exponent <= 10:
            raise ValueError(f"noise_exponent must be between 0 and 10, but is {self.noise_exponent}")
        if not self.decay >= 1:
            raise ValueError(f"decay must be at least 1, but is {self.decay}")
        if not 0 <= self.kept_share <= 1:
            raise ValueError(f"kept_share must be between 0 and 1, but is {self.kept_share}")


@final
class ICEM(Search[ICEMConfig]):
    """Sample-efficient cross-entropy method (iCEM: Pinneri et al., 2020, arXiv 2008.06389), for a batch of independent problems.

    Of the paper: noise with a power-law spectrum, a share of the elites kept from one iteration to the next, a population that decays,
    and the best action sequence as the result. Two details differ. The mean is tried in every iteration, not in the last one only, since
    a deadline may make any of them the last; after the first iteration it is no elite, so that the fit is the paper's. And from one
    plan to the next only the warm start is carried over, not the elites: a planner does not know how much of its plan was applied.

    In the first iteration, a problem's proposals take the places of samples (`with_proposals`).
    """

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Find a low-cost action sequence inside the limits; see `tacit.contracts.Planner`.

        At least one iteration is made. A further one is started only when, at the duration of the one before, it ends before the
        deadline. `Plan.cost` contains what broken soft limits add.

        Raises:
            ValueError: The warm start or the proposals have a wrong shape, or the horizon is not positive.
        """
        config, limits, device = self._config, problem.action_limits, problem.history.device
        rounds = Rounds(config.iterations, deadline, device)
        with torch.no_grad():
            half_range = (limits.high - limits.low) / 2
            mean = first_guess(problem, warm_start)
            std = (config.initial_std * half_range).expand(mean.shape)
            count, least = float(config.candidates), min(config.candidates, 2 * config.elites)
            best: Candidates | None = None
            kept: Candidates | None = None
            while True:
                size = max(least, int(count))
                noise = self._noise.coloured((len(mean), size, *mean.shape[1:]), config.noise_exponent, device)
                noise[:, 0] = 0
                samples = mean[:, None] + std[:, None] * noise
                if kept is None:
                    samples = with_proposals(samples, problem.proposals)
                candidates = scored(self._model, problem, samples, config.soft_weight)
                found = candidates.best()
                best = found if best is None else best.improved_by(found)
                if not rounds.another(size):
                    return best.as_plan(rounds.spent())
                pool = candidates if kept is None else kept.beside(candidates.part(1))
                elites = pool.at(pool.ranked()[:, : config.elites])
                mean, std = fitted(elites, mean, std, config.momentum, config.min_std * half_range)
                kept = elites.part(0, int(config.kept_share * config.elites))
                count /= config.decay
