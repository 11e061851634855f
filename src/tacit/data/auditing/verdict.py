"""From findings to one answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tacit.data.auditing.finding import Finding, Severity


class Answer(StrEnum):
    """Whether the logs can teach a model what actions do."""

    READY = "ready"
    CARE = "usable with care"
    NOT_ENOUGH = "not enough"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer and why.

    Attributes:
        answer: The answer.
        reasons: What stands in the way, the gravest first; empty when the logs are ready.
    """

    answer: Answer
    reasons: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """The answer for a person, with what to do first."""
        match self.answer:
            case Answer.READY:
                return "Ready: these logs can teach a model what the actions do."
            case Answer.CARE:
                return f"Usable with care. {self.reasons[0].sentence}"
            case Answer.NOT_ENOUGH:
                return f"Not enough. {self.reasons[0].sentence}"


def verdict(findings: tuple[Finding, ...]) -> Verdict:
    """Rank what was found: the answer is as bad as the worst of it."""
    reasons = sorted((f for f in findings if f.severity is not Severity.FINE), key=lambda f: (-f.severity.rank, -f.weight))
    worst = reasons[0].severity if reasons else Severity.FINE
    answer = {Severity.FINE: Answer.READY, Severity.CAREFUL: Answer.CARE, Severity.STOP: Answer.NOT_ENOUGH}[worst]
    return Verdict(answer=answer, reasons=tuple(reasons))
