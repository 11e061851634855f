"""Settings of planning, as a task gives them: how far, how long and with which planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from tacit.planning.planner_kinds import KINDS, PlannerKind
from tacit.planning.task_limits import TaskError, number

PLANNERS = tuple(KINDS)
"""Names that `[plan] planner` may have."""


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to plan.

    Attributes:
        planner: One of `PLANNERS`.
        horizon: H, number of actions looked ahead.
        deadline_ms: Milliseconds from the observation to the decision, or None for no deadline.
        replan_every: Actions applied of one plan before the next is made.
        candidates: Action sequences tried per iteration.
        iterations: Refinements per plan.
        initial_std: Spread of the first samples, as a fraction of half the action range.
        noise_correlation: Correlation of the samples' noise from one action to the next, 0 to below 1; near 1 they go far.
        local_share: Share of the candidates that move for a while and then rest, whatever the last plan was, 0 to below 1.
        proposals: Suggestions of the goal policy that are tried first, 0 to below the number of candidates; all of them, in equal parts the
            policy's own way and detours, where the planner compares ways of the goal policy.
        hold_for: Actions of a plan stay the same for so many steps (move blocking): fewer numbers to find.
        disturbance_filter: Share of the estimate of the output disturbance that stays from one step to the next: 0 believes the last error
            alone, 1 turns the estimate off. It is added to predicted readouts in goals and limits on signals.

    Not every planner has all of `candidates` to `local_share` (`tacit.planning.planner_kinds`). The defaults refine short plans, for goals
    in sight. One wide throw of long, smooth candidates finds a way round walls instead.
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
        kind = self.kind
        for name in ("noise_correlation", "local_share"):
            if getattr(self, name) and name in kind.lacks:
                raise self._lacking(name)
        if kind.ways is not None:
            if self.proposals != self.candidates or self.candidates % kind.ways or self.candidates < 2 * kind.ways:
                words = f"all of {self.candidates} candidates have to be proposals, a multiple of {kind.ways} and {2 * kind.ways} at least"
                raise TaskError(f"planner {self.planner!r} compares {kind.ways} ways of the goal policy: {words}", "proposals")
        elif "candidates" in kind.takes and self.proposals >= self.candidates:
            raise TaskError(f"{self.proposals} leaves no candidate but proposals: there are {self.candidates} candidates", "proposals")
        if self.replan_every > self.horizon:
            raise TaskError(f"{self.replan_every} is more actions than the horizon of {self.horizon} plans", "replan_every")

    @property
    def kind(self) -> PlannerKind:
        """What the planner takes and needs."""
        return KINDS[self.planner]

    def _lacking(self, name: str) -> TaskError:
        has = [f.name for f in fields(self) if f.name not in ("planner", *self.kind.lacks)]
        return TaskError(f"planner {self.planner!r} has no such setting: {self.kind.lacks[name]}; it takes {', '.join(has)}", name)


def for_signals(**given: Any) -> PlanSettings:
    """Settings for goals on signals of a process, which is smooth and slow; what is given counts.

    Raises:
        TaskError: An entry is out of its domain.
    """
    settings: dict[str, Any] = {"planner": "newton", "horizon": 30, "iterations": 1}
    return PlanSettings(**settings | given)


def read_settings(table: Mapping[str, Any], *, has_signals: bool) -> PlanSettings:
    """Settings as a task file has them: one that stands there is used, or refused, whatever its value.

    Args:
        table: Entries of `[plan]`.
        has_signals: Whether there are goals on signals, for which other settings are usual (`for_signals`).

    Raises:
        TaskError: An entry is out of its domain, or the planner does not have it.
    """
    settings = for_signals(**table) if has_signals else PlanSettings(**table)
    for name in table:
        if name in settings.kind.lacks:
            raise settings._lacking(name)
    return settings
