"""The cross-entropy method: sample action sequences, keep the best, fit a Gaussian to them, sample again.

Dimensions: B batch, K candidates, E elites, H horizon, A action, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import FitConfig, Rounds, Search, first_guess, fitted, resting, with_proposals


@dataclass(frozen=True, kw_only=True)
class CEMConfig(FitConfig):
    """Settings of the search.

    Attributes:
        local_share: Share of the candidates that move for a while and then rest at the middle of the range, whatever the mean is: how a
            goal that is near is reached and kept.
    """

    local_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.local_share < 1:
            raise ValueError(f"local_share must be at least 0 and below 1, but is {self.local_share}")


@final
class CEM(Search[CEMConfig]):
    """Cross-entropy method over action sequences (Rubinstein and Kroese, 2004), for a batch of independent problems.

    The mean of the Gaussian is itself the first candidate of every iteration; in the first one, a problem's proposals take the places of
    samples (`with_proposals`). Candidates are moved inside the action limits before they are scored, so that what was scored is what
    is returned. The result is the best candidate of all iterations.
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
            best: Candidates | None = None
            while True:
                noise = self._noise.smooth((len(mean), config.candidates, *mean.shape[1:]), config.noise_correlation, device)
                noise[:, 0] = 0
                noise = std[:, None] * noise
                samples = mean[:, None] + noise
                if local := int(config.local_share * config.candidates):
                    samples[:, -local:] = limits.low + half_range + resting(local, problem.horizon, device)[..., None] * noise[:, -local:]
                if best is None:
                    samples = with_proposals(samples, problem.proposals)
                candidates = scored(self._model, problem, samples, config.soft_weight)
                order = candidates.ranked()
                found = candidates.at(order[:, :1])
                best = found if best is None else best.improved_by(found)
                if not rounds.another(config.candidates):
                    return best.as_plan(rounds.spent())
                elites = candidates.at(order[:, : config.elites])
                mean, std = fitted(elites, mean, std, config.momentum, config.min_std * half_range)
