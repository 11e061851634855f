"""Before any training: can these logs teach a model what the actions do?

    found = audit(EpisodeStore("data/plant"))
    print(found.verdict.sentence)

The checks live in `tacit.data.auditing`, one theme per file. They use regressions on a sample of the store: no network, no training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from tacit.data.auditing.clocks import Alignment, Clock, alignment, clock
from tacit.data.auditing.effects import Effect, Effects, effects
from tacit.data.auditing.excitation import ActionExcitation, Excitation, PairCoverage, excitation
from tacit.data.auditing.feedback import PARTLY, ActionFeedback, feedback
from tacit.data.auditing.finding import Finding, Severity
from tacit.data.auditing.likeness import Likeness, likeness
from tacit.data.auditing.predictability import Forecast, Predictability, predictability, sure_gain
from tacit.data.auditing.sampling import sample
from tacit.data.auditing.sensors import CameraHealth, SensorHealth, cameras, sensors
from tacit.data.auditing.verdict import Answer, Verdict, verdict
from tacit.data.store import EpisodeStore

__all__ = [
    "ActionExcitation",
    "ActionFeedback",
    "Alignment",
    "Answer",
    "Audit",
    "CameraHealth",
    "Clock",
    "Effect",
    "Effects",
    "Excitation",
    "Finding",
    "Forecast",
    "Likeness",
    "PairCoverage",
    "Predictability",
    "Sample",
    "SensorHealth",
    "Severity",
    "Verdict",
    "audit",
]

VERSION = 1
LITTLE, SOME = 300, 2_000  # steps in the whole store


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was looked at.

    Attributes:
        episodes: Episodes that were read, whole or in part.
        of_episodes: Readable episodes in the store.
        moments: Moments that were read.
        of_moments: Moments in all readable episodes.
        seed: Of the choice.
        finding: Whether there is enough.
    """

    episodes: int
    of_episodes: int
    moments: int
    of_moments: int
    seed: int
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All numbers of an audit; each part is described where it is made.

    Attributes:
        verdict: The answer, with reasons ranked.
        sample: What was looked at.
        excitation: Do the actions move?
        feedback: Are they a law of the observations? One per action that moves.
        effects: Which sensor answers to which action, and how late.
        predictability: Do the actions help a forecast?
        clock: Time stamps.
        alignment: Does each action stand on its row? None when there was too little to tell.
        sensors: One per sensor element stored as a number.
        cameras: One per camera.
        likeness: Do held-out episodes repeat those for training?
    """

    verdict: Verdict
    sample: Sample
    excitation: Excitation
    feedback: tuple[ActionFeedback, ...]
    effects: Effects
    predictability: Predictability
    clock: Clock
    alignment: Alignment | None
    sensors: tuple[SensorHealth, ...]
    cameras: tuple[CameraHealth, ...]
    likeness: Likeness

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found, the fine included, by theme."""
        return (
            *(a.finding for a in self.excitation.actions),
            self.excitation.finding,
            *(f.finding for f in self.feedback),
            *self.effects.findings,
            self.predictability.finding,
            self.clock.finding,
            *(() if self.alignment is None else (self.alignment.finding,)),
            *(s.finding for s in self.sensors),
            *(c.finding for c in self.cameras),
            self.likeness.finding,
            self.sample.finding,
        )

    def to_json(self) -> str:
        """Everything as JSON text; numbers that are not finite become null."""
        return json.dumps({"format": "tacit-audit", "version": VERSION, **_plain(self)}, indent=1, allow_nan=False) + "\n"


def audit(
    store: EpisodeStore,
    *,
    seed: int = 0,
    held_out: float = 0.1,
    split_seed: int = 0,
    progress: Callable[[float, str], None] = lambda share, words: None,
) -> Audit:
    """Audit a store. It reads a bounded sample and takes less than a minute on one core.

    Args:
        store: A store with at least one action and one observation; labels are never read.
        seed: Of the sample; the same seed gives the same audit.
        held_out: Share of episodes that training will hold out.
        split_seed: Of that split.
        progress: Called with the share done, 0 to 1, and a few words.

    Returns:
        All numbers, findings and the verdict.

    Raises:
        ValueError: The schema has no action or no observation, or no episode is readable.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out {held_out} must be a share between 0 and 1")
    logs = sample(store.without_labels(), seed=seed, progress=lambda share, words: progress(0.3 * share, f"reading: {words}"))
    progress(0.3, "excitation")
    excited = excitation(logs)
    progress(0.35, "feedback")
    laws = feedback(logs, excited, gain=sure_gain(logs))
    progress(0.5, "effects")
    found = effects(logs, excited, laws)
    fed_back = any(f.explained >= PARTLY and not f.shows_at_once for f in laws)
    progress(0.75, "predictability")
    foretold = predictability(logs, dead_time=max(found.dead_times().values(), default=0), is_fed_back=fed_back)
    progress(0.85, "clock")
    parts: dict[str, Any] = {
        "sample": Sample(
            episodes=len(logs.episodes),
            of_episodes=logs.of_episodes,
            moments=min(len(logs.o), logs.of_moments),  # stretches of one episode share a moment
            of_moments=logs.of_moments,
            seed=seed,
            finding=_amount(logs.of_moments - logs.of_episodes, logs.of_episodes),
        ),
        "excitation": excited,
        "feedback": laws,
        "effects": found,
        "predictability": foretold,
        "clock": clock(logs),
        "alignment": alignment(logs, is_fed_back=fed_back),
        "sensors": sensors(logs),
        "cameras": cameras(logs),
    }
    progress(0.95, "likeness")
    parts["likeness"] = likeness(store, held_out=held_out, split_seed=split_seed, seed=seed)
    progress(1.0, "done")
    without = Audit(verdict=Verdict(answer=Answer.READY, reasons=()), **parts)
    return Audit(verdict=verdict(without.findings), **parts)


def _amount(steps: int, episodes: int) -> Finding:
    severity, sentence, weight = Severity.FINE, f"{steps:,} steps in {episodes:,} episodes.", 0.0
    if steps < LITTLE:
        severity, weight = Severity.STOP, 0.98
        sentence = f"{steps:,} steps are too few to tell anything. Record at least {SOME:,}."
    elif steps < SOME:
        severity, weight = Severity.CAREFUL, 0.2
        sentence = f"{steps:,} steps are few: these numbers are rough, and so will be the model. Record more."
    return Finding(theme="amount", subject="episodes", severity=severity, sentence=sentence, weight=weight)


def _plain(value: Any) -> Any:
    """Values as JSON knows them."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value
