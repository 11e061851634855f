"""Who reached how many goals: the scores of the report, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tacit.evaluation.checks import require
from tacit.evaluation.intervals import wilson


class Kind(StrEnum):
    """What a row of the results is."""

    PLANNER = "planner"  # the method under test; the first one is the headline
    ABLATION = "ablation"  # the method with one part changed
    FLOOR = "floor"  # what needs no world model: random, no-op, cloning


@dataclass(frozen=True, kw_only=True)
class Score:
    """Successes of one method on one split of the test episodes."""

    method: str
    kind: Kind
    split: str
    successes: int
    episodes: int

    def __post_init__(self) -> None:
        fits = 0 <= self.successes <= self.episodes and self.episodes > 0
        require(fits, f"score of {self.method!r} on {self.split!r}: {self.successes} successes in {self.episodes} episodes")

    @property
    def rate(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson(self.successes, self.episodes)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Who reached how many goals.

    Attributes:
        scores: One row per method and split; no pair twice.
        protocol: How starts and goals were drawn, and what counts as success, in a sentence or two.
        hard_split: The split worth a tile of its own, or None.
    """

    scores: tuple[Score, ...]
    protocol: str
    hard_split: str | None = None

    def __post_init__(self) -> None:
        pairs = [(s.method, s.split) for s in self.scores]
        require(len(set(pairs)) == len(pairs), "results: a method has two scores on one split")
        require(any(s.kind is Kind.PLANNER for s in self.scores), "results: no score is of kind 'planner': nothing is under test")
        if self.hard_split is not None:
            require(self.hard_split in self.splits, f"results: no score on split {self.hard_split!r}; there are {', '.join(self.splits)}")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.split for s in self.scores))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in order of appearance, grouped: planners, ablations, floors."""
        return tuple(dict.fromkeys(s.method for kind in Kind for s in self.scores if s.kind is kind))

    def score(self, method: str, split: str) -> Score | None:
        """Score of `method` on `split`, or None when it was not measured."""
        return next((s for s in self.scores if (s.method, s.split) == (method, split)), None)

    def total(self, method: str) -> Score:
        """Successes of `method` over every split it was measured on."""
        mine = [s for s in self.scores if s.method == method]
        require(len(mine) > 0, f"results: no score of {method!r}; there are {', '.join(self.methods)}")
        successes, episodes = sum(s.successes for s in mine), sum(s.episodes for s in mine)
        return Score(method=method, kind=mine[0].kind, split="all", successes=successes, episodes=episodes)

    def best(self, kind: Kind, split: str | None = None) -> Score | None:
        """The highest rate of a kind, over all splits or on one; None when that was not measured."""
        names = [m for m in self.methods if self.total(m).kind is kind]
        found = [self.total(m) if split is None else self.score(m, split) for m in names]
        return max((s for s in found if s is not None), key=lambda s: s.rate, default=None)
