"""Are the sensors alive: not stuck, not at their stops, not missing, not too coarse?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tacit.data.auditing.finding import Finding, Severity, percent
from tacit.data.auditing.sampling import Logs

Floats = NDArray[np.float64]

RUN = 8  # equal samples in a row of a channel that usually changes
CELLS = 20
CATCH_UP = 1.15  # change after a repeated frame over the usual one, above which the frame between was lost


@dataclass(frozen=True, kw_only=True)
class SensorHealth:
    """One sensor element.

    Attributes:
        sensor: Its name.
        low: Lowest value seen.
        high: Highest value seen.
        changes: Share of steps on which it changes.
        stuck: Share of samples in runs of `RUN` or more equal ones between the extremes, of a channel that changes on most steps.
        longest: Longest such run, samples.
        saturated: Share of samples exactly at the lowest or the highest value, of a channel with many values.
        levels: Different values.
        resolution: Smallest difference between values over the standard deviation.
        dropped: Share of samples that its mask calls missing; None when it has none.
        visited: Share of `CELLS` equal parts of the declared range, else of the seen one, in which it was seen.
        finding: What to make of it.
    """

    sensor: str
    low: float
    high: float
    changes: float
    stuck: float
    longest: int
    saturated: float
    levels: int
    resolution: float
    dropped: float | None
    visited: float
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class CameraHealth:
    """One camera.

    Attributes:
        camera: Its name.
        frames: Frames looked at.
        blank: Share of frames of one even colour.
        frozen: Share of neighbouring frames that are the same to the last bit although the action was large.
        catch_up: Change of the picture after such a pair over the usual one.
        dropped: Share of frames that its mask calls missing; None when it has none.
        finding: What to make of it.
    """

    camera: str
    frames: int
    blank: float
    frozen: float
    catch_up: float
    dropped: float | None
    finding: Finding


def sensors(logs: Logs) -> tuple[SensorHealth, ...]:
    """Look at every sensor that is stored as numbers."""
    signals = [logs.schema.by_name[name.split("[")[0]] for name in logs.sensors[: logs.plain]]
    missing = dict(logs.missing)
    return tuple(_health(logs, i, signals[i].low, signals[i].high, missing.get(logs.sensors[i])) for i in range(logs.plain))


def cameras(logs: Logs) -> tuple[CameraHealth, ...]:
    """Look at every camera."""
    found = []
    for tally in logs.cameras:
        dropped = dict(logs.missing).get(tally.camera)
        blank, frozen = tally.blank / max(tally.frames, 1), tally.frozen / max(tally.pairs, 1)
        severity, weight = Severity.FINE, 0.0
        sentence = f"{tally.camera} is alive: {percent(frozen)} frozen and {percent(blank)} blank of {tally.frames:,} frames."
        if dropped is not None and dropped > 0.01:
            severity, weight = (Severity.STOP, 0.7) if dropped > 0.5 else (Severity.CAREFUL, 0.4)
            sentence = (
                f"{tally.camera} is marked missing on {percent(dropped)} of the frames. Cut the episodes there, or repair the recording."
            )
        elif blank > 0.01:
            severity, weight = (Severity.STOP, 0.7) if blank > 0.5 else (Severity.CAREFUL, 0.4)
            sentence = f"{tally.camera} is blank on {percent(blank)} of the frames. Check the camera, and cut the episodes there."
        elif frozen > 0.9:
            severity, weight = Severity.STOP, 0.7
            sentence = (
                f"{tally.camera} shows the same frame again on {percent(frozen)} of the steps with a large action: it "
                "hangs, or does not see the machine."
            )
        elif frozen > 0.02 and tally.catch_up > CATCH_UP:
            severity, weight = Severity.CAREFUL, 0.4
            sentence = (
                f"{tally.camera} repeats a frame on {percent(frozen)} of the steps with a large action and jumps after it: "
                "frames were lost. Take a longer period, or repair the recording."
            )
        elif frozen > 0.3:
            severity, weight = Severity.CAREFUL, 0.3
            sentence = (
                f"{tally.camera} shows no change at all on {percent(frozen)} of the steps with a large action. Check that "
                "it sees the machine, and that the machine was not at a stop."
            )
        elif frozen > 0.02:
            sentence = (
                f"{tally.camera} is alive; on {percent(frozen)} of the steps with a large action nothing moves, and "
                "nothing jumps afterwards, as at a stop."
            )
        finding = Finding(theme="sensors", subject=tally.camera, severity=severity, sentence=sentence, weight=weight)
        health = CameraHealth(
            camera=tally.camera, frames=tally.frames, blank=blank, frozen=frozen, catch_up=tally.catch_up, dropped=dropped, finding=finding
        )
        found.append(health)
    return tuple(found)


def _health(logs: Logs, i: int, low: float | None, high: float | None, dropped: float | None) -> SensorHealth:
    name, values = logs.sensors[i], logs.o[:, i]
    rows = logs.rows(1, 0)
    equal = np.zeros(len(values), bool)
    equal[rows] = values[rows] == values[rows - 1]
    changes = float(1 - equal[rows].mean()) if len(rows) else 0.0
    lengths = _runs(equal & (values > values.min()) & (values < values.max()))  # runs at an end are saturation
    long = lengths[lengths >= RUN] if changes > 0.5 else np.empty(0, np.int64)
    different = np.unique(values)
    spread = values.std()
    least, most = float(different[0]), float(different[-1])
    many = len(different) > 50
    ends = float(max((values == least).mean(), (values == most).mean())) if many else 0.0
    bottom, top = (least if low is None else low), (most if high is None else high)
    cells = np.clip((values - bottom) / max(top - bottom, 1e-300) * CELLS, 0, CELLS - 1).astype(int)
    stuck, longest = float(long.sum() / len(values)), int(long.max(initial=0))
    resolution = float(np.diff(different).min() / spread) if len(different) > 1 and spread > 0 else 0.0
    severity, sentence, weight = _judged(
        name,
        dropped,
        changes=changes,
        stuck=stuck,
        longest=longest,
        saturated=ends,
        levels=len(different),
        resolution=resolution,
    )
    return SensorHealth(
        sensor=name,
        low=least,
        high=most,
        changes=changes,
        stuck=stuck,
        longest=longest,
        saturated=ends,
        levels=len(different),
        resolution=resolution,
        dropped=dropped,
        visited=len(np.unique(cells)) / CELLS,
        finding=Finding(theme="sensors", subject=name, severity=severity, sentence=sentence, weight=weight),
    )


def _runs(equal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths in samples of runs of equal samples; `equal` says whether a sample equals the one before."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    return edges[1::2] - edges[::2] + 1


def _judged(
    name: str, dropped: float | None, *, changes: float, stuck: float, longest: int, saturated: float, levels: int, resolution: float
) -> tuple[Severity, str, float]:
    if dropped is not None and dropped > 0.01:
        severity = Severity.STOP if dropped > 0.5 else Severity.CAREFUL
        return (
            severity,
            (
                f"{name} is marked missing on {percent(dropped)} of the samples, which hold stand-ins. Leave it out, or "
                "cut the episodes there."
            ),
            0.4,
        )
    if levels == 1:
        return Severity.CAREFUL, f"{name} never changes. Leave it out, or check that it is connected.", 0.35
    if stuck > 0.005:
        severity = Severity.STOP if stuck > 0.5 else Severity.CAREFUL
        return (
            severity,
            (
                f"{name} is stuck on {percent(stuck)} of the samples, up to {longest} in a row, while it changes on "
                f"{percent(changes)} of all steps. Cut the episodes there."
            ),
            0.4,
        )
    if saturated > 0.02:
        return (
            Severity.CAREFUL,
            (
                f"{name} is at the end of its range on {percent(saturated)} of the samples: what happens beyond is not "
                "seen. Use a sensor with a wider range."
            ),
            0.3,
        )
    if 2 < levels <= 50 and resolution > 0.25:
        return (
            Severity.CAREFUL,
            f"{name} has {levels} levels, each {percent(resolution)} of its spread: small effects are rounded away. Log it more finely.",
            0.2,
        )
    return Severity.FINE, f"{name} changes on {percent(changes)} of the steps; no sign of a stuck or saturated sensor.", 0.0
