"""A question about what would have happened, and its answer: indicators, moments, outcomes. `tacit.evaluation.what_if` finds them.

Dimensions: T moments, H horizon, A action, N channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tacit.training.readouts import CONFIDENCE

Floats = NDArray[np.float32]


class Wish(StrEnum):
    """What an indicator should be."""

    SMALL = "minimise"
    LARGE = "maximise"
    NEAR = "target"


@final
@dataclass(frozen=True, kw_only=True)
class Kpi:
    """A number to rank by: the mean of a channel or of an action over the horizon, or its mean distance from a target.

    Attributes:
        channel: Which.
        wish: What it should be.
        target: Where it should be, for `Wish.NEAR`.
    """

    channel: str
    wish: Wish
    target: float = 0.0

    @property
    def name(self) -> str:
        """In words."""
        return f"mean distance of {self.channel} from {self.target:g}" if self.wish is Wish.NEAR else f"mean of {self.channel}"

    @property
    def sign(self) -> float:
        """1 where less is better, else -1."""
        return -1.0 if self.wish is Wish.LARGE else 1.0

    def of(self, path: NDArray[Any]) -> NDArray[Any]:
        """Its value for paths of the channel (..., H), not counting what is not finite: (...)."""
        found: NDArray[Any] = np.nanmean(np.abs(path - self.target) if self.wish is Wish.NEAR else path, axis=-1)
        return found


@final
@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment of a store.

    Attributes:
        episode: Its episode.
        step: Frames since the episode began.
    """

    episode: int
    step: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Situation:
    """What is known at a moment, and what was done after it.

    Attributes:
        seen: Observations and disturbances up to now by name, (T, *shape) each.
        applied: Actions between them, (T - 1, A).
        actions: Actions from now on as they were logged, (H, A).
        logged: How many of these were; the last one stands for the rest.
        happened: What the channels showed after each of them, (H, N), not finite where nothing was measured.
    """

    seen: Mapping[str, NDArray[Any]]
    applied: Floats
    actions: Floats
    logged: int
    happened: Floats


@final
@dataclass(frozen=True, kw_only=True)
class Value:
    """An indicator with its interval."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a run says of one intervention.

    Attributes:
        text: As it was asked for.
        actions: What is done, (H, A).
        median: What the channels will show, (H, N); row k is after action k.
        low: Lower end of the interval of each step, (H, N).
        high: Upper end, (H, N).
        kpi: The indicator; None where none was asked for.
        against: How much more the indicator is than as logged.
        p_value: Share of stretches of the logs that are at least as strange.
        reasons: Why it is not ranked, in words; empty where it is.
        rank: Place by the indicator, from 1; None where it is not ranked.
        ties: Texts of the others that the prediction cannot tell it from.
    """

    text: str
    actions: Floats
    median: Floats
    low: Floats
    high: Floats
    p_value: float
    reasons: tuple[str, ...]
    kpi: Value | None = None
    against: Value | None = None
    rank: int | None = None
    ties: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.reasons)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """An answered question.

    Attributes:
        names: Of the N channels.
        units: Of the channels.
        actions: Names of the A action elements.
        action_units: Of them.
        period: Control period in seconds.
        kpi: What is ranked by, or None.
        situation: The moment, with what happened then.
        outcomes: As logged first, then the interventions in the order of the question.
        hindsight: Whether what was measured after the moment counts; "as logged" is then what was measured.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    actions: tuple[str, ...]
    action_units: tuple[str, ...]
    period: float
    kpi: Kpi | None
    situation: Situation
    outcomes: tuple[Outcome, ...]
    hindsight: bool = False

    @property
    def ranking(self) -> tuple[Outcome, ...]:
        """What is ranked, best first."""
        return tuple(sorted((o for o in self.outcomes if o.rank is not None), key=lambda o: o.rank or 0))

    @property
    def really(self) -> float | None:
        """The indicator of what really happened; None where it was not logged."""
        if self.kpi is None:
            return None
        if self.kpi.channel in self.actions:
            return float(self.kpi.of(self.situation.actions[:, self.actions.index(self.kpi.channel)]))
        path = self.situation.happened[:, self.names.index(self.kpi.channel)]
        return float(self.kpi.of(path)) if np.isfinite(path).any() and self.situation.logged == len(path) else None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "period": self.period,
            "channels": dict(zip(self.names, self.units, strict=True)),
            "actions": dict(zip(self.actions, self.action_units, strict=True)),
            "kpi": None if self.kpi is None else {"channel": self.kpi.channel, "wish": str(self.kpi.wish), "target": self.kpi.target},
            "confidence": CONFIDENCE,
            "hindsight": self.hindsight,
            "logged_steps": self.situation.logged,
            "happened": _by_name(self.names, self.situation.happened),
            "really": self.really,
            "outcomes": [
                {
                    "text": o.text,
                    "rank": o.rank,
                    "kpi": None if o.kpi is None else vars(o.kpi),
                    "against_as_logged": None if o.against is None else vars(o.against),
                    "ties": list(o.ties),
                    "p_value": o.p_value,
                    "refused": list(o.reasons),
                    "actions": _by_name(self.actions, o.actions),
                    "median": _by_name(self.names, o.median),
                    "low": _by_name(self.names, o.low),
                    "high": _by_name(self.names, o.high),
                }
                for o in self.outcomes
            ],
        }


def _by_name(names: Sequence[str], values: Floats) -> dict[str, list[float | None]]:
    rounded = np.round(values.astype(np.float64), 6)
    return {name: [None if math.isnan(v) else v for v in rounded[:, n].tolist()] for n, name in enumerate(names)}
