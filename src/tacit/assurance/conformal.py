"""How much to take off a predicted margin: split conformal prediction over whole episodes of the planner that will use it.

A planner chooses, among many plans, those that look best, and so those whose errors flatter them. An interval that is right for a plan
drawn at random is too narrow for the plan that was chosen. Here the scores are therefore made of chosen plans only, in closed loop, and
of the worst moment of an episode, so that what is bounded is the share of episodes in which something goes wrong at all.

What holds. Let an episode be recorded under the very controller that is going to be used: task, planner settings, model and the factor
that multiplies the tightening. Its score is the smallest factor that would have been enough for all its moments (`MarginWatch`). If the n
recorded episodes and the next one are exchangeable (scenes from one source, nothing adapted between them), the score of the next one is
above the ceil((n + 1) c)-th smallest with probability at most 1 - c, whatever the model is worth: it is for the average over recordings
and episodes, not for every recording or every scene (Vovk et al., 2005; Angelopoulos and Bates, arXiv 2107.07511). A factor is `settled`
when it is at least as large as that quantile of fresh episodes that were recorded with this factor in place. Each round is another
chance to settle by luck, so the probability that a factor was settled and the next episode breaks the hard limit is at most 1 - c times the
mean number of rounds; as a rule it is far less, since only a limit that is nearly touched can be broken. It is about moments of the control
period, not about what happens between two of them, and about what the sensor shows.

What does not hold. Beyond the actions that are applied of one plan before the next is made nothing was observed, so nothing is
promised there: the tightening of the last applied action is kept for the rest of the horizon, only so that a way stays open. When the
world changes, nothing is promised until the online update has followed (`AdaptiveLevel`).

Dimensions: H horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray


class CalibrationError(ValueError):
    """Recorded episodes do not give the interval that is asked of them."""


def conformal_quantile(scores: ArrayLike, confidence: float) -> float:
    """The ceil((n + 1) c)-th smallest score: a further exchangeable score is above it with probability at most 1 - c.

    Args:
        scores: One per episode, (n,); not NaN.
        confidence: c, 0 to 1.

    Returns:
        The quantile; +inf where there are too few episodes for this confidence.

    Source:
        V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005); the finite-sample correction is its (n + 1).
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if np.isnan(ordered).any():
        raise CalibrationError("a score is not a number")
    if confidence <= 0:
        return -math.inf
    rank = math.ceil((len(ordered) + 1) * confidence - 1e-9)
    return math.inf if rank > len(ordered) else float(ordered[rank - 1])


def least_episodes(confidence: float) -> int:
    """How many episodes a finite quantile takes: the smallest n with ceil((n + 1) c) <= n."""
    return math.ceil(confidence / (1 - confidence) - 1e-9)


@final
@dataclass(frozen=True, kw_only=True)
class Interval:
    """How much is taken off a margin at each step of the horizon: `factor * scale`.

    Attributes:
        scale: How errors grow with the steps ahead, (H,), positive, in the limit's unit; held from the last applied action on.
        factor: What the scale is multiplied by.
        reach: Margins above it count as it, in the limit's unit: a wrong prediction of a margin that is far from 0 either way breaks
            nothing. Every tightening of an applied action must be at most `reach`.
        applied: Actions of one plan that are applied before the next is made.
        scores: Of the episodes that the factor was settled on, ascending; empty when it is only proposed.
        rounds: Recordings until it was settled, this one included.
    """

    scale: tuple[float, ...]
    factor: float
    reach: float
    applied: int
    scores: tuple[float, ...] = ()
    rounds: int = 0

    def __post_init__(self) -> None:
        if not self.scale or not all(s > 0 and math.isfinite(s) for s in self.scale):
            raise CalibrationError("every step of the scale must be a positive number")
        if not 1 <= self.applied <= len(self.scale):
            raise CalibrationError(f"{self.applied} applied actions do not fit a horizon of {len(self.scale)}")
        if not (self.factor >= 0 and math.isfinite(self.factor)):
            raise CalibrationError(f"the factor must be a number of at least 0, not {self.factor}")
        object.__setattr__(self, "scale", tuple(self.scale[min(k, self.applied - 1)] for k in range(len(self.scale))))
        if self.factor * max(self.scale) > self.reach:
            raise CalibrationError(
                f"the tightening of {self.factor * max(self.scale):.3g} is beyond the reach of {self.reach:g}: record with a longer reach"
            )

    @property
    def tightening(self) -> tuple[float, ...]:
        """(H,), in the limit's unit."""
        return tuple(self.factor * scale for scale in self.scale)

    def quantile(self, confidence: float) -> float:
        """The factor that these episodes ask for at a confidence."""
        return conformal_quantile(self.scores, confidence)

    def holds(self, confidence: float) -> bool:
        """Whether the episodes recorded with this factor say that it is enough at a confidence."""
        return self.quantile(confidence) <= self.factor

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("factor", "reach", "applied", "rounds")}
        # A score of +inf is an episode that no tightening would have helped; JSON has no such number.
        scores = [None if math.isinf(score) else score for score in self.scores]
        return values | {"scale": list(self.scale), "scores": scores}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Interval:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: It is something else.
        """
        try:
            scores = tuple(math.inf if score is None else float(score) for score in values["scores"])
            numbers = {name: float(values[name]) for name in ("factor", "reach")}
            counts = {name: int(values[name]) for name in ("applied", "rounds")}
            return cls(scale=tuple(float(s) for s in values["scale"]), scores=scores, **numbers, **counts)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"not an interval: {error}") from error


@final
class MarginWatch:
    """Watches B machines for one episode and gives the score of each: the smallest factor that would have been enough.

    At every moment that a plan led to, the score is how much larger the margin was predicted than it was found, both cut off at the reach,
    over the scale of that step; of an episode, the largest. A limit that breaks where no plan led, under a fallback say, counts as
    +inf: no tightening would have helped. The first moment belongs to the scene and counts nothing.

    Args:
        interval: Scale and reach.
    """

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._step = 0
        self._scores: NDArray[np.float64] | None = None
        self._before: NDArray[np.float64]
        self._predicted: NDArray[np.float64]
        self._is_led: NDArray[np.bool_]

    def found(self, margins: ArrayLike) -> None:
        """The margins (B,) that the sensor shows now; between two calls comes one of `decided`."""
        now = np.asarray(margins, dtype=np.float64)
        if self._scores is None:
            self._scores = np.zeros(len(now))
        else:
            step, reach = self._step - 1, self._interval.reach
            flattered = np.minimum(self._predicted[:, step], reach) - np.minimum(now, reach)
            broke = (now < 0) & (self._before >= 0)
            score = np.where(self._is_led, flattered / self._interval.scale[step], np.where(broke, np.inf, 0.0))
            self._scores = np.maximum(self._scores, np.where(np.isnan(score), np.inf, score))
        self._before = now

    def decided(self, predicted: ArrayLike | None, acts: ArrayLike) -> None:
        """What was decided after the moment that was found last.

        Args:
            predicted: Margins of the plan that was made now, with nothing taken off, (B, H); None when the plan before goes on.
            acts: Which machines follow their plan, (B,).
        """
        if predicted is not None:
            self._predicted, self._step = np.asarray(predicted, dtype=np.float64), 0
        self._step += 1
        self._is_led = np.asarray(acts, dtype=np.bool_)

    @property
    def scores(self) -> NDArray[np.float64]:
        """(B,), at least 0."""
        return np.zeros(0) if self._scores is None else self._scores


def proposed(interval: Interval, scores: ArrayLike, confidence: float, slack: float = 0.0) -> Interval:
    """The interval to record the next round with: the factor that the episodes of this round ask for, and never a smaller one.

    With a slack of 0.1 it is a tenth larger: takes off more, and settles in fewer rounds.

    Raises:
        CalibrationError: There are too few episodes for this confidence, too many of them cannot be helped by any tightening, or the
            tightening grows beyond the reach.
    """
    wanted = (1 + slack) * _wanted(scores, confidence)
    return replace(interval, factor=max(wanted, interval.factor), scores=(), rounds=interval.rounds + 1)


def settled(interval: Interval, scores: ArrayLike, confidence: float) -> Interval | None:
    """The interval with the episodes that were recorded with it in place, or None when they ask for a larger factor.

    Raises:
        CalibrationError: As of `proposed`.
    """
    if _wanted(scores, confidence) > interval.factor:
        return None
    return replace(interval, scores=tuple(np.sort(np.asarray(scores, dtype=np.float64)).tolist()), rounds=interval.rounds + 1)


def _wanted(scores: ArrayLike, confidence: float) -> float:
    found = conformal_quantile(scores, confidence)
    if math.isinf(found):
        n = np.size(scores)
        if n < (needed := least_episodes(confidence)):
            raise CalibrationError(f"{n} episodes give no interval at confidence {confidence:g}: record at least {needed}")
        raise CalibrationError(
            f"in more than {1 - confidence:.2g} of the episodes the limit was broken where no plan led, such as under the fallback: "
            "no tightening helps against that; choose another fallback or another task"
        )
    return found


def settle(
    record: Callable[[Mapping[str, Interval]], Mapping[str, ArrayLike]],
    intervals: Mapping[str, Interval],
    confidence: Mapping[str, float],
    *,
    rounds: int = 6,
    slack: float = 0.0,
) -> dict[str, Interval]:
    """Record round after round until the intervals are those of the planner that plans with them.

    A wider interval makes other plans, and so other errors: what was recorded with one interval says nothing certain of another.

    Args:
        record: Drives fresh episodes with the given intervals in place and returns their scores, (n,), by limit.
        intervals: To begin with, by limit.
        confidence: By limit.
        rounds: At most.
        slack: Of `proposed`.

    Raises:
        CalibrationError: As of `proposed`, or no round settles all limits.
    """
    for _ in range(rounds):
        scores = record(intervals)
        kept = {name: settled(interval, scores[name], confidence[name]) for name, interval in intervals.items()}
        if all(kept.values()):
            return {name: interval for name, interval in kept.items() if interval is not None}
        intervals = {name: proposed(interval, scores[name], confidence[name], slack) for name, interval in intervals.items()}
    raise CalibrationError(
        f"after {rounds} rounds the episodes still ask for more than what was taken off: begin with more, or record more"
    )


@final
@dataclass(frozen=True, kw_only=True)
class AdaptiveLevel:
    """Adaptive conformal inference: the level follows what really happens, episode by episode.

    After every episode the level goes up a little when its score was inside the interval, and down by more when it was not. Over T
    episodes the share of scores outside differs from 1 - c by at most (max(a, 1 - a) + rate) / (rate T), with the first level a, however
    the world changes (Gibbs and Candès, arXiv 2106.00170, Proposition 4.1): that is about scores, and about the average over time; a
    single episode is promised nothing. A level of 0 or below asks for an infinite interval: then every plan is infeasible.

    Attributes:
        scores: Reference scores, of recorded episodes.
        confidence: c, that is aimed at.
        rate: How fast the level follows, above 0.
        level: Share of scores that are left outside now; None for 1 - c.
    """

    scores: Sequence[float] = field(repr=False)
    confidence: float
    rate: float = 0.005
    level: float | None = None

    @property
    def outside(self) -> float:
        """The level now."""
        return 1 - self.confidence if self.level is None else self.level

    @property
    def factor(self) -> float:
        """What the scale is to be multiplied by now; +inf when nothing finite is enough, 0 at least."""
        return max(0.0, conformal_quantile(self.scores, 1 - self.outside)) if self.outside > 0 else math.inf

    def after(self, score: float) -> AdaptiveLevel:
        """The level after one more episode."""
        missed = not score <= self.factor
        return replace(self, level=self.outside + self.rate * (1 - self.confidence - missed))
