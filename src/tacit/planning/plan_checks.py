"""Whether a plan can be followed: its shapes, what it leaves of the limits, and what speaks against it.

Dimensions: B machines, H horizon, A action, C limits.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tacit.contracts import Limit, Plan
from tacit.planning.decision import LimitMargin


def require_shapes(plan: Plan, actions: tuple[int, int, int], limits: int) -> None:
    """Refuse what is no plan of the problem.

    Args:
        plan: What a planner made.
        actions: (B, H, A).
        limits: C.

    Raises:
        ValueError: It has another shape.
    """
    batch = actions[0]
    for name, shape in (("actions", actions), ("cost", (batch,)), ("feasible", (batch,)), ("margins", (batch, limits))):
        if (found := tuple(getattr(plan, name).shape)) != shape:
            raise ValueError(f"the planner's {name} have shape {found} instead of {shape}")


def limit_margins(limits: Sequence[Limit], margins: Sequence[float]) -> tuple[LimitMargin, ...]:
    """Margins (C,) of one machine's plan, with what they are of."""
    return tuple(
        LimitMargin(name=limit.name, margin=margin, unit=limit.unit, confidence=limit.confidence, hard=limit.hard)
        for limit, margin in zip(limits, margins, strict=True)
    )


def objections(plan: Plan, limits: Sequence[Limit], step: Tensor, observed: Tensor, is_told: Tensor) -> list[str | None]:
    """Why each machine cannot follow its plan; None where it can.

    Args:
        plan: Of all machines.
        limits: That its margins are of.
        step: Its actions of this moment, (B, A).
        observed: Whether the observation is finite, (B,).
        is_told: Whether what was applied is finite, (B,).
    """
    problems: list[str | None] = []
    facts = (observed, is_told, plan.cost.isfinite() & step.isfinite().all(-1), plan.feasible, plan.margins)
    for seen, told, scored, feasible, margins in zip(*(fact.tolist() for fact in facts), strict=True):
        broken = [str(limit) for limit in limit_margins(limits, margins) if limit.hard and not limit.is_feasible]
        if not seen:
            problems.append("the observation is not finite")
        elif not told:
            problems.append("the action that was applied is not finite")
        elif not scored:
            problems.append("no plan has a finite prediction")
        elif not feasible:
            problems.append(f"every plan breaks a hard limit (the best one: {'; '.join(broken) or 'unnamed'})")
        else:
            problems.append(None)
    return problems
