"""Planning by Newton steps: what every move does is tried out in one rollout, and the best plan of that linear picture is solved for.

What a model-predictive controller does with a nonlinear model (real-time iteration: Diehl, Bock and Schlöder, SIAM J. Control Optim. 43
(2005), 1714-1736), with differences instead of derivatives, so that the model stays a black box. For costs that are sums of squares, such
as errors of tracking, it finds in two rollouts of a dozen candidates what a search needs hundreds for; a maze it finds no way out of.

Dimensions: B batch, K candidates, M blocks, N = M times A numbers, R residuals, C limits, H horizon, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.contracts import Deadline, LeastSquares, Limit, Plan, Problem, Stepwise
from tacit.planning.rollout import Candidates, scored
from tacit.planning.search import Rounds, Search, SearchConfig, first_guess, usable

Floats = NDArray[np.float64]
_STRIDES = torch.tensor((1.0, 1.1, 1.3, 0.5, 0.2, 0.05))  # how much of a step is tried: more than all gets inside bent limits


@dataclass(frozen=True, kw_only=True)
class NewtonConfig(SearchConfig):
    """Settings of the search; of those that every search has, only the iterations and the weight of soft limits count.

    Attributes:
        iterations: Steps when no deadline cuts them, each from the best plan so far.
        blocks: M: in a step, the actions of a block change by the same; blocks are short at first and long later.
        probe: How far each block is moved to see what that does, as a fraction of half the range of each action element.
        damping: What keeps a step short where nothing is known to get worse, as a share of the mean curvature.
    """

    iterations: int = 2
    blocks: int = 8
    probe: float = 0.1
    damping: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 1:
            raise ValueError(f"blocks must be at least 1, not {self.blocks}")
        for name in ("probe", "damping"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, but is {getattr(self, name)}")


@final
class NewtonPlanner(Search[NewtonConfig]):
    """Gauss-Newton steps inside the action limits and the hard limits, for a batch of independent problems.

    A step starts from the best plan so far, at first the warm start: each block of each action element is moved a little, and the step is
    the exact optimum of the linear picture of what that did, between the bounds of the actions and inside the hard limits; where none keeps
    those, it is the one that breaks them least. What is tried of it, and every other candidate, is moved inside all action limits. Holding
    the previous action and a problem's proposals are tried beside the first step.
    """

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        """Find a low-cost action sequence inside the limits; see `tacit.contracts.Planner`.

        At least one step is made. A further one is started only when, at the duration of the one before, it ends before the deadline.
        `Plan.cost` contains what broken soft limits add.

        Raises:
            ValueError: The cost is not known as a sum of squares, the warm start or the proposals have a wrong shape, or the horizon is
                not positive.
        """
        cost, config = problem.cost, self._config
        if not isinstance(cost, LeastSquares):
            raise ValueError(f"a Newton step needs a cost that is a sum of squares, not {type(cost).__name__}: use another planner")
        rounds = Rounds(config.iterations, deadline, problem.history.device)
        with torch.no_grad():
            plan, others, best = first_guess(problem, warm_start)[:, None], self._others(problem), None
            while True:
                probes = torch.cat((plan, plan + self._moves(problem, plan)), dim=1)
                found = scored(self._model, problem, torch.cat((probes, others), dim=1), config.soft_weight)
                steps = self._steps(problem, cost, found.part(0, probes.shape[1]))
                strides = _STRIDES.to(steps.device)[:, None, None]
                tried = scored(self._model, problem, found.actions[:, :1] + strides * steps[:, None], config.soft_weight)
                chosen = found.beside(tried).best()
                best = chosen if best is None else best.improved_by(chosen)
                if not rounds.another(found.cost.shape[1] + len(_STRIDES)):
                    return best.as_plan(rounds.spent())
                plan, others = best.actions, others[:, :0]

    def _others(self, problem: Problem) -> Tensor:
        """Plans without a search, (B, K, H, A): hold the last action, go to either end of one element's range, and what is proposed."""
        limits, held = problem.action_limits, problem.previous[:, None, None].expand(-1, 1, problem.horizon, -1)
        size = len(limits.low)
        chosen = torch.eye(size, dtype=torch.bool, device=held.device)[:, None]  # (A, 1, A)
        ends = [torch.where(chosen, bound, held) for bound in (limits.low, limits.high)]
        plans = torch.cat((held, *ends), dim=1)
        if problem.proposals is None:
            return plans
        return torch.cat((plans, usable(problem.proposals.to(held), held)), dim=1)

    def _moves(self, problem: Problem, best: Tensor) -> Tensor:
        """What is added to plans (B, 1, H, A) to see what it does, (B, N, H, A): to the side of the range where there is more room."""
        low, high, device = problem.action_limits.low, problem.action_limits.high, best.device
        half_range = (high - low) / 2
        blocks = torch.zeros(self._config.blocks, problem.horizon, device=device)
        edges = np.ceil(problem.horizon * np.linspace(0, 1, self._config.blocks + 1) ** 2).astype(int)
        if self._config.blocks >= problem.horizon:
            edges = np.minimum(np.arange(self._config.blocks + 1), problem.horizon)
        for row, start, end in zip(blocks, edges[:-1], edges[1:], strict=True):
            row[start:end] = 1.0
        blocks = blocks[blocks.any(1)]
        moves = (blocks[:, None, :, None] * torch.eye(len(low), device=device)[:, None]).flatten(0, 1) * half_range  # (N, H, A)
        is_up = ((low + half_range - best) * moves).sum((-2, -1), keepdim=True) >= 0
        return self._config.probe * torch.where(is_up, moves, -moves)

    def _steps(self, problem: Problem, cost: LeastSquares, probes: Candidates) -> Tensor:
        """What is best to add to the first of the candidates, the plan, as what the others did says, (B, H, A)."""
        limits = problem.action_limits
        residuals = cost.residuals(probes.trajectory, probes.actions).float()
        prices = np.array([0.0 if limit.hard else self._config.soft_weight * limit.priority for limit in problem.limits])
        broken = probes.margins.clamp(max=0).neg() @ torch.tensor(prices, dtype=torch.float32, device=residuals.device)
        rest = probes.cost - residuals.square().sum(-1) - broken
        each = [_each(limit, probes, place) for place, limit in enumerate(problem.limits)]
        margins = torch.cat(each, -1) if each else rest.new_zeros((*rest.shape, 0))
        owner = np.repeat(np.arange(len(each)), [part.shape[-1] for part in each])
        moved = (probes.actions[:, 1:] - probes.actions[:, :1]).flatten(2)
        low, high = ((bound - probes.actions[:, 0]).flatten(1) for bound in (limits.low, limits.high))
        shares = [
            _shares(*(part.double().cpu().numpy() for part in parts), owner=owner, prices=prices, damping=self._config.damping)
            for parts in zip(residuals, rest, margins, moved, low, high, strict=True)
        ]
        steps = torch.tensor(np.stack(shares), dtype=moved.dtype, device=moved.device)[:, None] @ moved
        return steps.view(len(moved), *probes.actions.shape[2:])


_INSIDE = 1e-2  # of what a probe moves a limit by, that a step stays inside of it: what lies right on it may round to the other side


def _each(limit: Limit, found: Candidates, place: int) -> Tensor:
    """Margins of a limit: of every step where it has them, (B, K, H); else of the whole, (B, K, 1)."""
    if isinstance(limit, Stepwise):
        return limit.margins(found.trajectory, found.actions).float()
    return found.margins[..., place, None]


def _shares(
    residuals: Floats,
    rest: Floats,
    margins: Floats,
    moved: Floats,
    low: Floats,
    high: Floats,
    *,
    owner: NDArray[np.int64],
    prices: Floats,
    damping: float,
) -> Floats:
    """How much of each probe's move is in the best step of one machine's linear picture.

    Args:
        residuals: Of the plan and of every probe, (1 + N, R).
        rest: Of the cost, without what broken soft limits add, likewise, (1 + N,).
        margins: Of the limits, likewise, (1 + N, C).
        moved: How the probes differ from the plan, (N, H A).
        low: How far each action may go down, (H A,), at most 0.
        high: How far up.
        owner: Which limit each margin is of, (C,).
        prices: What a shortfall of 1 of each limit costs; 0 for a hard one.
        damping: Share of the mean curvature.

    Returns:
        (N,); zeros where the plan itself is not finite.
    """
    size = len(moved)
    if not (np.isfinite(residuals[0]).all() and np.isfinite(rest[0]) and np.isfinite(margins[0]).all()):
        return np.zeros(size)
    with np.errstate(invalid="ignore"):
        slopes, tilt, falls = (np.nan_to_num(part[1:] - part[0], nan=0.0, posinf=0.0, neginf=0.0) for part in (residuals, rest, margins))
    inside = _INSIDE * np.abs(falls).max(0, initial=0.0)
    # The shortfall of each soft limit is one more number to choose, at least 0: it widens all margins of its limit, and has a price.
    soft = np.flatnonzero(prices)
    gradient = np.concatenate((2 * slopes @ residuals[0] + tilt, prices[soft]))
    curvature = np.zeros((len(gradient), len(gradient)))
    curvature[:size, :size] = 2 * slopes @ slopes.T
    curvature += (damping * np.trace(curvature) / size + 1e-12) * np.eye(len(gradient))
    is_moved = np.abs(moved).any(0)
    sides = np.concatenate((moved[:, is_moved].T, -moved[:, is_moved].T, np.zeros((len(soft), size))))
    box = np.concatenate((sides, np.concatenate((np.zeros((2 * is_moved.sum(), len(soft))), np.eye(len(soft))))), axis=1)
    room = np.concatenate((low[is_moved], -high[is_moved], np.zeros(len(soft))))
    kept = np.concatenate((falls.T, (owner[:, None] == soft).astype(float)), axis=1)
    found = least(curvature, gradient, np.concatenate((box, kept)), np.concatenate((room, inside - margins[0])))
    if found is None and (prices == 0).any():  # no step keeps the hard limits: let their shortfall be large only as far as it must
        strong = 1e4 * (1 + np.abs(gradient).max()) / np.maximum(np.abs(margins[0]).max(), 1e-9)
        return _shares(
            residuals, rest, margins, moved, low, high, owner=owner, prices=np.where(prices == 0, strong, prices), damping=damping
        )
    return np.zeros(size) if found is None else found[:size]


def least(curvature: Floats, gradient: Floats, rows: Floats, bounds: Floats) -> Floats | None:
    """Where a convex quadratic function is least: min x'Qx/2 + g'x with Gx >= h, as a problem of least distance (Lawson and Hanson, Solving
    Least Squares Problems, 1974, chapter 23), which is one of non-negative least squares.

    Args:
        curvature: Q, (N, N), positive definite.
        gradient: g, (N,).
        rows: G, (C, N).
        bounds: h, (C,).

    Returns:
        x, (N,); None where nothing keeps all conditions, or numbers are so far apart that Q is not positive definite in floating point.
    """
    from scipy.optimize import nnls  # it takes a while to load

    try:
        root = np.linalg.cholesky(curvature)  # Q = root root'
    except np.linalg.LinAlgError:
        return None
    free = -np.linalg.solve(curvature, gradient)
    short = bounds - rows @ free
    if (short <= 0).all():
        return np.asarray(free)
    slanted = np.linalg.solve(root, rows.T)  # the conditions in coordinates in which the function is round
    norms = np.maximum(np.linalg.norm(slanted, axis=0), 1e-12)
    far = np.abs(short / norms).max()
    matrix = np.concatenate((slanted / norms, (short / norms / far)[None]))
    try:
        weights, _ = nnls(matrix, np.append(np.zeros(len(free)), 1.0))
    except RuntimeError:  # it did not converge
        return None
    left = matrix @ weights
    if 1 - left[-1] < 1e-9:
        return None
    found = free + far * np.linalg.solve(root.T, left[:-1] / (1 - left[-1]))
    is_kept = (rows @ found - bounds >= -1e-6 * (1 + np.abs(bounds))).all()
    return np.asarray(found) if is_kept else None
