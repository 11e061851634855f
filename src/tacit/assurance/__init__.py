"""Assurance: what a person can rely on later, and how it is checked."""

from tacit.assurance.chain import Checked, Damage, Finding, Head, LedgerError, check
from tacit.assurance.entries import Began, Closed, Entry, Gap, Made, Opened, Reading
from tacit.assurance.fallbacks import PID, Fallback, Hold, Ramp, RetreatByMoves, RetreatBySetPoints, Safe
from tacit.assurance.ledger import Actor, Ledger, Recorded
from tacit.assurance.monitor import Calibration, Judgement, Monitor, MonitorError, Watch, calibrate
from tacit.assurance.scores import Moment, Moments
from tacit.assurance.session import Session
from tacit.assurance.supervisor import Supervision, Supervisor

__all__ = [
    "PID",
    "Actor",
    "Began",
    "Calibration",
    "Checked",
    "Closed",
    "Damage",
    "Entry",
    "Fallback",
    "Finding",
    "Gap",
    "Head",
    "Hold",
    "Judgement",
    "Ledger",
    "LedgerError",
    "Made",
    "Moment",
    "Moments",
    "Monitor",
    "MonitorError",
    "Opened",
    "Ramp",
    "Reading",
    "Recorded",
    "RetreatByMoves",
    "RetreatBySetPoints",
    "Safe",
    "Session",
    "Supervision",
    "Supervisor",
    "Watch",
    "calibrate",
    "check",
]
