"""What forecasts of a run are worth, as numbers: skill, errors, intervals and examples. `tacit.evaluation.forecast_skill` finds them.

Dimensions: H horizon, P steps ahead that are reported, N sensor channels, L moments before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

RUN, NO_CHANGE, ARX, LSTM = "tacit", "persistence", "ARX", "LSTM"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A number for every step ahead and channel with its 95 % bootstrap interval, (P, N) each; NaN where nothing was measured."""

    value: Floats
    low: Floats
    high: Floats

    def to_json(self) -> dict[str, Any]:
        return {name: [[_number(v) for v in row] for row in getattr(self, name)] for name in ("value", "low", "high")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """One forecaster.

    Attributes:
        name: What it is called.
        about: What it is, in a few words.
        rmse: Root mean square error, (P, N), in the channels' units.
        skill: Skill, (P, N).
        mean: Skill averaged over the channels, (P, 1).
        lead: How much of its mean square error the run takes away, (P, N); None of the run itself.
        mean_lead: The same averaged over the channels, (P, 1).
    """

    name: str
    about: str
    rmse: Floats
    skill: Estimate
    mean: Estimate
    lead: Estimate | None = None
    mean_lead: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"about": self.about, "rmse": [[_number(v) for v in row] for row in self.rmse]}
        for name in ("skill", "mean", "lead", "mean_lead"):
            if (estimate := getattr(self, name)) is not None:
                found[name] = estimate.to_json()
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One forecast beside what happened.

    Attributes:
        past: What was measured before and at its moment, (L, N).
        truth: What was measured after it, (H, N).
        median: The run's forecast, (H, N).
        low: Lower end of its interval, (H, N).
        high: Upper end of its interval, (H, N).
    """

    past: Floats
    truth: Floats
    median: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """What was found.

    Attributes:
        ahead: Steps ahead, P of them.
        period: Seconds of a step.
        names: Of the channels, N of them.
        units: Of the channels, N of them.
        methods: The run first.
        coverage: Share of the measurements inside the run's intervals.
        mean_coverage: The same averaged over the channels, (P, 1).
        followed: The same share of intervals that follow the errors of these episodes from the first on (`tacit.training.following`); None
            of a run whose forecasts are not corrected.
        mean_followed: The same averaged over the channels, (P, 1).
        confidence: What that share should be.
        moments: Forecasts that were made.
        episodes: Episodes that they are of.
        own: Whether these are the held-out episodes of the run's own logs.
        examples: Some forecasts.
    """

    ahead: tuple[int, ...]
    period: float
    names: tuple[str, ...]
    units: tuple[str, ...]
    methods: tuple[Method, ...]
    coverage: Estimate
    mean_coverage: Estimate
    confidence: float
    moments: int
    episodes: int
    own: bool
    followed: Estimate | None = None
    mean_followed: Estimate | None = None
    examples: tuple[Example, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "steps_ahead": list(self.ahead),
            "period_seconds": self.period,
            "names": list(self.names),
            "units": list(self.units),
            "moments": self.moments,
            "episodes": self.episodes,
            "held_out_of_own_logs": self.own,
            "confidence": self.confidence,
            "coverage": self.coverage.to_json(),
            "mean_coverage": self.mean_coverage.to_json(),
            "methods": {method.name: method.to_json() for method in self.methods},
        }
        for name in ("followed", "mean_followed"):
            if (estimate := getattr(self, name)) is not None:
                found[name] = estimate.to_json()
        return found


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None
