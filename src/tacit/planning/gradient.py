"""Planning by gradient: many first guesses, each improved by the slope of its cost through the world model.

Good where the cost is smooth, and lost where it is not. Dimensions: B batch, K candidates, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from tacit.contracts import Deadline, Plan, Problem
from tacit.planning.rollout import Candidates, judged
from tacit.planning.search import Rounds, Search, SearchConfig, first_guess, with_proposals

_MEAN_KEEPS, _SQUARE_KEEPS = 0.7, 0.9  # of Adam's means: a plan takes tens of steps, not thousands
_TINY = 1e-12  # where there is no slope there is no step


@dataclass(frozen=True, kw_only=True)
class GradientConfig(SearchConfig):
    """Settings of the search.

    Attributes:
        candidates: K, first guesses that are improved side by side.
        iterations: Times that all are rolled out, when no deadline cuts them; between two, each takes one step down.
        learning_rate: Size of the first step, as a fraction of half the range of each action element.
        decay: What is left of it at each later step, above 0 and at most 1.
    """

    candidates: int = 32
    iterations: int = 12
    learning_rate: float = 0.15
    decay: float = 0.93

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, but is {self.learning_rate}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, but is {self.decay}")


@final
class GradientPlanner(Search[GradientConfig]):
    """Adam (Kingma and Ba, 2015) on action sequences, through the world model, for a batch of independent problems.

    Steps are taken in fractions of half the range of each action element, and every step ends inside the action limits: projected
    descent. A candidate that breaks a hard limit goes down its violation instead of its cost. A slope that is not finite counts as none.
    The first guesses are the warm start, the problem's proposals (`with_proposals`) and noise around the warm start. The result is the
    best that was tried, from whatever guess. Gradients reach the actions only: the model, which must be differentiable, collects none.
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
        problem = replace(problem, history=problem.history.detach())
        with torch.no_grad():
            half_range = (limits.high - limits.low) / 2
            actions = self._guesses(problem, first_guess(problem, warm_start), half_range)
            descent, rate = _Adam(actions), config.learning_rate
            best: Candidates | None = None
            while True:
                actions = problem.inside(actions)
                if rounds.is_last:
                    candidates, slope = judged(self._model, problem, actions, config.soft_weight), None
                else:
                    candidates, slope = self._sloped(problem, actions)
                found = candidates.best()
                best = found if best is None else best.improved_by(found)
                if not rounds.another(config.candidates) or slope is None:
                    return best.as_plan(rounds.spent())
                actions = actions - rate * half_range * descent.direction(slope * half_range)
                rate *= config.decay

    def _guesses(self, problem: Problem, guess: Tensor, half_range: Tensor) -> Tensor:
        config = self._config
        shape = (len(guess), config.candidates, *guess.shape[1:])
        noise = self._noise.smooth(shape, config.noise_correlation, guess.device)
        noise[:, 0] = 0
        return with_proposals(guess[:, None] + config.initial_std * half_range * noise, problem.proposals)

    def _sloped(self, problem: Problem, actions: Tensor) -> tuple[Candidates, Tensor]:
        """Actions (B, K, H, A), scored, and the slope of what each should reduce, of the same shape."""
        with torch.enable_grad():
            actions = actions.detach().requires_grad_()
            candidates = judged(self._model, problem, actions, self._config.soft_weight)
            aim = torch.where(candidates.violation > 0, candidates.violation, candidates.cost)
            slope = torch.autograd.grad(aim.sum(), actions, allow_unused=True)[0] if aim.requires_grad else None
        slope = torch.zeros_like(actions) if slope is None else slope
        return candidates.detached(), torch.where(slope.isfinite(), slope, 0.0)


@final
class _Adam:
    """Running means of slopes and of their squares, each (B, K, H, A)."""

    def __init__(self, like: Tensor) -> None:
        self._mean, self._square, self._steps = torch.zeros_like(like), torch.zeros_like(like), 0

    def direction(self, slope: Tensor) -> Tensor:
        """The slope (B, K, H, A), averaged with the ones before and in units of its own size: about 1 where it keeps its sign."""
        self._steps += 1
        self._mean = torch.lerp(slope, self._mean, _MEAN_KEEPS)
        self._square = torch.lerp(slope.square(), self._square, _SQUARE_KEEPS)
        mean, square = self._mean / (1 - _MEAN_KEEPS**self._steps), self._square / (1 - _SQUARE_KEEPS**self._steps)
        return mean / (square.sqrt() + _TINY)
