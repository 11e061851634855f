"""Settings of planning, as a task gives them: how far, how long and with which planner."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from tacit.planning.policy_rollout import WAYS
from tacit.planning.task_limits import TaskError, number

PLANNERS = ("cem", "icem", "mppi", "gradient", "propose-verify", "policy-rollout", "newton")
"""Names that `[plan] planner` may have."""
# Settings that not every planner has, and what it does instead.
_LACKS = {
    ("icem", "noise_correlation"): "its noise is coloured, which is smooth by itself",
    ("icem", "local_share"): "it fits all of its candidates",
    ("mppi", "local_share"): "it weighs all of its candidates",
    ("gradient", "local_share"): "it improves all of its candidates",
    ("newton", "local_share"): "nothing in it is drawn by chance",
    ("newton", "noise_correlation"): "nothing in it is drawn by chance",
    ("propose-verify", "local_share"): "half of its own samples come to rest",
    ("policy-rollout", "local_share"): "all of its candidates are proposals",
    ("policy-rollout", "noise_correlation"): "all of its candidates are proposals",
}


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to plan.

    Attributes:
        planner: One of `PLANNERS`.
        horizon: H, number of actions looked ahead.
        deadline_ms: Milliseconds from the observation to the decision, or None for no deadline.
        replan_every: Actions applied of one plan before the next is made.
        candidates: Action sequences tried per iteration.
        iterations: Refinements per plan. Of `policy-rollout` there are none.
        initial_std: Spread of the first samples, as a fraction of half the action range.
        noise_correlation: Correlation of the samples' noise from one action to the next, 0 to below 1; near 1 they go far. Not of iCEM.
        local_share: Share of the candidates that move for a while and then rest, whatever the last plan was, 0 to below 1. Of CEM only.
        proposals: Suggestions of the goal policy that are tried first, 0 to below the number of candidates. Of `policy-rollout` all of them
            are, in equal parts its own way and three detours.
        hold_for: Actions of a plan stay the same for so many steps (move blocking): fewer numbers to find.
        disturbance_filter: Share of the estimate of the output disturbance that stays from one step to the next: 0 believes the last error
            alone, 1 turns the estimate off. It is added to predicted readouts in goals and limits on signals.

    The defaults refine short plans, for goals in sight. One wide throw of long, smooth candidates finds a way round walls instead.
    """

    planner: str = PLANNERS[0]
    horizon: int = 12
    deadline_ms: float | None = None
    replan_every: int = 1
    candidates: int = 128
    iterations: int = 3
    initial_std: float = 0.5
    noise_correlation: float = 0.0
    local_share: float = 0.0
    proposals: int = 0
    hold_for: int = 1
    disturbance_filter: float = 0.95

    def __post_init__(self) -> None:
        if self.planner not in PLANNERS:
            raise TaskError(f"{self.planner!r} is not a planner; use one of: {', '.join(PLANNERS)}", "planner")
        for name, least in (("horizon", 1), ("replan_every", 1), ("candidates", 2), ("iterations", 1), ("proposals", 0), ("hold_for", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise TaskError(f"must be a whole number of at least {least}, not {value!r}", name)
        if self.deadline_ms is not None and number(self.deadline_ms, "deadline_ms") <= 0:
            raise TaskError("must be positive", "deadline_ms")
        if number(self.initial_std, "initial_std") <= 0:
            raise TaskError("must be positive", "initial_std")
        for name in ("noise_correlation", "local_share"):
            if not 0 <= number(getattr(self, name), name) < 1:
                raise TaskError("must be at least 0 and below 1", name)
        if not 0 <= number(self.disturbance_filter, "disturbance_filter") <= 1:
            raise TaskError("must be at least 0 and at most 1", "disturbance_filter")
        for name in ("noise_correlation", "local_share"):
            if getattr(self, name) and (why := _LACKS.get((self.planner, name))):
                raise TaskError(f"planner {self.planner!r} has no such setting: {why}", name)
        if self.planner == "policy-rollout":
            if self.proposals != self.candidates or self.candidates % WAYS or self.candidates < 2 * WAYS:
                words = f"all of {self.candidates} candidates have to be proposals, a multiple of {WAYS} and {2 * WAYS} at least"
                raise TaskError(f"planner {self.planner!r} compares {WAYS} ways of the goal policy: {words}", "proposals")
        elif self.proposals >= self.candidates:
            raise TaskError(f"{self.proposals} leaves no candidate but proposals: there are {self.candidates} candidates", "proposals")
        if self.replan_every > self.horizon:
            raise TaskError(f"{self.replan_every} is more actions than the horizon of {self.horizon} plans", "replan_every")


def for_signals(**given: Any) -> PlanSettings:
    """Settings for goals on signals of a process, which is smooth and slow; what is given counts.

    Raises:
        TaskError: An entry is out of its domain.
    """
    settings: dict[str, Any] = {"planner": "newton", "horizon": 30, "iterations": 1}
    return PlanSettings(**settings | given)
