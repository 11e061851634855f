"""Samples on their own clock to one value per moment or step of the control clock.

Dimensions: N samples, M moments or steps, D elements of a sample. Each result follows from the samples around its own moment alone:
neither from the other moments that are asked for together with it, nor from where the arrays begin, so that a log gives the same
numbers however it is cut into pieces. That is why sums are taken sample by sample and never as differences of cumulated sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Values = NDArray[Any]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]

RELATIVE = 1e-9  # of a control period, within which two times are one
RESOLUTIONS = 4.0  # of a float64 at that magnitude, likewise: seconds since 1970 come in steps of 2.4e-7


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples in strictly increasing order of time.

    Attributes:
        time: Seconds, (N,).
        values: (N, D).
        good: False where a sample is there but must not be used, (N,).
    """

    time: Times
    values: Values
    good: Flags


def tolerance(at: Times, period: float) -> Times:
    """Seconds within which a time counts as equal to `at`, (M,)."""
    return RELATIVE * period + RESOLUTIONS * np.spacing(np.abs(at))


def held(samples: Samples, at: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """The newest sample at or before each moment.

    Args:
        samples: N samples.
        at: Moments in seconds, (M,).
        period: Control period in seconds.
        oldest: Age in seconds beyond which a sample is not used.

    Returns:
        Values (M, D), and False where the sample is bad, too old or not there, (M,).
    """
    place, present = _in_force(samples, at, period=period, oldest=oldest)
    return _taken(samples, place), present & _good(samples, place)


def mean(samples: Samples, at: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """The mean of the samples of the period that ends at each moment; the newest one where the period has none.

    Args:
        samples: N samples, all good.
        at: Moments in seconds, (M,).
        period: Control period in seconds.
        oldest: Age in seconds beyond which a sample is not used.

    Returns:
        Values (M, D) float64, and False where the newest sample is too old or not there, (M,).
    """
    place, present = _in_force(samples, at, period=period, oldest=oldest)
    total = np.array(_taken(samples, place), np.float64)
    first = np.searchsorted(samples.time, at - period + tolerance(at, period), side="right")
    for back in range(1, int((place - first).max(initial=0)) + 1):
        more = place - back >= first
        total[more] += samples.values[place[more] - back]
    return total / np.maximum(place - first + 1, 1)[:, None], present


def linear(samples: Samples, at: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """Between the samples on both sides of each moment; a sample that is hit is returned as it is.

    Args:
        samples: N samples, all good.
        at: Moments in seconds, (M,).
        period: Control period in seconds.
        oldest: Seconds by which either side may be away.

    Returns:
        Values (M, D) float64, and False where a side is too far away or not there, (M,).
    """
    slack = tolerance(at, period)
    place, present = _in_force(samples, at, period=period, oldest=oldest)
    values = np.array(_taken(samples, place), np.float64)
    if not len(samples.time):
        return values, present
    left = np.maximum(place, 0)
    between = at - samples.time[left] > slack
    right = np.minimum(left + 1, len(samples.time) - 1)
    away = samples.time[right] - at
    present &= ~between | ((right > left) & (away <= oldest + slack))
    inside = between & present
    i, j = left[inside], right[inside]
    share = (at[inside] - samples.time[i]) / (samples.time[j] - samples.time[i])
    values[inside] += (samples.values[j] - values[inside]) * share[:, None]
    return values, present


def commanded_mean(samples: Samples, since: Times, until: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """The mean of the commands in force in each step, weighted by how long each was; a lone one as it is.

    Args:
        samples: N commands, each in force until the next one.
        since: Starts of the steps in seconds, (M,).
        until: Ends of the steps in seconds, (M,).
        period: Control period in seconds.
        oldest: Age in seconds, at the start of a step, beyond which a command is not used.

    Returns:
        Values (M, D) float64, and False where a command is bad, too old or not there, (M,).
    """
    first, stop, present = _commands(samples, since, until, period=period, oldest=oldest)
    lone = _taken(samples, first)
    start = np.array(lone, np.float64)
    weighted = np.zeros_like(start)  # relative to the first command, so that equal ones give exactly their value
    for place, more, seconds in _shares(samples, first, stop, since, until):
        weighted[more] += (samples.values[place] - start[more]) * seconds[:, None]
    several = stop - first > 1
    return np.where(several[:, None], start + weighted / (until - since)[:, None], start), present


def commanded_longest(samples: Samples, since: Times, until: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """The command that was in force for the longest part of each step; of several that were as long, the earliest.

    Args:
        samples: N commands, each in force until the next one; equal ones count as one.
        since: Starts of the steps in seconds, (M,).
        until: Ends of the steps in seconds, (M,).
        period: Control period in seconds.
        oldest: Age in seconds, at the start of a step, beyond which a command is not used.

    Returns:
        Values (M, D), and False where a command is bad, too old or not there, (M,).
    """
    first, stop, present = _commands(samples, since, until, period=period, oldest=oldest)
    values = np.array(_taken(samples, first))
    for step in np.flatnonzero(present & (stop - first > 1)):
        commands = samples.values[first[step] : stop[step]]
        edges = np.clip(samples.time[first[step] : stop[step]], since[step], None)
        seconds = np.diff(edges, append=until[step])
        _, earliest, which = np.unique(commands, axis=0, return_index=True, return_inverse=True)
        total = np.bincount(which.ravel(), weights=seconds)
        longest = np.flatnonzero(total >= total.max() - tolerance(until[step : step + 1], period))
        values[step] = commands[earliest[longest].min()]
    return values, present


def commanded_linear(samples: Samples, since: Times, until: Times, *, period: float, oldest: float) -> tuple[Values, Flags]:
    """The mean over each step of the straight lines between commands.

    Args:
        samples: N commands, all good.
        since: Starts of the steps in seconds, (M,).
        until: Ends of the steps in seconds, (M,).
        period: Control period in seconds.
        oldest: Seconds by which the command on either side of any time in the step may be away.

    Returns:
        Values (M, D) float64, and False where a side is too far away or not there, (M,).
    """
    slack = tolerance(until, period)
    first, stop, present = _commands(samples, since, until, period=period, oldest=oldest)
    present &= stop < len(samples.time)
    weighted = np.zeros(_taken(samples, first).shape)
    for ahead in range(int((stop - first).max(initial=0))):
        more = np.flatnonzero(present & (first + ahead < stop))
        i = first[more] + ahead
        left, right = samples.time[i], samples.time[i + 1]
        begin, end = np.clip(left, since[more], None), np.clip(right, None, until[more])
        present[more] &= (end - left <= oldest + slack[more]) & (right - begin <= oldest + slack[more])
        middle = ((begin + end) / 2 - left) / (right - left)
        a = np.asarray(samples.values[i], np.float64)
        weighted[more] += (a + (samples.values[i + 1] - a) * middle[:, None]) * (end - begin)[:, None]
    return weighted / (until - since)[:, None], present


def _in_force(samples: Samples, at: Times, *, period: float, oldest: float) -> tuple[Places, Flags]:
    """Place of the newest sample at or before each moment, -1 where there is none; and whether it is young enough."""
    slack = tolerance(at, period)
    place = np.searchsorted(samples.time, at + slack, side="right").astype(np.int64) - 1
    if not len(samples.time):
        return place, np.zeros(len(at), np.bool_)
    return place, (place >= 0) & (at - samples.time[np.maximum(place, 0)] <= oldest + slack)


def _commands(samples: Samples, since: Times, until: Times, *, period: float, oldest: float) -> tuple[Places, Places, Flags]:
    """First command in force in each step, the first one after the step, and whether all between are there and good."""
    first, present = _in_force(samples, since, period=period, oldest=oldest)
    stop = np.searchsorted(samples.time, until - tolerance(until, period), side="left").astype(np.int64)
    bad = np.concatenate([[0], np.cumsum(~samples.good)])
    present &= bad[stop] == bad[np.clip(first, 0, stop)]
    return first, np.where(present, stop, first + 1), present


def _shares(samples: Samples, first: Places, stop: Places, since: Times, until: Times) -> list[tuple[Places, Places, Times]]:
    """The first commands of all steps, then the second ones, ...: place of the command, number of the step, seconds in force."""
    found = []
    for ahead in range(1, int((stop - first).max(initial=0))):
        more = np.flatnonzero(first + ahead < stop)
        place = first[more] + ahead
        last = place + 1 == stop[more]
        following = samples.time[np.minimum(place + 1, len(samples.time) - 1)]
        end = np.where(last, until[more], following)
        found.append((place, more, end - np.clip(samples.time[place], since[more], None)))
    return found


def _taken(samples: Samples, place: Places) -> Values:
    if not len(samples.time):
        return np.zeros((len(place), samples.values.shape[1]), samples.values.dtype)
    taken: Values = samples.values[np.maximum(place, 0)]
    return taken


def _good(samples: Samples, place: Places) -> Flags:
    if not len(samples.time):
        return np.zeros(len(place), np.bool_)
    good: Flags = samples.good[np.maximum(place, 0)]
    return good
