"""The monitor: says, with a false-alarm rate that was set beforehand, that an episode does not go as episodes go when all is well.

What it watches are the scores of `tacit.assurance.scores`, in three channels: whether anything is strange, whether the goal comes nearer,
and, in the end, whether it is sure that the goal is reached. What is usual comes from episodes that went well, recorded with the very
planner that is watched: of each, the largest value of every channel, and of the last one its value in the end. The alarm level of a
channel is a quantile of those. The channels share the rate of false alarms in equal parts (Bonferroni's inequality), so it is per episode,
not per step, and holds whatever the scores have to do with each other.

Source: split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Papadopoulos et al., ECML
2002), with a whole episode as the unit that is exchangeable.

Dimensions: B machines, N episodes, T moments, S scores.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from tacit.assurance.canonical import digest
from tacit.assurance.entries import Reading
from tacit.assurance.moments import Floats, Moment, Moments
from tacit.assurance.scores import (
    SCORES,
    WORDS,
    Reference,
    Scorer,
    fit_reference,
    read,
    usual_end,
    usual_nearing,
)
from tacit.atomic import atomic_write
from tacit.signals import Schema

FORMAT, VERSION = "tacit-monitor", 3
MONITOR = "monitor.safetensors"
"""Name of the file beside a run's other files."""

CHANNELS = ("strange", "progress", "arrival")
GOAL, PROGRESS, ARRIVAL = SCORES.index("goal"), SCORES.index("progress"), SCORES.index("arrival")
STRANGE = [number for number in range(len(SCORES)) if number not in (PROGRESS, ARRIVAL)]
USUAL, RARE = 0.5, 0.95  # quantiles of a score's maxima that become 0 and 1


class MonitorError(ValueError):
    """A file is no monitor, or of another machine or run; or there is too little to make one of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What is usual for one run, one planner and one kind of task.

    Attributes:
        reference: What the logs look like.
        zero: What each score but arrival reaches in half of the episodes, (S - 1,): 0 on the common scale.
        one: What it reaches in one of twenty, (S - 1,): 1 on the common scale. Infinite for the goal where none was shown.
        maxima: The largest values of each score, of episodes that went well, and of arrival those in the end; each sorted, (N, S).
        channels: Of the same episodes, what the channels reached, each sorted, (N, 3).
        false_alarms: Share of episodes that go well in which there may be an alarm.
        passing: Whether it is enough to have been at the goal once; else it counts where the episode ends.
        schema: Digest of the signals of the machine.
        weights: SHA-256 of the weights of the run, in hex.
    """

    reference: Reference
    zero: Floats
    one: Floats
    maxima: Floats
    channels: Floats
    false_alarms: float
    passing: bool
    schema: str
    weights: str

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, in hex."""
        return digest(self)

    @property
    def has_goal(self) -> bool:
        """Whether the episodes had a goal. Without one there is a single channel, and nothing is ever said of progress and arrival."""
        return bool(np.isfinite(self.channels[0, CHANNELS.index("arrival")]))

    @functools.cached_property
    def levels(self) -> Floats:
        """What each channel must exceed for an alarm, (3,): with the channel's share of the rate, the ⌈(1 - share)(N + 1)⌉-th smallest."""
        share = self.false_alarms / (len(CHANNELS) if self.has_goal else 1)
        rank = math.ceil((1 - share) * (len(self.channels) + 1) - 1e-9)
        levels = self.channels[rank - 1] if rank <= len(self.channels) else np.full(len(CHANNELS), np.inf, np.float32)
        floored: Floats = np.where([True, self.has_goal, self.has_goal], np.maximum(levels, 1e-3), np.inf).astype(np.float32)
        return floored

    def scaled(self, scores: Floats) -> Floats:
        """Scores but arrival, (..., S - 1), on the common scale, at least 0; one that never grew in the episodes counts in its own unit,
        enlarged."""
        scaled: Floats = np.maximum((scores - self.zero) / np.maximum(self.one - self.zero, 0.25 * np.abs(self.zero) + 1e-3), 0.0)
        return scaled

    def channelled(self, scores: Floats) -> Floats:
        """What the scores (..., S) of a step say, (..., 3): of the strange ones the logarithm of the worst, since what merely looks strange
        may still go well, so how very strange it looks counts less and less."""
        scaled = self.scaled(scores[..., :ARRIVAL])
        channels = np.empty((*scores.shape[:-1], len(CHANNELS)), np.float32)
        channels[..., 0] = np.log1p(scaled[..., STRANGE].max(-1))
        channels[..., 1], channels[..., 2] = scaled[..., PROGRESS], scores[..., ARRIVAL]
        return channels

    def reached(self, steps: Floats) -> Floats:
        """What counts of the steps of whole episodes (N, T, S or 3), of which the last is arrival: (N, S or 3)."""
        ends = steps[..., -1].min(1) if self.passing else steps[:, -1, -1]
        reached: Floats = np.concatenate((steps[..., :-1].max(1), ends[:, None]), axis=1)
        return reached

    def statistic(self, scores: Floats) -> Floats:
        """The combined statistic of scores (..., S): (...). Above 1 there is an alarm; what is not sure to have arrived is none yet."""
        statistic: Floats = (self.channelled(scores)[..., :-1] / self.levels[:-1]).max(-1)
        return statistic

    def save(self, path: str | Path) -> None:
        """Write it, atomically.

        Raises:
            OSError: The file cannot be written.
        """
        arrays = {f"reference.{name}": value for name, value in vars(self.reference).items() if isinstance(value, np.ndarray)}
        arrays |= {name: getattr(self, name) for name in ("zero", "one", "maxima", "channels")}
        text = {
            "format": FORMAT,
            "version": VERSION,
            "scores": list(SCORES),
            "error": self.reference.error,
            "false_alarms": self.false_alarms,
            "passing": self.passing,
            "schema": self.schema,
            "weights": self.weights,
        }
        atomic_write(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, {"tacit": json.dumps(text)}))

    @classmethod
    def load(cls, path: str | Path, schema: Schema, weights: str) -> Calibration:
        """Read what `save` wrote.

        Args:
            path: The file.
            schema: Of the machine that is to be watched.
            weights: SHA-256 of the weights of the run that is to be watched, in hex.

        Raises:
            MonitorError: There is none, it is damaged, of another version, or of another machine or run.
        """
        from safetensors import safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                text = json.loads((file.metadata() or {})["tacit"])
            arrays = load_file(path)
            if (text["format"], text["version"], text["scores"]) != (FORMAT, VERSION, list(SCORES)):
                raise MonitorError(
                    f"{path} has format version {text['version']}; this Tacit reads version {VERSION}: "
                    "make a new one with `tacit calibrate`"
                )
            if text["schema"] != schema.digest():
                raise MonitorError(f"{path} is the monitor of a machine with other signals")
            if text["weights"] != weights:
                raise MonitorError(
                    f"{path} is the monitor of another run: its weights have SHA-256 {text['weights']}, those of this run {weights}; "
                    "make one of this run with `tacit calibrate`"
                )
            scores, episodes = len(SCORES), len(arrays["channels"])
            expected = {"zero": (scores - 1,), "one": (scores - 1,), "maxima": (episodes, scores), "channels": (episodes, len(CHANNELS))}
            for name, shape in expected.items():
                if arrays[name].shape != shape or not episodes:
                    raise MonitorError(f"{path} is damaged: {name} has shape {arrays[name].shape}; `tacit calibrate` makes a new monitor")
            reference = {name.removeprefix("reference."): a for name, a in arrays.items() if name.startswith("reference.")}
            return cls(
                reference=Reference(**reference, error=float(text["error"])),
                **{name: arrays[name] for name in ("zero", "one", "maxima", "channels")},
                false_alarms=float(text["false_alarms"]),
                passing=bool(text["passing"]),
                schema=text["schema"],
                weights=text["weights"],
            )
        except FileNotFoundError:
            raise MonitorError(f"{path}: no such file; `tacit calibrate` makes it") from None
        except (SafetensorError, KeyError, TypeError, OSError, json.JSONDecodeError) as error:
            raise MonitorError(f"{path} is damaged or no monitor: {error}; `tacit calibrate` makes a new one") from error


def calibrate(
    logs: Moments,
    episodes: Moments,
    *,
    schema: Schema,
    weights: str,
    false_alarms: float = 0.04,
    passing: bool = False,
    seed: int = 0,
) -> Calibration:
    """Learn what is usual.

    Args:
        logs: Moments that say what the logs look like, in which all was well.
        episodes: Other episodes that went well, recorded as the machine is used: by the planner that is to be watched.
        schema: Of the machine.
        weights: SHA-256 of the weights of the run, in hex: a monitor is for no other.
        false_alarms: Share of episodes that go well in which there may be an alarm, above 0 and below 1.
        passing: Whether it is enough to have been at the goal once.
        seed: Of what is drawn.

    Raises:
        MonitorError: There are too few episodes for such a rate.
    """
    if not 0 < false_alarms < 1:
        raise MonitorError(f"the rate of false alarms must lie between 0 and 1, not at {false_alarms}")
    has_goal = bool(np.isfinite(episodes.distance).any())
    least = math.ceil((len(CHANNELS) if has_goal else 1) / false_alarms) - 1
    needed = least + least // 2 + 1  # a third is for the scales
    if len(episodes) < needed:
        raise MonitorError(
            f"{len(episodes)} episodes that went well are too few for a rate of false alarms of {false_alarms:g}: it takes {needed}"
        )
    shuffled = np.random.default_rng(seed).permutation(len(episodes))
    scale, rest = (episodes.among(rows) for rows in np.split(shuffled, [len(shuffled) // 3]))
    reference = fit_reference(logs, seed=seed)
    reference = replace(reference, near=usual_end(read(reference, scale), passing=passing))
    reference = replace(reference, nearing=usual_nearing(scored(reference, scale)[..., ARRIVAL]))
    usual_maxima, scores = scored(reference, scale)[..., :ARRIVAL].max(1), scored(reference, rest)
    zero, one = (np.quantile(usual_maxima, share, axis=0).astype(np.float32) for share in (USUAL, RARE))
    is_goal_shown = bool(np.isfinite(episodes.goal_senses).any())
    if not is_goal_shown:  # nobody knows then how goals usually look
        one[GOAL] = np.inf
    usual = Calibration(
        reference=reference,
        zero=zero,
        one=one,
        maxima=np.empty(0, np.float32),
        channels=np.empty(0, np.float32),
        false_alarms=false_alarms,
        passing=passing,
        schema=schema.digest(),
        weights=weights,
    )
    maxima, channels = np.sort(usual.reached(scores), axis=0), np.sort(usual.reached(usual.channelled(scores)), axis=0)
    if not is_goal_shown:
        maxima[:, GOAL] = np.inf
    return replace(usual, maxima=maxima, channels=channels)


def scored(reference: Reference, episodes: Moments) -> Floats:
    """Scores of whole episodes, (N, T, S)."""
    scorer = Scorer(reference, len(episodes))
    return np.stack([scorer(episodes.at(step)) for step in range(episodes.steps)], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What a monitor says of B machines at one step.

    Attributes:
        scores: (B, S), in the order of `SCORES`.
        p: p-value of each score, (B, S): the share of episodes that went well in which it got as high at any step, and arrival in the end,
            with this one.
        statistic: The combined statistic of what is strange and of progress, (B,); above 1 there is an alarm.
        statistic_p: Its p-value, (B,): the smallest of its channels, times the number of channels.
        alarm: Whether there is an alarm, (B,) bool.
        worst: Number of the score that makes most of the statistic, (B,).
        arrival: How far the goal is, (B,): arrival now, or where passing is enough, the least so far.
        arrival_level: What it may be at most where it is sure that the goal is reached.
    """

    scores: Floats
    p: Floats
    statistic: Floats
    statistic_p: Floats
    alarm: NDArray[np.bool_]
    worst: NDArray[np.int64]
    arrival: Floats
    arrival_level: float

    @property
    def arrived(self) -> NDArray[np.bool_]:
        """Whether it is sure that the goal is reached, (B,) bool. An episode that ends without that did not do what it was asked for, as
        far as the monitor can tell, whatever the plans said; without a goal, or a calibration with goals, it is never sure."""
        sure: NDArray[np.bool_] = np.isfinite(self.arrival) & (self.arrival <= self.arrival_level) & np.isfinite(self.arrival_level)
        return sure

    def reason(self, machine: int = 0) -> str:
        """What is the most unusual thing, for a person."""
        name = SCORES[int(self.worst[machine])]
        return f"{WORDS[name]} ({name} {self.scores[machine, self.worst[machine]]:.3g}, p = {self.statistic_p[machine]:.2g})"

    def ending(self, machine: int = 0) -> str:
        """What would be said if the episode ended now, for a person."""
        told = f"(arrival {self.arrival[machine]:.3g}, at most {self.arrival_level:.3g} where it is sure)"
        return f"the goal is reached {told}" if self.arrived[machine] else f"{WORDS['arrival']} {told}"

    def readings(self, machine: int = 0) -> dict[str, Reading]:
        """For a ledger: every score and the statistic with its alarm level, and arrival where there is a goal."""
        found = {name: Reading(value=float(self.scores[machine, i])) for i, name in enumerate(SCORES[:ARRIVAL])}
        found["monitor"] = Reading(value=float(self.statistic[machine]), high=1.0)
        if np.isfinite(self.arrival[machine]):
            found["arrival"] = Reading(value=float(self.arrival[machine]))  # on the way there, far is no alarm
        return found


@final
class Monitor:
    """Watches B machines through one episode.

    Args:
        calibration: What is usual.
        machines: B.
    """

    def __init__(self, calibration: Calibration, machines: int = 1) -> None:
        self._calibration = calibration
        self._scorer = Scorer(calibration.reference, machines)
        self._nearest = np.full(machines, np.inf, np.float32)

    def judge(self, moment: Moment) -> Judgement:
        """Judge what is seen at this step."""
        known = self._calibration
        scores = self._scorer(moment)
        channels = known.channelled(scores)
        relative = channels[:, :-1] / known.levels[:-1]
        channel_p = _p(known.channels[:, :-1], channels[:, :-1]).min(-1)
        self._nearest = np.minimum(self._nearest, scores[:, ARRIVAL])
        statistic = relative.max(-1)
        worst_strange = np.array(STRANGE)[known.scaled(scores[:, :ARRIVAL])[:, STRANGE].argmax(-1)]
        return Judgement(
            scores=scores,
            p=_p(known.maxima, scores),
            statistic=statistic,
            statistic_p=np.minimum(channel_p * (len(CHANNELS) if known.has_goal else 1), 1.0),
            alarm=statistic > 1.0,
            worst=np.where(relative[:, 1] > relative[:, 0], PROGRESS, worst_strange),
            arrival=self._nearest if known.passing else scores[:, ARRIVAL],
            arrival_level=float(known.levels[-1]),
        )


def _p(usual: Floats, values: Floats) -> Floats:
    """(1 + #{usual >= value}) / (1 + n), for usual values (N, S) and values (B, S)."""
    larger = (usual >= values[:, None]).sum(1)
    p: Floats = ((1 + larger) / (1 + len(usual))).astype(np.float32)
    return p
