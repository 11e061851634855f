"""Confidence intervals of measured rates and means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy import stats


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a success rate.

    Unlike `p ± z·sqrt(p(1-p)/n)` it stays inside [0, 1] and keeps a width at 0 or n successes, where a small test would
    otherwise look certain.

    Args:
        successes: Trials that succeeded, 0 to n.
        n: Trials, at least 1.
        confidence: Coverage of the two-sided interval, between 0 and 1.

    Returns:
        Lower and upper bound of the rate, 0 <= low <= successes / n <= high <= 1.

    Raises:
        ValueError: There are no trials, more successes than trials, or `confidence` lies outside (0, 1).

    Source:
        E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212.
    """
    if n < 1:
        raise ValueError(f"wilson: {n} trials give no interval; run at least one")
    if not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes in {n} trials; count them again")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"wilson: confidence {confidence} is not between 0 and 1; 0.95 is usual")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    rate = successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # Rounding may push a bound past the rate by one unit in the last place at 0 or n successes.
    return max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate))


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean with an interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Mean:
    """Mean of independent values with Student's interval; infinitely wide where there is a single one.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("mean_interval: no values have no mean; run at least one")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Mean(mean=mean, low=-math.inf, high=math.inf)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(mean=mean, low=mean - half, high=mean + half)
