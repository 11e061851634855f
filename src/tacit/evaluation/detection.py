"""How soon a monitor tells that something is wrong, and how often it says so when nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.evaluation.intervals import mean_interval, wilson

Floats = NDArray[np.float64]

IN_A_ROW = 6  # samples above the limit that make an alarm, as in Chiang, Russell, Braatz (2001), section 11.3


def alarm(scores: Floats, limit: float, *, onset: int, in_a_row: int = IN_A_ROW) -> int | None:
    """Steps from the onset until the last of `in_a_row` scores above the limit, or None where there is no such row.

    Args:
        scores: Of one run after each of its steps, (T,); larger is stranger.
        limit: Of the scores.
        onset: Step at whose beginning the disturbance sets in, so that its score is the first that can tell, one step after the onset;
            what was above the limit before does not count.
        in_a_row: Scores that have to be above it.
    """
    above = scores[onset:] > limit
    rows = np.convolve(above, np.ones(in_a_row), mode="valid") == in_a_row
    return int(np.argmax(rows)) + in_a_row if rows.any() else None


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What one score does about one disturbance.

    Attributes:
        runs: How many there were.
        detected: In how many there was an alarm.
        delays: Minutes from the onset to the alarm, of those.
        above: Share of samples after the onset that are above the limit, of each run.
    """

    runs: int
    detected: int
    delays: tuple[float, ...]
    above: tuple[float, ...]

    def numbers(self) -> dict[str, Any]:
        """As JSON values, with 95 % intervals: of runs with an alarm (Wilson) and of the share above the limit (over runs)."""
        low, high = wilson(self.detected, self.runs)
        above = mean_interval(self.above)
        values: dict[str, Any] = {"runs": self.runs, "detected": self.detected, "rate_low": round(low, 4), "rate_high": round(high, 4)}
        values |= {"above": round(above.mean, 4), "above_low": round(max(above.low, 0.0), 4), "above_high": round(min(above.high, 1.0), 4)}
        if self.delays:
            values |= {"delay": float(np.median(self.delays)), "delay_least": min(self.delays), "delay_most": max(self.delays)}
        return values


def detection(runs: Sequence[Floats], limit: float, *, onset: int, step_minutes: float) -> Detection:
    """What a score does about runs of one disturbance, or of none.

    Args:
        runs: Scores of each, (T,); T may differ, as a plant that shut down has no more.
        limit: Of the scores.
        onset: Step at which the disturbance sets in.
        step_minutes: Length of a step.
    """
    found = [alarm(scores, limit, onset=onset) for scores in runs]
    delays = tuple(round(steps * step_minutes, 3) for steps in found if steps is not None)
    above = tuple(float((scores[onset:] > limit).mean()) for scores in runs)
    return Detection(runs=len(runs), detected=len(delays), delays=delays, above=above)
