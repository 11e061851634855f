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
from tacit.assurance.entries import Began, Closed, Entry, Gap, Made, Opened, Reading, Retargeted, Supervising, Timing
from tacit.assurance.ledger import Ledger
from tacit.assurance.moments import Moment, Moments, Watch
from tacit.assurance.monitor import Calibration, Judgement, Monitor, MonitorError, calibrate
from tacit.assurance.recorded import Actor, Recorded
from tacit.assurance.session import Session
from tacit.assurance.supervision import Supervision
from tacit.assurance.supervisor import Supervisor
from tacit.planning.fallbacks import PID, Hold, Ramp, RetreatByMoves, RetreatBySetPoints, Safe, WithoutPlan

__all__ = [
    "PID",
    "Actor",
    "AdaptiveLevel",
    "Began",
    "Calibration",
    "CalibrationError",
    "Checked",
    "Closed",
    "Damage",
    "Entry",
    "Finding",
    "Gap",
    "Head",
    "Hold",
    "Interval",
    "Judgement",
    "Ledger",
    "LedgerError",
    "Made",
    "MarginWatch",
    "Moment",
    "Moments",
    "Monitor",
    "MonitorError",
    "Opened",
    "Ramp",
    "Reading",
    "Recorded",
    "Retargeted",
    "RetreatByMoves",
    "RetreatBySetPoints",
    "Safe",
    "Session",
    "Supervising",
    "Supervision",
    "Supervisor",
    "Timing",
    "Watch",
    "WithoutPlan",
    "calibrate",
    "check",
    "conformal_quantile",
    "least_episodes",
    "settle",
]
