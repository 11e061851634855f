"""Why a machine did what it did: one decision of a ledger, in plain words.

Dimensions: H horizon, A action.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tacit.assurance.canonical import Array, ArrayDigest
from tacit.assurance.chain import LedgerError, check, records
from tacit.assurance.entries import Began, Gap, Made, Opened, Planned, Reading, entry_of
from tacit.assurance.session import Session
from tacit.planning.action_limits import action_limits
from tacit.planning.decision import Verdict
from tacit.signals import Signal

HISTORY = 60  # decisions before the one that is asked for
_DID = {Verdict.ACT: "acted", Verdict.ABSTAIN: "abstained", Verdict.FALLBACK: "fell back"}
_FEW = 8  # numbers that are written out
_AT = 1e-6  # of a range: so near to a limit is at it


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """A decision, and what it takes to understand it.

    Attributes:
        record: Number of its record.
        opened: The session it was made in.
        made: The decision.
        plan: The plan it follows, made in this step or an earlier one of the episode; None when there is none.
        age: Steps since that plan was made.
        history: The decisions of the episode until this one, at most `HISTORY` before it, itself last.
    """

    record: int
    opened: Opened
    made: Made
    plan: Planned | None
    age: int
    history: tuple[Made, ...]

    @property
    def session(self) -> Session:
        return self.opened.session


@dataclass(frozen=True, kw_only=True, eq=False)
class Element:
    """One element of the action, and its limits, in its unit.

    Attributes:
        planned: Its values in the plan from now on, (H - age,); empty without a plan.
    """

    name: str
    unit: str
    low: float
    high: float
    value: float
    planned: Array

    @property
    def at(self) -> str | None:
        """The limit that it is at, or None."""
        near = _AT * (self.high - self.low)
        return "lower" if self.value <= self.low + near else "upper" if self.value >= self.high - near else None


def story(path: str | Path, step: int) -> Story:
    """Find a decision in a ledger.

    Raises:
        LedgerError: The step is not there, was not kept, or stands behind the first record that does not verify.
        OSError: The file cannot be read.
    """
    opened: Opened | None = None
    history: deque[Made] = deque(maxlen=HISTORY + 1)
    planned: tuple[int, Planned] | None = None
    last = -1
    for number, record in enumerate(records(path)):
        kind, last = record["kind"], record["step"] if record["kind"] == Made.kind else last
        if kind == Made.kind and not step - HISTORY <= last <= step and record["plan"] is None:
            continue
        if kind == Gap.kind and record["step"] <= step < record["step"] + record["decisions"]:
            raise LedgerError(f"step {step} was not kept: the disk did not keep up, and {record['decisions']:,} decisions are missing")
        try:
            entry = entry_of(record)
        except ValueError as error:
            raise LedgerError(f"{path}, record {number}: {error}") from error
        if isinstance(entry, Opened):
            opened = entry
        if isinstance(entry, Opened | Began):
            history.clear()
            planned = None
        if isinstance(entry, Made):
            history.append(entry)
            planned = planned if entry.plan is None else (entry.step, entry.plan)
            if entry.step == step:
                assert opened is not None
                made_at, plan = planned or (step, None)
                return Story(record=number, opened=opened, made=entry, plan=plan, age=step - made_at, history=tuple(history))
    finding = check(path).finding
    if finding is not None:
        raise LedgerError(f"{path} does not verify, and step {step} is not before the damage: {finding.sentence}")
    raise LedgerError(f"{path} has no step {step}: " + (f"the last one is {last}" if last >= 0 else "it has no decision"))


def elements(told: Story) -> tuple[Element, ...]:
    """The elements of the action, in their order."""
    limits = action_limits(told.session.schema, told.session.task)
    signals = [(s, i) for s in told.session.schema.actions for i in range(s.size)]
    planned = told.plan.actions[told.age :] if told.plan is not None else np.empty((0, len(signals)), np.float32)
    return tuple(
        Element(
            name=signal.name if signal.size == 1 else f"{signal.name}[{place}]",
            unit=signal.unit,
            low=float(limits.low[n]),
            high=float(limits.high[n]),
            value=float(told.made.action[n]),
            planned=planned[:, n],
        )
        for n, (signal, place) in enumerate(signals)
    )


def readings(made: Made) -> dict[str, Reading]:
    """All numbers with a name that a decision rests on, but times and what was not measured."""
    evidence = {name: Reading(value=value) for name, value in made.evidence.items() if value is not None and not name.endswith("_ms")}
    return evidence | dict(made.readings)


def margins(told: Story) -> dict[str, float]:
    """Margins of the plan that is followed, by limit; 0 and more holds."""
    if told.plan is None:
        return {}
    names = told.session.limits
    return {names[n] if n < len(names) else f"limit {n + 1}": float(margin) for n, margin in enumerate(told.plan.margins)}


def headline(told: Story) -> str:
    return f"It {_DID[told.made.verdict]}: {told.made.reason}."


def saw(told: Story) -> list[str]:
    """What was observed, and when."""
    signals = told.session.schema.by_name
    lines = [f"{name}: {_sample(signals.get(name), value)}" for name, value in told.made.inputs.items()]
    applied, timing = told.made.applied, told.made.timing
    lines.append("action before: " + ("the one decided" if applied is None else f"{few(applied)}, as the machine told"))
    if timing is not None:
        old = "" if timing.taken is None else f", and the observation was {1e3 * (timing.decided - timing.taken):.0f} ms old then"
        lines.append(f"the plan was there after {1e3 * (timing.decided - timing.began):.0f} ms{old}")
    return lines


def expected(told: Story) -> list[str]:
    """What the model had predicted, and what it predicts."""
    evidence = told.made.evidence
    surprise, share = evidence.get("surprise"), evidence.get("surprise_p")
    if surprise is None:
        first = "nothing that could be compared: the observation is the first one, or it or the one before is missing"
    else:
        of = "there is no calibration to compare it with" if share is None else f"{share:.1%} of held-out errors are at least as large"
        first = f"the observation is {surprise:.3g} away from the predicted one, in latent space; {of}"
    if told.plan is None:
        return [first, "no plan was ever made in this episode"]
    spent = told.plan.spent
    how = f"{spent.candidates:,} action sequences in {_counted(spent.iterations, 'round')} and {1e3 * spent.seconds:.1f} ms"
    how += ", when the deadline ended the search" if spent.cut_by_deadline else ""
    when = "the plan" if told.age == 0 else f"the plan of step {told.made.step - told.age}, {_counted(told.age, 'action')} on,"
    return [first, f"{when} costs {float(told.plan.cost):.4g}, the least of {how}"]


def limits(told: Story) -> list[str]:
    """Which limits there are, and how far the decision is from them."""
    lines = [
        f"{name}: " + (f"holds on the prediction, margin {margin:.3g}" if margin >= 0 else f"broken on the prediction by {-margin:.3g}")
        for name, margin in margins(told).items()
    ]
    lines += [
        f"{e.name} is {e.value:.4g} {_unit(e.unit)}, at its {e.at} limit" if e.at else f"{e.name} is {e.value:.4g}, inside {_range(e)}"
        for e in elements(told)[:_FEW]
    ]
    start = 0
    for signal in told.session.schema.actions:
        radius = told.session.task.max_norm_of(signal)
        norm = float(np.linalg.norm(told.made.action[start : start + signal.size].astype(np.float64)))
        start += signal.size
        if radius is not None:
            state = "at its limit" if norm >= (1 - _AT) * radius else f"at most {radius:.4g}"
            lines.append(f"{signal.name} has norm {norm:.4g} {_unit(signal.unit)}".rstrip() + f", {state}")
    return [line.rstrip() for line in lines]


def watched(told: Story) -> list[str]:
    """What the decision's numbers are, against their thresholds."""
    lines = []
    for name, reading in readings(told.made).items():
        bounds = [f"alarm {word} {bound:g}" for word, bound in (("below", reading.low), ("above", reading.high)) if bound is not None]
        state = [] if not bounds else ["ALARM" if reading.is_alarm else "no alarm"]
        lines.append(", ".join((f"{name}: {reading.value:.4g} {_unit(reading.unit)}".rstrip(), *bounds, *state)))
    return lines


def few(values: Array) -> str:
    """Numbers of an array, the first ones if they are many."""
    flat = [f"{value:.4g}" for value in values.ravel()[:_FEW].tolist()]
    return ", ".join(flat) + (f", … ({values.size:,} in all)" if values.size > _FEW else "")


def _sample(signal: Signal | None, value: Array | ArrayDigest | None) -> str:
    if value is None:
        return "missing"
    shape = " × ".join(map(str, value.shape))
    if isinstance(value, ArrayDigest):
        return f"{'an array of ' + shape if shape else 'one number'}, of which only the digest was kept"
    if signal is not None and signal.is_image:
        return f"a picture of {shape}, kept in full"
    return f"{few(value)} {_unit(signal.unit if signal is not None else '1')}".rstrip()


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _range(element: Element) -> str:
    return f"{element.low:.4g} to {element.high:.4g} {_unit(element.unit)}".rstrip()
