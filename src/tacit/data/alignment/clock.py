"""How late one stream's clock is: the lag at which two activities that belong together look most alike.

The two are brought to one fine grid; the peak of their normalised cross-correlation, refined by a parabola, is the offset. Offsets of
overlapping windows against time give the drift, as the slope of a Theil-Sen line (Theil 1950, Sen 1968). Whether a peak is more than
chance is judged by the standard error of a correlation between series that are not white (Bartlett 1946):
sqrt(sum over k of r_x(k) r_y(k) / n). Two series that only share a rhythm have a large one, and so are never called reliable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tacit.data.alignment.activity import Activity, Series, activity

__all__ = ["Activity", "ClockEstimate", "activity", "estimate_clock"]

SAMPLES = 32  # at least, of each series
CHANCE = 6.0  # standard errors that a correlation must exceed chance by
ELSEWHERE = 1.25  # times the highest correlation at lags far from all that are looked for: what rare, large events give by chance
WEAK = 0.1  # correlation below which nothing is said, however long the series
WINDOWS = 24  # that a long series is cut into, half overlapping
GATED = 6  # windows at least, for a drift
DRIFT_ERRORS = 4.0  # standard errors below which a drift is taken as none
POINTS = 1 << 21  # of the grid, at most


@dataclass(frozen=True, kw_only=True)
class ClockEstimate:
    """How late the time stamps of a stream are, as a function of them: offset + drift * (t - first t).

    Attributes:
        offset: Seconds by which the first time stamp is late; negative when it is early.
        drift: Seconds by which they get later per second; 0 when no drift can be told from none.
        correlation: At that offset and drift, -1 to 1, of what was compared: values, rates of change, or amounts of either.
        offset_error: Standard error of the offset in seconds.
        drift_error: Standard error of the drift in seconds per second; infinite when there was too little to tell.
        reliable: False when the numbers must not be used.
        reason: Why they must not; empty otherwise.
    """

    offset: float = 0.0
    drift: float = 0.0
    correlation: float = 0.0
    offset_error: float = math.inf
    drift_error: float = math.inf
    reliable: bool = False
    reason: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the offset in seconds."""
        return self.offset - 1.96 * self.offset_error, self.offset + 1.96 * self.offset_error


def estimate_clock(reference: Activity, other: Activity, *, max_offset: float = 0.5) -> ClockEstimate:
    """How late the time stamps of `other` are, by the clock of `reference`.

    Compared are the values themselves (either sign), their rates of change (either sign) and the amounts of those rates; where one
    series is an amount of change already, the amounts of the other's values and rates. The sharpest reliable answer is taken.

    Args:
        reference: Activity whose clock is right.
        other: Activity of the same machine at the same time.
        max_offset: Seconds to look for in both directions.

    Returns:
        Offset, drift, their errors, and whether they may be used; `offset` and `drift` go into a mapping as `delay` and `drift`.
    """
    for series in (reference, other):
        if len(series.time) < SAMPLES:
            return ClockEstimate(reason=f"{series.name} has {len(series.time)} samples; it takes at least {SAMPLES}")
        if np.ptp(series.values) <= 1e-12 * np.abs(series.values).max():
            return ClockEstimate(reason=f"{series.name} is constant: nothing in it can be found again elsewhere")
    both = min(reference.time[-1], other.time[-1]) - max(reference.time[0], other.time[0])
    if both < 20 * max_offset:
        return ClockEstimate(
            reason=f"the series overlap for {max(both, 0.0):.1f} s; to look for {max_offset} s takes at least {20 * max_offset:.1f} s"
        )
    found = [_estimate(reference, other, form, max_offset) for form in _forms(reference, other)]
    reliable = sorted((each for each in found if each.reliable), key=lambda each: each.offset_error)
    if not reliable:
        return max(found, key=lambda each: abs(each.correlation))
    best = reliable[0]
    for each in reliable[1:]:
        apart = abs(each.offset - best.offset)
        if abs(each.correlation) > 0.8 * abs(best.correlation) and apart > max(5 * (each.offset_error + best.offset_error), max_offset / 4):
            reason = f"two answers are equally good, {best.offset:.3f} s and {each.offset:.3f} s: the movement is too regular"
            return replace(best, reliable=False, reason=reason)
    return best


@dataclass(frozen=True, kw_only=True)
class _Form:
    """What of two series is compared, and whether it may run against each other."""

    reference: str
    other: str
    signed: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Peak:
    """The lag at which two series are most alike: seconds; the correlation there, by chance, and far away; curvature per square second."""

    lag: float
    correlation: float
    chance: float
    curvature: float
    elsewhere: float
    at_edge: bool

    @property
    def error(self) -> float:
        """Standard error of the lag in seconds: that of the slope of the correlation, over the curvature."""
        size = abs(self.correlation)
        if self.curvature <= 0 or not size:
            return math.inf
        return self.chance * math.sqrt(max(1 - size**2, 1e-6)) / math.sqrt(size * self.curvature)

    @property
    def least(self) -> float:
        """Correlation that excludes chance."""
        return max(CHANCE * self.chance, ELSEWHERE * self.elsewhere, WEAK)

    @property
    def stands_out(self) -> bool:
        return abs(self.correlation) > self.least


def _forms(reference: Activity, other: Activity) -> tuple[_Form, ...]:
    if reference.is_change and other.is_change:
        return (_Form(reference="values", other="values", signed=False),)
    if not (reference.is_change or other.is_change):
        same = (("values", True), ("rate", True), ("amount of rate", False))
        return tuple(_Form(reference=what, other=what, signed=signed) for what, signed in same)
    amounts = ("amount of rate", "amount")
    if reference.is_change:
        return tuple(_Form(reference="values", other=what, signed=False) for what in amounts)
    return tuple(_Form(reference=what, other="values", signed=False) for what in amounts)


def _estimate(reference: Activity, other: Activity, form: _Form, max_offset: float) -> ClockEstimate:
    """Offset by the whole series once their drift, told from windows, has been taken off."""
    first = float(other.time[0])
    step = _grid_step(reference, other, max_offset)
    x, y, begin = _gridded(reference, other, form, step, max_offset)
    offset, drift, drift_error = _line(x, y, begin, first, step, form, max_offset)
    if drift:
        straight = replace(other, time=other.time - offset - drift * (other.time - first))
        x, y, begin = _gridded(reference, straight, form, step, max_offset)
    else:
        offset = 0.0
    peak = _peak(x, y, step, max_offset, form.signed)
    reason = ""
    if peak.at_edge:
        reason = f"the best lag lies at the edge of +-{max_offset} s; give a larger max_offset"
    elif not peak.stands_out:
        reason = f"no lag stands out: the highest correlation is {peak.correlation:.2f}, and it takes {peak.least:.2f} to exclude chance"
    elif peak.error > max_offset / 4:
        reason = f"the peak is too broad: the offset is known to +-{peak.error:.3f} s only"
    return ClockEstimate(
        offset=offset + peak.lag,
        drift=drift,
        correlation=peak.correlation,
        offset_error=peak.error,
        drift_error=drift_error,
        reliable=not reason,
        reason=reason,
    )


def _grid_step(reference: Activity, other: Activity, max_offset: float) -> float:
    fine, coarse = sorted(float(np.median(np.diff(series.time))) for series in (reference, other))
    seconds = min(reference.time[-1], other.time[-1]) - max(reference.time[0], other.time[0])
    return float(max(min(max(fine / 2, coarse / 6), max_offset / 10), seconds / POINTS))


def _gridded(reference: Activity, other: Activity, form: _Form, step: float, max_offset: float) -> tuple[Series, Series, float]:
    """Both series on one grid, nan where they have no samples nearby, without what is slower than offsets that are looked for."""
    begin = max(float(reference.time[0]), float(other.time[0]))
    count = int((min(reference.time[-1], other.time[-1]) - begin) / step) + 1
    at = begin + np.arange(count) * step
    intervals = [float(np.median(np.diff(series.time))) for series in (reference, other)]
    smooth = max(1, round(max(intervals) / step / 2))
    slow = max(round(5 * max_offset / step), 4 * smooth)
    found = []
    for series, what, interval in zip((reference, other), (form.reference, form.other), intervals, strict=True):
        values = np.interp(at, series.time, series.values)
        right = np.clip(np.searchsorted(series.time, at), 1, len(series.time) - 1)
        values[series.time[right] - series.time[right - 1] > 5 * interval] = np.nan
        values = _moving_mean(_moving_mean(values, smooth), smooth)
        if what != "values" and what != "amount":
            values = np.gradient(values)
        if what == "amount":
            values = values - np.nanmedian(values)
        values = np.abs(values) if what.startswith("amount") else values
        found.append(values - _moving_mean(values, slow))
    return found[0], found[1], begin


def _moving_mean(values: Series, half: int) -> Series:
    """Mean of the known values up to `half` places away on either side; nan where the value itself is unknown."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values - _middle(values), 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    mean: Series = np.where(known, (total[high] - total[low]) / np.maximum(count[high] - count[low], 1) + _middle(values), np.nan)
    return mean


def _middle(values: Series) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0


def _peak(x: Series, y: Series, step: float, max_offset: float, signed: bool) -> _Peak:
    """Where two series on one grid are most alike; a positive lag says that `y` is late."""
    most = max(int(max_offset / step), 2)
    knows_x, knows_y = np.isfinite(x), np.isfinite(y)
    x, y = np.where(knows_x, x - _middle(x), 0.0), np.where(knows_y, y - _middle(y), 0.0)
    far = len(x) // 4
    size = 1 << (len(x) + max(far, most)).bit_length()
    of_x, of_y = np.fft.rfft(x, size), np.fft.rfft(y, size)

    def lagged(a: NDArray[np.complex128], b: NDArray[np.complex128], lags: int) -> Series:
        """Sum of a(t) b(t + lag) over t, for lags from -`lags` to `lags`, from their spectra."""
        both = np.fft.irfft(np.conj(a) * b, size)
        return np.concatenate([both[-lags:], both[: lags + 1]])

    wide = max(far, most)
    energy_x = lagged(np.fft.rfft(x**2, size), np.fft.rfft(knows_y, size), wide)
    energy_y = lagged(np.fft.rfft(knows_x, size), np.fft.rfft(y**2, size), wide)
    everywhere = lagged(of_x, of_y, wide) / np.sqrt(np.maximum(energy_x * energy_y, 1e-30))
    apart = np.abs(np.arange(-wide, wide + 1))
    correlation, elsewhere = everywhere[apart <= most], everywhere[apart > 5 * most]
    place = int(np.argmax(np.abs(correlation) if signed else correlation))
    inner = min(max(place, 1), len(correlation) - 2)
    before, here, after = correlation[inner - 1 : inner + 2]
    bend = before - 2 * here + after
    shift = float(np.clip(0.5 * (before - after) / bend, -1, 1)) if bend else 0.0
    alike = lagged(of_x, of_x, far) * lagged(of_y, of_y, far)
    common = max(float((knows_x & knows_y).sum()), 1.0)
    chance = math.sqrt(max(float(alike.sum() / max(alike[far], 1e-30)), 1.0) / common)
    return _Peak(
        lag=(inner - most + shift) * step,
        correlation=float(here),
        chance=chance,
        curvature=float(-bend * np.sign(here)) / step**2,
        elsewhere=float((np.abs(elsewhere) if signed else elsewhere).max(initial=0.0)),
        at_edge=place < 2 or place > len(correlation) - 3,
    )


def _line(x: Series, y: Series, begin: float, first: float, step: float, form: _Form, max_offset: float) -> tuple[float, float, float]:
    """Offset at the time stamp `first`, drift and its standard error, from the lags of windows; drift 0 when it is none or untold."""
    length = max(round(20 * max_offset / step), 2 * len(x) // (WINDOWS + 1))
    starts = range(0, len(x) - length + 1, max(length // 2, 1))
    peaks = [(s, _peak(x[s : s + length], y[s : s + length], step, max_offset, form.signed)) for s in starts]
    sign = np.sign(sum(p.correlation for _, p in peaks if p.stands_out))
    good = [(s, p) for s, p in peaks if p.stands_out and not p.at_edge and np.sign(p.correlation) == sign]
    if len(good) < GATED:
        return 0.0, 0.0, math.inf
    lags = np.array([p.lag for _, p in good])
    stamps = np.array([begin + (s + length / 2) * step for s, _ in good]) + lags - first
    i, j = np.triu_indices(len(good), 1)
    drift = float(np.median((lags[j] - lags[i]) / (stamps[j] - stamps[i])))
    offset = float(np.median(lags - drift * stamps))
    rest = lags - drift * stamps - offset
    spread = 1.4826 * float(np.median(np.abs(rest)))
    # Half of a window is also in the next one, so that as many windows say less; and a median says less than a mean.
    error = 1.5 * spread / math.sqrt(float(((stamps - stamps.mean()) ** 2).sum()))
    return (offset, drift, error) if abs(drift) > DRIFT_ERRORS * error else (0.0, 0.0, error)
