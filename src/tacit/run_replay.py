"""The decisions of a ledger, made again by the run that made them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tacit.assurance.chain import LedgerError
from tacit.assurance.entries import Supervising
from tacit.assurance.monitor import MONITOR, Calibration
from tacit.assurance.replay import Around, Clock, Replayed, replay
from tacit.assurance.session import Session
from tacit.assurance.supervisor import Supervisor
from tacit.run import Run


def replayed(
    run: Run, ledger: str | Path, *, monitor: Calibration | None = None, progress: Callable[[int], None] = lambda done: None
) -> Replayed:
    """Make the decisions of a ledger again, and compare them bit for bit.

    Args:
        run: The run that decided.
        ledger: The ledger, with full inputs.
        monitor: What was usual then; None for what `tacit calibrate` has found.
        progress: Takes the number of decisions made again.

    Raises:
        LedgerError: As of `tacit.assurance.replay.replay` and `supervisor_again`.
        ValueError: The ledger is of another run.
        TaskError: A session's task does not fit this run.
        MonitorError: There is no monitor any more, it is damaged, or of another run.
        OSError: The ledger cannot be read.
    """
    return replay(ledger, run.controller_of, partial(supervisor_again, run, monitor=monitor), progress, planning=run.planning)


def supervisor_again(
    run: Run,
    session: Session,
    recorded: Supervising,
    around: Around = lambda planner: planner,
    clock: Clock = time.monotonic,
    *,
    monitor: Calibration | None = None,
) -> Supervisor:
    """Make the supervisor that a ledger says there was in a session, to let it decide again.

    Args:
        run: The run that decided.
        session: Of this run.
        recorded: What the ledger says of it.
        around: What to put the planner into.
        clock: See `Supervisor`.
        monitor: What was usual then; None for what `tacit calibrate` has found.

    Raises:
        LedgerError: It had another monitor, or did something else than the task says where there was no plan to trust.
        ValueError: As of `Run.controller_of`.
        TaskError: As of `Run.controller_of`.
        MonitorError: There is no monitor any more, it is damaged, or of another run.
    """
    if recorded.fallback is not None:
        raise LedgerError(f"the supervisor had a fallback of its own ({recorded.fallback}), which is not in the ledger")
    calibration = None if recorded.monitor is None else monitor or run.monitor()
    if calibration is not None and calibration.digest != recorded.monitor:
        raise LedgerError(
            f"what is usual was another then (SHA-256 {recorded.monitor}) than in {MONITOR} now (SHA-256 {calibration.digest}): "
            "calibrating again replaced it, so give the file of that time"
        )
    return Supervisor(
        run.controller_of(session, around),
        calibration=calibration,
        watch=None if calibration is None else run.watch(),
        supervision=recorded.supervision,
        clock=clock,
    )
