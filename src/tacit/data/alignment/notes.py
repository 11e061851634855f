"""What was done to a take on its way to the control clock: nothing is dropped, cut or filled in without being counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

KEPT = 100  # gaps that are remembered, each with its place


@dataclass(frozen=True, kw_only=True)
class SignalNotes:
    """What became of the samples of a signal. Counts are of samples, over all its channels, except `missing`.

    Attributes:
        read: Brought by the source.
        untimed: Left out, because their time stamp is not a number.
        repeated: Left out, because a later sample has the same time stamp.
        backward: Left out, because their time stamp is before that of an earlier sample.
        not_finite: Bad, because a value is NaN or infinite.
        flagged: Bad, because the source says so.
        out_of_range: Bad, because a value is outside the mapping's valid range, or not one that the stored dtype can hold.
        stuck: Bad, because nothing changed for too long.
        missing: Moments (steps, for an action) without a value: masked, or lost in a gap that this signal caused.
        faults: The first sample of each kind that was left out, with file and row, for a person.
    """

    read: int = 0
    untimed: int = 0
    repeated: int = 0
    backward: int = 0
    not_finite: int = 0
    flagged: int = 0
    out_of_range: int = 0
    stuck: int = 0
    missing: int = 0
    faults: tuple[str, ...] = ()

    @property
    def left_out(self) -> int:
        """Samples that were not even looked at, for the sake of their time stamps."""
        return self.untimed + self.repeated + self.backward

    @property
    def bad(self) -> int:
        """Samples whose values are not to be used."""
        return self.not_finite + self.flagged + self.out_of_range + self.stuck

    def __add__(self, other: SignalNotes) -> SignalNotes:
        return SignalNotes(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(SignalNotes)})


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A hole between two episodes, or after the last one.

    Attributes:
        at: Last moment before it, in seconds.
        seconds: From there to the first moment of the next episode, or to the end of the take.
        signal: What was missing first.
    """

    at: float
    seconds: float
    signal: str


@dataclass(frozen=True, kw_only=True)
class AlignmentNotes:
    """What was done to one take.

    Attributes:
        signals: By name, in storage order, without masks.
        gaps: The first ones, in the order of time: a long take may have more than fit into memory.
        cuts: Number of all gaps.
        episodes: Number of episodes that came out.
        steps: Number of actions in them.
        too_short: Number of stretches with fewer steps than an episode must have, which were left out.
        steps_left_out: Number of steps in those.
    """

    signals: Mapping[str, SignalNotes] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    cuts: int = 0
    episodes: int = 0
    steps: int = 0
    too_short: int = 0
    steps_left_out: int = 0

    def with_gap(self, gap: Gap) -> AlignmentNotes:
        """These notes, and one more gap."""
        return replace(self, gaps=self.gaps if self.cuts >= KEPT else (*self.gaps, gap), cuts=self.cuts + 1)

    def words(self) -> tuple[str, ...]:
        """What a person should know, one thing a line; empty when all went in as it was."""
        lines = []
        for name, notes in self.signals.items():
            if not notes.read:
                lines.append(f"{name}: the take has no samples")
            for kind, meaning in _MEANINGS.items():
                if count := getattr(notes, kind):
                    lines.append(f"{name}: {_plural(count, 'sample')} {meaning}")
            lines += [f"{name}: first, {fault}" for fault in notes.faults]
            if notes.missing:
                lines.append(f"{name}: no value for {notes.missing:,} of the moments or steps")
        for gap in self.gaps[:_SHOWN]:
            lines.append(f"cut after {gap.at:.3f} s: {gap.signal} is missing; {gap.seconds:.3f} s until the next moment")
        if self.cuts > _SHOWN:
            lines.append(f"and {self.cuts - _SHOWN:,} more cuts")
        if self.too_short:
            lines.append(f"{_plural(self.too_short, 'stretch')} with fewer than min_steps left out, {_plural(self.steps_left_out, 'step')}")
        return tuple(lines)


_SHOWN = 5  # gaps
_MEANINGS = {
    "untimed": "without a time stamp left out",
    "repeated": "with the time stamp of a later one left out",
    "backward": "that went back in time left out",
    "not_finite": "not used: NaN or infinite",
    "flagged": "not used: bad, says the source",
    "out_of_range": "not used: outside the valid range, or of the stored dtype",
    "stuck": "not used: nothing had changed for too long",
}


def _plural(count: int, noun: str) -> str:
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{ending}"
