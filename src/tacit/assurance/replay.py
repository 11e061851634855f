"""Replay: make every decision of a ledger again, from what was observed, and compare it bit for bit.

A decision follows from the session, from all that was observed in it until then, and from nothing else but the clock: how many rounds a
deadline left a search is in the ledger, and the search is ended there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from tacit.assurance.canonical import Array, ArrayDigest, canonical
from tacit.assurance.chain import LedgerError, check, records
from tacit.assurance.entries import (
    Began,
    Entry,
    Gap,
    Made,
    Opened,
    Planned,
    Reading,
    Retargeted,
    Supervising,
    Timing,
    entry_of,
    made_of,
)
from tacit.assurance.recorded import Actor
from tacit.assurance.session import Session, build
from tacit.assurance.supervisor import Supervisor
from tacit.contracts import Deadline, Plan, Planner, Problem, Spent
from tacit.planning.decision import Decision

Around = Callable[[Planner], Planner]
Make = Callable[[Session, Around], Actor]
Clock = Callable[[], float]
Supervise = Callable[[Session, Supervising, Around, Clock], Supervisor]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first thing that came out otherwise.

    Attributes:
        step: Of the decision.
        what: Which part of it.
        recorded: That part, as the ledger has it.
        replayed: The same, as it is now.
    """

    step: int
    what: str
    recorded: str
    replayed: str


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came out.

    Attributes:
        same: Number of decisions that are the same bit for bit, up to the first that is not.
        skipped: Number of decisions behind a gap in their session, which cannot be made again: what was observed in it is not known.
        builds: Values of the build that are others now, as (name, recorded, now).
        difference: The first difference, or None.
    """

    same: int
    skipped: int
    builds: tuple[tuple[str, str, str], ...]
    difference: Difference | None


def entries(path: str | Path) -> Iterator[Entry]:
    """Everything in a ledger, in order; the whole ledger is checked first.

    Raises:
        LedgerError: It does not verify, or this version cannot read it.
        OSError: The file cannot be read.
    """
    found = check(path)
    if found.finding is not None:
        raise LedgerError(f"{path} does not verify: {found.finding.sentence}")
    try:
        yield from map(entry_of, records(path))
    except ValueError as error:
        raise LedgerError(f"{path}: {error}") from error


def replay(
    path: str | Path,
    make: Make,
    supervise: Supervise | None = None,
    progress: Callable[[int], None] = lambda done: None,
    *,
    planning: str | None = None,
) -> Replayed:
    """Make the decisions of a ledger again, each session with a new actor and as many threads as it had.

    What was a matter of time is taken from the ledger: where a deadline ended a search, how old an observation was, and whether a decision
    came too late.

    Args:
        path: The ledger.
        make: Makes the actor of a session, with its planner put into what is given; it refuses a session that is not its own.
        supervise: Makes, likewise, the supervisor of a session as it was recorded, with the clock that is given; it refuses one that it
            cannot make, as with another monitor. None where there is none.
        progress: Takes the number of decisions made again.
        planning: What makes the products of planning now; see `tacit.assurance.session.build`.

    Raises:
        LedgerError: The ledger does not verify, has digests instead of inputs, or has decisions of a supervisor and nobody makes one.
        OSError: The file cannot be read.
    """
    same = skipped = 0
    builds: dict[str, tuple[str, str, str]] = {}
    threads = torch.get_num_threads()
    actor: Actor | None = None
    planner, clock, is_whole = _Repeating(), _Retold(), True
    try:
        for entry in entries(path):
            match entry:
                case Opened(inputs="digest"):
                    raise LedgerError(
                        f'{path} has only digests of what was observed: decisions can be made again from a ledger with inputs="full"'
                    )
                case Opened(session=opened):
                    session, now = opened, build(planning)
                    for n in {**session.build, **now}:
                        was, has = session.build.get(n, "nothing"), now.get(n, "nothing")
                        builds |= {n: (n, was, has)} if was != has else {}
                    torch.set_num_threads(session.threads)
                    planner, is_whole = _Repeating(), True
                    actor = make(session, planner.around)
                case Supervising() if is_whole:
                    if supervise is None:
                        raise LedgerError(f"{path} has decisions of a supervisor: say what makes it again")
                    planner, clock = _Repeating(), _Retold()
                    actor = supervise(session, entry, planner.around, clock)
                case Began(goal=goal, applied=applied) if is_whole:
                    assert actor is not None
                    actor.reset(None if goal is None else {name: _array(value) for name, value in goal.items()}, applied)
                case Retargeted(setpoints=setpoints) if is_whole:
                    assert actor is not None
                    actor.retarget({name: _array(value) for name, value in setpoints.items()})
                case Gap():
                    is_whole = False
                case Made() if not is_whole:
                    skipped += 1
                case Made():
                    assert actor is not None
                    planner.spent = None if entry.plan is None else entry.plan.spent
                    clock.tell(entry.timing)
                    difference = _made_again(entry, actor)
                    if difference is not None:
                        return Replayed(same=same, skipped=skipped, builds=tuple(builds.values()), difference=difference)
                    same += 1
                    progress(same)
    finally:
        torch.set_num_threads(threads)
    return Replayed(same=same, skipped=skipped, builds=tuple(builds.values()), difference=None)


def _made_again(made: Made, actor: Actor) -> Difference | None:
    """What is different when a decision is made again, or None."""
    inputs = {name: None if value is None else _array(value) for name, value in made.inputs.items()}
    if not isinstance(actor, Supervisor):
        return compared(made, actor.act(inputs, made.applied))
    if made.timing is None:
        return Difference(step=made.step, what="who decided", recorded="nobody supervised", replayed="a supervisor")
    decision = actor.act(inputs, made.applied, taken=made.timing.taken)
    return compared(made, decision, {} if actor.judgement is None else actor.judgement.readings())


def compared(made: Made, decision: Decision, readings: Mapping[str, Reading] | None = None) -> Difference | None:
    """The first part of a decision, from what it rests on to what it does, that is not bit for bit what the ledger has.

    Args:
        made: As the ledger has it.
        decision: As it is now.
        readings: What the monitor reads now; None where what the ledger has comes from somebody else.
    """
    fields = {"time": made.time, "step": made.step, "episode": made.episode, "inputs": made.inputs, "applied": made.applied}
    again = made_of(decision, action=decision.action, **fields)
    parts: list[tuple[str, Any, Any]] = [("the latents of the observations", made.latents, again.latents)]
    if made.plan is not None and again.plan is not None:
        parts += [(f"the plan's {name}", getattr(made.plan, name), getattr(again.plan, name)) for name in _PLAN]
    else:
        parts.append(("whether there is a plan", made.plan is not None, again.plan is not None))
    seen = [name for name in made.evidence if not name.endswith("_ms")]
    parts += [(f"the {name.replace('_', ' ')}", made.evidence[name], again.evidence.get(name)) for name in seen]
    if readings is not None:
        parts += [(f"the reading {name!r}", made.readings.get(name), readings.get(name)) for name in {**made.readings, **readings}]
    parts += [(f"the {name}", getattr(made, name), getattr(again, name)) for name in ("verdict", "reason", "action")]
    for what, was, now in parts:
        if not _is_same(was, now):
            return Difference(step=made.step, what=what, recorded=_text(was), replayed=_text(now))
    return None


_PLAN = ("actions", "trajectory", "cost", "margins", "feasible")
assert set(_PLAN) < set(Planned.__dataclass_fields__)


@final
class _Repeating:
    """A planner that ends a search where the recorded one ended, whatever the clock says."""

    def __init__(self) -> None:
        self.spent: Spent | None = None
        self._planner: Planner | None = None

    def around(self, planner: Planner) -> Planner:
        self._planner = planner
        return self

    def plan(self, problem: Problem, warm_start: Tensor | None = None, deadline: Deadline | None = None) -> Plan:
        assert self._planner is not None
        return self._planner.plan(problem, warm_start, None if deadline is None else self.spent)


@final
class _Retold:
    """A supervisor's clock that tells what it told before: when a decision began, and when the plan was there."""

    def __init__(self) -> None:
        self._left: list[float] = []

    def tell(self, timing: Timing | None) -> None:
        """What it tells next."""
        self._left = [] if timing is None else [timing.decided, timing.began]

    def __call__(self) -> float:
        return self._left.pop()


def _array(value: Array | ArrayDigest) -> Array:
    assert not isinstance(value, ArrayDigest), "a session with full inputs has no digests"
    return value


def _is_same(was: Any, now: Any) -> bool:
    if isinstance(was, np.ndarray):
        return bool(was.dtype == now.dtype and was.shape == now.shape and was.tobytes() == now.tobytes())
    return canonical(was) == canonical(now)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, separator=", ", threshold=12, floatmode="unique").replace("\n", "")
    return value.sha256 if isinstance(value, ArrayDigest) else str(value)
