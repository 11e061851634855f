"""The monitor: says, with a false-alarm rate that was set beforehand, that an episode does not go as episodes go when all is well.

What it watches are the scores of `tacit.assurance.scores`. What is usual comes from episodes that went well, recorded with the very planner
that is watched: of each, the largest value of every score. A score is put on a common scale by two quantiles of those, the scaled scores
make one combined statistic, and its alarm level is a quantile of its own maxima over other such episodes. So the false-alarm rate is per
episode, not per step, whatever the scores have to do with each other.

Source: split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Papadopoulos et al., ECML
2002), with a whole episode as the unit that is exchangeable.

Dimensions: B machines, N episodes, T moments, S scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from tacit.assurance.entries import Reading
from tacit.assurance.scores import SCORES, WORDS, Floats, Moment, Moments, Reference, Scorer, fit_reference, senses, usual_nearing
from tacit.atomic import atomic_write
from tacit.planning.decision import Decision, DecisionBatch
from tacit.planning.history import one_step_error
from tacit.signals import Schema

FORMAT, VERSION = "tacit-monitor", 1
MONITOR = "monitor.safetensors"
"""Name of the file beside a run's other files."""

PROGRESS = SCORES.index("progress")
PROGRESS_WEIGHT = 2.0  # of the combined statistic, beside the others
USUAL, RARE = 0.5, 0.95  # quantiles of a score's maxima that become 0 and 1


class MonitorError(ValueError):
    """A file is no monitor, or of another machine; or there is too little to make one of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What is usual for one run, one planner and one kind of task.

    Attributes:
        reference: What the logs look like.
        zero: What each score reaches in half of the episodes, (S,): 0 on the common scale.
        one: What it reaches in one of twenty, (S,): 1 on the common scale.
        maxima: The largest values of each score, of episodes that went well, sorted, (N, S).
        combined: Of the same episodes, the largest values of the combined statistic, sorted, (N,).
        false_alarms: Share of episodes that go well in which there may be an alarm.
        schema: Digest of the signals of the machine.
    """

    reference: Reference
    zero: Floats
    one: Floats
    maxima: Floats
    combined: Floats
    false_alarms: float
    schema: str

    @property
    def level(self) -> float:
        """What the combined statistic must exceed for an alarm: the ⌈(1 - rate)(N + 1)⌉-th smallest maximum."""
        rank = math.ceil((1 - self.false_alarms) * (len(self.combined) + 1) - 1e-9)
        return float(self.combined[rank - 1]) if rank <= len(self.combined) else math.inf

    def scaled(self, scores: Floats) -> Floats:
        """Scores (..., S) on the common scale; one that never grew in the episodes counts in its own unit, enlarged."""
        scaled: Floats = (scores - self.zero) / np.maximum(self.one - self.zero, 0.25 * np.abs(self.zero) + 1e-3)
        return scaled

    def statistic(self, scores: Floats) -> Floats:
        """The combined statistic of scores (..., S): (...).

        It is twice the scaled progress and the logarithm of the worst of the others. That the goal does not come nearer says most of how
        an episode will end; what merely looks strange may still go well, so how very strange it looks counts less and less.
        """
        scaled = np.maximum(self.scaled(scores), 0.0)
        others = np.log1p(np.delete(scaled, PROGRESS, axis=-1).max(-1))
        statistic: Floats = PROGRESS_WEIGHT * scaled[..., PROGRESS] + others
        return statistic

    def save(self, path: str | Path) -> None:
        """Write it, atomically.

        Raises:
            OSError: The file cannot be written.
        """
        arrays = {f"reference.{name}": value for name, value in vars(self.reference).items() if isinstance(value, np.ndarray)}
        arrays |= {name: getattr(self, name) for name in ("zero", "one", "maxima", "combined")}
        text = {
            "format": FORMAT,
            "version": VERSION,
            "scores": list(SCORES),
            "error": self.reference.error,
            "false_alarms": self.false_alarms,
            "schema": self.schema,
        }
        atomic_write(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, {"tacit": json.dumps(text)}))

    @classmethod
    def load(cls, path: str | Path, schema: Schema) -> Calibration:
        """Read what `save` wrote.

        Args:
            path: The file.
            schema: Of the machine that is to be watched.

        Raises:
            MonitorError: There is none, it is damaged, of another version, or of another machine.
        """
        from safetensors import safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                text = json.loads((file.metadata() or {})["tacit"])
            arrays = load_file(path)
            if (text["format"], text["version"], text["scores"]) != (FORMAT, VERSION, list(SCORES)):
                raise MonitorError(f"{path} was written by another version of Tacit; calibrate again")
            if text["schema"] != schema.digest():
                raise MonitorError(f"{path} is the monitor of a machine with other signals")
            reference = {name.removeprefix("reference."): a for name, a in arrays.items() if name.startswith("reference.")}
            return cls(
                reference=Reference(**reference, error=float(text["error"])),
                **{name: arrays[name] for name in ("zero", "one", "maxima", "combined")},
                false_alarms=float(text["false_alarms"]),
                schema=text["schema"],
            )
        except FileNotFoundError:
            raise MonitorError(f"{path}: no such file; `tacit calibrate` makes it") from None
        except (SafetensorError, KeyError, TypeError, OSError, json.JSONDecodeError) as error:
            raise MonitorError(f"{path} is damaged or no monitor: {error}; `tacit calibrate` makes a new one") from error


def calibrate(logs: Moments, episodes: Moments, *, schema: Schema, false_alarms: float = 0.04, seed: int = 0) -> Calibration:
    """Learn what is usual.

    Args:
        logs: Moments that say what the logs look like, in which all was well.
        episodes: Other episodes that went well, recorded as the machine is used: by the planner that is to be watched.
        schema: Of the machine.
        false_alarms: Share of episodes that go well in which there may be an alarm, above 0 and below 1.
        seed: Of what is drawn.

    Raises:
        MonitorError: There are too few episodes for such a rate.
    """
    least = math.ceil(1 / false_alarms) - 1 if 0 < false_alarms < 1 else 0
    if not 0 < false_alarms < 1:
        raise MonitorError(f"the rate of false alarms must lie between 0 and 1, not at {false_alarms}")
    needed = least + least // 2 + 1  # a third is for the scales
    if len(episodes) < needed:
        raise MonitorError(
            f"{len(episodes)} episodes that went well are too few for a rate of false alarms of {false_alarms:g}: it takes {needed}"
        )
    shuffled = np.random.default_rng(seed).permutation(len(episodes))
    scale, rest = (episodes.among(rows) for rows in np.split(shuffled, [len(shuffled) // 3]))
    reference = replace(fit_reference(logs, seed=seed), nearing=usual_nearing(scale))
    usual_maxima, scores = scored(reference, scale).max(1), scored(reference, rest)
    usual = Calibration(
        reference=reference,
        zero=np.quantile(usual_maxima, USUAL, axis=0).astype(np.float32),
        one=np.quantile(usual_maxima, RARE, axis=0).astype(np.float32),
        maxima=np.sort(scores.max(1), axis=0),
        combined=np.empty(0, np.float32),
        false_alarms=false_alarms,
        schema=schema.digest(),
    )
    return replace(usual, combined=np.sort(usual.statistic(scores).max(1)))


def scored(reference: Reference, episodes: Moments) -> Floats:
    """Scores of whole episodes, (N, T, S)."""
    scorer = Scorer(reference, len(episodes))
    return np.stack([scorer(episodes.at(step)) for step in range(episodes.steps)], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What a monitor says of B machines at one step.

    Attributes:
        scores: (B, S), in the order of `SCORES`.
        p: p-value of each score, (B, S): the share of episodes that went well in which it got as high at any step, with this one.
        statistic: The combined statistic, (B,).
        statistic_p: Its p-value, (B,), likewise.
        level: What the statistic must exceed for an alarm.
        alarm: Whether it does, (B,) bool.
        worst: Number of the score that is the largest on the common scale, (B,).
    """

    scores: Floats
    p: Floats
    statistic: Floats
    statistic_p: Floats
    level: float
    alarm: NDArray[np.bool_]
    worst: NDArray[np.int64]

    def reason(self, machine: int = 0) -> str:
        """What is the most unusual thing, for a person."""
        name = SCORES[int(self.worst[machine])]
        return f"{WORDS[name]} ({name} {self.scores[machine, self.worst[machine]]:.3g}, p = {self.statistic_p[machine]:.2g})"

    def readings(self, machine: int = 0) -> dict[str, Reading]:
        """For a ledger: every score and the statistic with its alarm level."""
        found = {name: Reading(value=float(self.scores[machine, i])) for i, name in enumerate(SCORES)}
        return {**found, "monitor": Reading(value=float(self.statistic[machine]), high=self.level)}


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

    def judge(self, moment: Moment) -> Judgement:
        """Judge what is seen at this step."""
        known = self._calibration
        scores = self._scorer(moment)
        statistic = known.statistic(scores)
        p = np.stack([_p(known.maxima[:, i], scores[:, i]) for i in range(len(SCORES))], axis=1)
        return Judgement(
            scores=scores,
            p=p,
            statistic=statistic,
            statistic_p=_p(known.combined, statistic),
            level=known.level,
            alarm=statistic > known.level,
            worst=known.scaled(scores).argmax(-1),
        )


def _p(usual: Floats, values: Floats) -> Floats:
    """(1 + #{usual >= value}) / (1 + n), for sorted `usual` (N,) and values (B,)."""
    larger = len(usual) - np.searchsorted(usual, values, side="left")
    p: Floats = ((1 + larger) / (1 + len(usual))).astype(np.float32)
    return p


@final
class Watch:
    """Makes what a monitor judges out of what a controller was given and what it decided.

    Args:
        schema: Of the machine.
        steps_to: Goals (B, D) -> what gives the learned steps (B,) from latents (B, D) to them; None where there is no such thing.
    """

    def __init__(self, schema: Schema, steps_to: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None) -> None:
        self._schema = schema
        self._steps_to = steps_to
        self.reset()

    def reset(self) -> None:
        """Begin a new episode."""
        self._before: dict[str, NDArray[Any]] | None = None
        self._steps_to_go: Callable[[Tensor], Tensor] | None = None  # those of this episode

    def moment(self, samples: Mapping[str, Any], decided: Decision | DecisionBatch, goal: Tensor | None) -> Moment:
        """What the monitor is told.

        Args:
            samples: What the controller was given: (*shape) by observation signal with a `Decision`, (B, *shape) with a batch.
            decided: What it decided.
            goal: Latents of the goals, (B, D) or (1, D).
        """
        one = isinstance(decided, Decision)
        full = {s.name: _sample(samples.get(s.name), s.shape, s.dtype, len(decided.latents), one) for s in self._schema.observations}
        before, self._before = self._before, {name: value.copy() for name, value in full.items()}
        newest = decided.latents[:, -1]
        size = len(newest)
        is_same = np.zeros(size, np.bool_)
        if before is not None:
            is_same = np.logical_and.reduce([(full[n] == before[n]).reshape(size, -1).all(1) for n in full])
        steps = distance = torch.full((size,), torch.nan)
        if self._steps_to is not None and goal is not None:
            with torch.no_grad():
                self._steps_to_go = self._steps_to_go or self._steps_to(goal)
                steps, distance = self._steps_to_go(newest), one_step_error(newest, goal)
        expected = torch.full_like(newest, torch.nan) if decided.expected is None else decided.expected
        actions = decided.action[None] if isinstance(decided, Decision) else decided.actions
        return Moment(
            latent=newest.float().cpu().numpy(),
            expected=expected.float().cpu().numpy(),
            action=actions,
            steps_to_go=steps.float().cpu().numpy(),
            distance=distance.float().cpu().numpy(),
            senses=senses(self._schema, full),
            is_same=is_same,
        )


def _sample(value: Any, shape: tuple[int, ...], dtype: str, machines: int, one: bool) -> NDArray[Any]:
    """A sample with its batch dimension; what is missing is 0, and whether it is, its mask shows."""
    if value is None:
        return np.zeros((machines, *shape), dtype)
    array = np.asarray(value)
    return array[None] if one else array


def watched(moments: list[Moment]) -> Moments:
    """The moments of one batch of episodes, one after another, as `Moments`."""
    return Moments(**{name: np.stack([getattr(moment, name) for moment in moments], axis=1) for name in vars(moments[0])})
