"""Decisions: what a controller does now, why, and what that rests on.

Dimensions: B machines, h history, A action, D latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.contracts import Plan


class Verdict(StrEnum):
    """What the controller decided to do."""

    ACT = "act"  # apply the plan
    ABSTAIN = "abstain"  # the plan is sound but not to be trusted
    FALLBACK = "fallback"  # there is no sound plan


@final
@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a decision rests on.

    Attributes:
        cost: Cost of the plan that was made in this step; None when none was made.
        surprise: Distance of the observed latent from the one predicted for the last applied action, as `one_step_error` measures
            it; None when this observation or the one before is missing.
        surprise_p: Share of held-out errors at least as large as `surprise`, counting it as one of them: (1 + #larger) / (1 + n),
            the conformal p-value of Vovk et al. (2005). None without a surprise or without a calibration.
        encode_ms: Milliseconds from the observation to the latent, for the whole batch.
        plan_ms: Milliseconds from the latent to the plan, for the whole batch.
        disturbance: How much more each measured channel shows than was predicted for it a horizon before, filtered, in its unit: what is
            added to the end of a prediction (`OutputDisturbance`). Empty where nothing is estimated.
    """

    cost: float | None
    surprise: float | None
    surprise_p: float | None
    encode_ms: float
    plan_ms: float
    disturbance: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class LimitMargin:
    """What a plan is worth before one limit.

    Attributes:
        name: What a person calls the limit.
        margin: How far inside it the plan stays, what is allowed for errors already taken off; below 0 it breaks it.
        unit: Of the margin.
        confidence: Share of the episodes for which what was taken off is enough; None when nothing was.
        hard: Whether a plan that breaks it is never applied.
    """

    name: str
    margin: float
    unit: str
    confidence: float | None
    hard: bool

    @property
    def is_feasible(self) -> bool:
        """Whether the plan keeps it."""
        return self.margin >= 0

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        sure = "" if self.confidence is None else f" at confidence {self.confidence:g}"
        return f"{self.name}, margin {self.margin:.3g}{unit}{sure}"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What one machine does now.

    Attributes:
        action: (A,) float32, physical units, inside the action limits whatever the verdict, as far as what was applied before leaves a
            way (`PathLimits`).
        verdict: What the controller decided.
        reason: Why, for a person.
        plan: The plan that was made in this step, with B = 1; None when none was made.
        evidence: What the decision rests on.
        latents: Latest latents, (1, h, D), oldest first: what was known of the world.
        limits: What the plan that was made in this step is worth before each limit; empty when none was made.
        expected: What the model expected in the place of the newest latent, (1, D); not finite where nothing was before.
        forecast: What the plan that was made in this step is to bring, (1, H) by channel that the goal names, corrected by the
            estimated disturbance; empty when none was made or the goal names none.
    """

    action: NDArray[np.float32]
    verdict: Verdict
    reason: str
    plan: Plan | None
    evidence: Evidence
    latents: Tensor
    limits: tuple[LimitMargin, ...] = ()
    expected: Tensor | None = None
    forecast: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionBatch:
    """What B machines do now; `batch[i]` is the decision of machine i.

    Attributes:
        actions: (B, A) float32, physical units, inside the action limits as in `Decision`.
        verdicts: One per machine.
        reasons: One per machine.
        plan: The plan that was made in this step; None when none was made.
        evidence: One per machine.
        latents: Latest latents, (B, h, D), oldest first.
        limits: Per machine, what the plan that was made in this step is worth before each limit; empty when none was made.
        expected: What the model expected in the place of the newest latents, (B, D); not finite where nothing was before.
        forecast: What the plan that was made in this step is to bring, (B, H) by channel; empty as in `Decision`.
    """

    actions: NDArray[np.float32]
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]
    plan: Plan | None
    evidence: tuple[Evidence, ...]
    latents: Tensor
    limits: tuple[tuple[LimitMargin, ...], ...] = ()
    expected: Tensor | None = None
    forecast: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    def __getitem__(self, machine: int) -> Decision:
        return Decision(
            action=self.actions[machine],
            verdict=self.verdicts[machine],
            reason=self.reasons[machine],
            plan=None if self.plan is None else _plan_of(self.plan, machine),
            evidence=self.evidence[machine],
            latents=self.latents[machine][None],
            limits=self.limits[machine] if self.limits else (),
            expected=None if self.expected is None else self.expected[machine][None],
            forecast={name: steps[machine][None] for name, steps in self.forecast.items()},
        )


def _plan_of(plan: Plan, machine: int) -> Plan:
    return Plan(
        actions=plan.actions[machine][None],
        trajectory=plan.trajectory[machine][None],
        cost=plan.cost[machine][None],
        margins=plan.margins[machine][None],
        feasible=plan.feasible[machine][None],
        spent=plan.spent,
    )
