"""Assurance: what a person can rely on later, and how it is checked."""

from tacit.assurance.chain import Checked, Damage, Finding, Head, LedgerError, check
from tacit.assurance.conformal import (
    AdaptiveLevel,
    CalibrationError,
    Interval,
    MarginWatch,
    conformal_quantile,
    least_episodes,
    settle,
)
from tacit.assurance.entries import Began, Closed, Entry, Gap, Made, Opened, Reading
from tacit.assurance.ledger import Actor, Ledger, Recorded
from tacit.assurance.session import Session

__all__ = [
    "Actor",
    "AdaptiveLevel",
    "Began",
    "CalibrationError",
    "Checked",
    "Closed",
    "Damage",
    "Entry",
    "Finding",
    "Gap",
    "Head",
    "Interval",
    "Ledger",
    "LedgerError",
    "Made",
    "Opened",
    "Reading",
    "Recorded",
    "Session",
    "MarginWatch",
    "check",
    "conformal_quantile",
    "least_episodes",
    "settle",
]
