"""What a check says to a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding stands in the way of training."""

    FINE = "fine"
    CAREFUL = "careful"  # train, and keep it in mind
    STOP = "stop"  # these logs cannot teach what the actions do

    @property
    def rank(self) -> int:
        """0 for fine, 1 for careful, 2 for stop."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found.

    Attributes:
        theme: The check: `excitation`, `feedback`, `effects`, `predictability`, `clock`, `sensors`, `likeness` or `amount`.
        subject: The signal or pair of signals it is about; `actions`, `time` or `episodes` for all of them.
        severity: How much it stands in the way.
        sentence: What was seen and what to do, for a person.
        weight: Order among findings of the same severity: the larger comes first.
    """

    theme: str
    subject: str
    severity: Severity
    sentence: str
    weight: float = 0.0


def percent(share: float) -> str:
    """A share as a person reads it: `3 %`, `0.4 %`, `99.97 %`."""
    if 0 < share < 1e-4:
        return "under 0.01 %"
    hundred = 100 * share
    near_an_end = 0 < hundred < 1 or 99 < hundred < 100
    return f"{hundred:.2g} %" if 0 < hundred < 1 else f"{hundred:.{2 if near_an_end else 0}f} %"
