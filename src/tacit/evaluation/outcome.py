"""What an evaluation found, its rates with their intervals, and two policies compared on the same scenes.

Dimensions: N episodes, T actions of the budget, A action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.evaluation.intervals import wilson


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One evaluated episode, kept to be looked at.

    Attributes:
        episode: Its number in the manifest.
        goal: What the sensors show at the goal, (*shape) by observation signal.
        observations: (T + 1, *shape) by observation signal.
        labels: (T + 1, *shape) by label, which the policy never saw.
        actions: (T, A), as the policy gave them.
    """

    episode: int
    goal: Mapping[str, NDArray[Any]]
    observations: Mapping[str, NDArray[Any]]
    labels: Mapping[str, NDArray[Any]]
    actions: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """How one policy did on one manifest.

    Attributes:
        digest: Digest of the manifest.
        hard: Which episodes are hard, (N,) bool.
        distance: Distance from the goal before the first action and after each, (N, T + 1), in `unit`.
        tolerance: Largest distance that counts as there.
        unit: Unit of the distances.
        seconds_per_action: Wall seconds the policy took per action, averaged over episodes that ran side by side.
        hold: Moments at the end at which the distance must be within the tolerance; 0 when once is enough.
        traces: Episodes that were kept, in order.
    """

    digest: str
    hard: NDArray[np.bool_]
    distance: NDArray[np.float64]
    tolerance: float
    unit: str
    seconds_per_action: float
    hold: int = 1
    traces: tuple[Trace, ...] = ()

    @property
    def distance_end(self) -> NDArray[np.float64]:
        """Distance after the last action, (N,)."""
        return self.distance[:, -1]

    @property
    def success(self) -> NDArray[np.bool_]:
        """Within the tolerance at the last `hold` moments, (N,). A distance that is not a number is no success."""
        if self.hold == 0:
            return self.reached_ever
        farthest: NDArray[np.float64] = self.distance[:, -self.hold :].max(axis=1)
        return farthest <= self.tolerance

    @property
    def reached_ever(self) -> NDArray[np.bool_]:
        """Within the tolerance at some moment, (N,); a success is always one of these."""
        nearest: NDArray[np.float64] = np.fmin.reduce(self.distance, axis=1)
        return nearest <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Successes in a number of episodes."""

    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson(self.successes, self.episodes)

    def numbers(self) -> dict[str, float]:
        """For results.json and the benchmarks: rate, low and high to four digits, successes and episodes."""
        low, high = self.interval
        rounded = {"rate": round(self.rate, 4), "low": round(low, 4), "high": round(high, 4)}
        return rounded | {"successes": self.successes, "episodes": self.episodes}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Success rates of one policy; None where there was no such episode."""

    overall: Rate
    hard: Rate | None
    easy: Rate | None


def rates(outcome: Outcome) -> Rates:
    """Success rates over all episodes, the hard ones and the easy ones."""
    every = np.ones(len(outcome.hard), dtype=bool)
    overall, hard, easy = (
        Rate(successes=int(outcome.success[among].sum()), episodes=int(among.sum())) if among.any() else None
        for among in (every, outcome.hard, ~outcome.hard)
    )
    assert overall is not None, "a manifest has at least one scene"
    return Rates(overall=overall, hard=hard, easy=easy)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two policies on the same scenes.

    Attributes:
        both: Scenes that both solved.
        first_only: Scenes that the first policy alone solved.
        second_only: Scenes that the second policy alone solved.
        neither: Scenes that nobody solved.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def difference(self) -> float:
        """Success rate of the first policy minus that of the second."""
        return (self.first_only - self.second_only) / (self.both + self.first_only + self.second_only + self.neither)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the hypothesis that both are equally good; only the scenes that one alone solved count.

        Source:
            Q. McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947), 153-157,
            with the exact binomial tail.
        """
        n = self.first_only + self.second_only
        tail = sum(math.comb(n, k) for k in range(min(self.first_only, self.second_only) + 1))
        return min(1.0, float(2 * tail / 2**n))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference: Wilson's score intervals, combined for paired data.

        Source:
            R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired data,
            Statistics in Medicine 17 (1998), 2635-2650, method 10.
        """
        a, b, c, d = self.both, self.first_only, self.second_only, self.neither
        n = a + b + c + d
        first, second = (a + b) / n, (a + c) / n
        (low1, high1), (low2, high2) = wilson(a + b, n), wilson(a + c, n)
        scale = math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
        product = a * d - b * c
        phi = (max(product - n / 2, 0.0) if product > 0 else product) / scale if scale else 0.0

        def combined(u: float, v: float) -> float:
            return math.sqrt(max(u * u - 2 * phi * u * v + v * v, 0.0))

        return self.difference - combined(first - low1, high2 - second), self.difference + combined(high1 - first, second - low2)


def compare(first: Outcome, second: Outcome) -> Comparison:
    """Compare two policies scene by scene.

    Raises:
        ValueError: They were evaluated on different manifests.
    """
    if first.digest != second.digest:
        raise ValueError(f"compare: the outcomes are of different manifests, {first.digest[:12]} and {second.digest[:12]}; run both on one")
    a, b = first.success, second.success
    return Comparison(
        both=int((a & b).sum()), first_only=int((a & ~b).sum()), second_only=int((~a & b).sum()), neither=int((~a & ~b).sum())
    )
