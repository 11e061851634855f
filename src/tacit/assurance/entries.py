"""What a ledger holds: the kinds of its entries, and how they are written as JSON.

Dimensions: H horizon, A action, C limits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from tacit.assurance.canonical import Array, ArrayDigest, array_of, digest_of_array, plain
from tacit.assurance.session import Session
from tacit.assurance.supervision import Supervision
from tacit.contracts import Plan, Spent
from tacit.planning.decision import Decision, Evidence, Verdict

FORMAT = 2
"""Of what is written now."""
READABLE = (1, 2)
"""Formats that can be read; 1 does not say who supervised, nor when decisions were made."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number that a decision rests on, beside what makes it an alarm.

    Attributes:
        value: The number.
        low: Below it is an alarm; None for no such threshold.
        high: Above it is an alarm, likewise.
        unit: Of all three.
    """

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "1"

    @property
    def is_alarm(self) -> bool:
        """Whether the value is beyond a threshold; one that is no number is, if there is a threshold."""
        return (self.low is not None and not self.value >= self.low) or (self.high is not None and not self.value <= self.high)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When a decision was made, in seconds by the supervisor's clock: what makes an observation too old, or a decision too late.

    Attributes:
        began: When the supervisor was asked for it.
        taken: When the observation was taken; None when nobody said.
        decided: When the plan was there, and it was judged whether that is in time.
    """

    began: float
    taken: float | None
    decided: float


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What was found behind the last whole record when a ledger was opened again, and cut off.

    Attributes:
        bytes: How many there were.
        sha256: Of them, in hex.
        kept_as: Name of the file that has them now, beside the ledger.
    """

    bytes: int
    sha256: str
    kept_as: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A process began to write.

    Attributes:
        time: Seconds since 1970, as in all entries.
        session: What it decides with.
        inputs: "full" when observations and goals are kept, "digest" when only their digests are.
        was_closed: Whether the process before it ended in good order; None for the first one.
        cut: What it left torn, or None.
    """

    kind: ClassVar[str] = "opened"
    time: float
    session: Session
    inputs: str
    was_closed: bool | None = None
    cut: Cut | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Supervising:
    """From here on a supervisor decides, around a new controller of the session.

    Attributes:
        supervision: When it takes over, and when it gives back.
        monitor: SHA-256 of what the monitor takes for usual, in hex; None without a monitor.
        fallback: What it does instead, in words, where that is not what the task says; else None.
    """

    kind: ClassVar[str] = "supervisor"
    time: float
    supervision: Supervision
    monitor: str | None
    fallback: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Began:
    """An episode began: the controller was reset.

    Attributes:
        goal: What `reset` was given, by signal; None for the task's goal.
        applied: What `reset` was told of the last actions that were applied, (1, 1 or 2, A), or None.
    """

    kind: ClassVar[str] = "episode"
    time: float
    episode: int
    goal: Mapping[str, Array | ArrayDigest] | None
    applied: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Retargeted:
    """Setpoints were changed while the machine ran.

    Attributes:
        setpoints: What `retarget` was given, by channel.
    """

    kind: ClassVar[str] = "setpoints"
    time: float
    setpoints: Mapping[str, Array | ArrayDigest]


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """A plan, as it is kept.

    Attributes:
        actions: (H, A), physical units.
        cost: A single number, ().
        margins: (C,), one per limit of the session.
        feasible: Whether every hard limit holds on the prediction.
        trajectory: Digest of the predicted latents.
        spent: What it took.
    """

    actions: Array
    cost: Array
    margins: Array
    feasible: bool
    trajectory: ArrayDigest
    spent: Spent


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """A decision was made.

    Attributes:
        step: Counts the decisions of the ledger, from 0, with those that were lost.
        episode: Counts the resets.
        inputs: Samples of the observation, as they were given, by signal; None for one that was missing.
        applied: What the caller said was really applied before, (A,), or None.
        latents: Digest of the latest latents that the decision rests on.
        plan: The plan that was made in this step, or None.
        evidence: The numbers of the decision's `Evidence`, by name; None for one that there is none of.
        readings: Further numbers, by name, with their thresholds.
        verdict: What was decided.
        reason: Why.
        action: What was emitted, (A,) float32, bit for bit.
        timing: When a supervisor made it; None where none did.
    """

    kind: ClassVar[str] = "decision"
    time: float
    step: int
    episode: int
    inputs: Mapping[str, Array | ArrayDigest | None]
    applied: Array | None
    latents: ArrayDigest
    plan: Planned | None
    evidence: Mapping[str, float | None]
    readings: Mapping[str, Reading] = field(default_factory=dict)
    verdict: Verdict
    reason: str
    action: Array
    timing: Timing | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Gap:
    """What happened here was not kept, because the disk did not keep up.

    Attributes:
        decisions: How many there were; the first would have been `step`.
        episodes: How many began meanwhile.
    """

    kind: ClassVar[str] = "gap"
    time: float
    step: int
    decisions: int
    episodes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Closed:
    """The process ended its writing in good order."""

    kind: ClassVar[str] = "closed"
    time: float


Entry = Opened | Supervising | Began | Retargeted | Made | Gap | Closed


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON values."""
    values = {f.name: plain(getattr(entry, f.name)) for f in fields(entry) if f.name != "session"}
    if isinstance(entry, Opened):
        values |= {"session": entry.session.to_json(), "format": FORMAT}
    return {"kind": entry.kind, **values}


def entry_of(values: Mapping[str, Any]) -> Entry:
    """Read what `to_json` wrote; other keys are passed over.

    Raises:
        ValueError: It is no entry of this version.
    """
    try:
        match values["kind"]:
            case Opened.kind:
                if values["format"] not in READABLE:
                    raise ValueError(f"its format is {values['format']}, and this Tacit reads {' and '.join(map(str, READABLE))}")
                cut = None if values["cut"] is None else Cut(**values["cut"])
                return Opened(**_of(values, "time", "inputs", "was_closed"), session=Session.from_json(values["session"]), cut=cut)
            case Supervising.kind:
                return Supervising(**_of(values, "time", "monitor", "fallback"), supervision=Supervision(**values["supervision"]))
            case Began.kind:
                goal = None if values["goal"] is None else {name: array_of(value) for name, value in values["goal"].items()}
                applied = None if values["applied"] is None else _array(values["applied"])
                return Began(**_of(values, "time", "episode"), goal=goal, applied=applied)
            case Retargeted.kind:
                setpoints = {name: array_of(value) for name, value in values["setpoints"].items()}
                return Retargeted(**_of(values, "time"), setpoints=setpoints)
            case Made.kind:
                return _made(values)
            case Gap.kind:
                return Gap(**_of(values, "time", "step", "decisions", "episodes"))
            case Closed.kind:
                return Closed(**_of(values, "time"))
            case other:
                raise ValueError(f"there is no kind {other!r}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not an entry of a ledger of this version: {error}") from error


def _of(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _made(values: Mapping[str, Any]) -> Made:
    numbers = {name: None if value is None else float(value) for name, value in values["evidence"].items()}
    readings = {name: _reading(value) for name, value in values["readings"].items()}
    return Made(
        **_of(values, "time", "step", "episode", "reason"),
        inputs={name: None if value is None else array_of(value) for name, value in values["inputs"].items()},
        applied=None if values["applied"] is None else _array(values["applied"]),
        latents=_digest(values["latents"]),
        plan=None if values["plan"] is None else _planned(values["plan"]),
        evidence=numbers,
        readings=readings,
        verdict=Verdict(values["verdict"]),
        action=_array(values["action"]),
        timing=None if values.get("timing") is None else _timing(values["timing"]),
    )


def _planned(values: Mapping[str, Any]) -> Planned:
    return Planned(
        **{name: _array(values[name]) for name in ("actions", "cost", "margins")},
        feasible=values["feasible"],
        trajectory=_digest(values["trajectory"]),
        spent=Spent(**values["spent"]),
    )


def _reading(values: Mapping[str, Any]) -> Reading:
    low, high = (None if values[side] is None else float(values[side]) for side in ("low", "high"))
    return Reading(value=float(values["value"]), low=low, high=high, unit=values["unit"])


def _timing(values: Mapping[str, Any]) -> Timing:
    taken = None if values["taken"] is None else float(values["taken"])
    return Timing(began=float(values["began"]), taken=taken, decided=float(values["decided"]))


def _array(values: Mapping[str, Any]) -> Array:
    array = array_of(values)
    if isinstance(array, ArrayDigest):
        raise ValueError("a digest stands where an array belongs")
    return array


def _digest(values: Mapping[str, Any]) -> ArrayDigest:
    found = array_of(values)
    return found if isinstance(found, ArrayDigest) else digest_of_array(found)


def numbers_of(evidence: Evidence) -> dict[str, float | None]:
    """Every number of a decision's evidence, by name; those of a mapping as `name.key`."""
    found: dict[str, float | None] = {}
    for part in dataclasses.fields(evidence):
        value = getattr(evidence, part.name)
        if isinstance(value, Mapping):
            found |= {f"{part.name}.{name}": float(number) for name, number in value.items()}
        elif value is None or isinstance(value, bool | int | float | np.number):
            found[part.name] = None if value is None else float(value)
    return found


def made_of(decision: Decision, **fields: Any) -> Made:
    """A decision as it is kept.

    Args:
        decision: Of one machine.
        fields: `time`, `step`, `episode`, `inputs`, `applied`, `readings` and `timing`, which the decision does not know, and `action`.
    """
    return Made(
        latents=digest_of_array(numbers(decision.latents[0])),
        plan=None if decision.plan is None else planned_of(decision.plan),
        evidence=numbers_of(decision.evidence),
        verdict=decision.verdict,
        reason=decision.reason,
        **fields,
    )


def planned_of(plan: Plan) -> Planned:
    """A plan of one machine, as it is kept."""
    return Planned(
        actions=numbers(plan.actions[0]),
        cost=numbers(plan.cost[0]),
        margins=numbers(plan.margins[0]),
        feasible=bool(plan.feasible[0]),
        trajectory=digest_of_array(numbers(plan.trajectory[0])),
        spent=plan.spent,
    )


def numbers(tensor: Tensor) -> Array:
    """A copy of a tensor as an array; of bfloat16, which numpy lacks, in float32."""
    tensor = tensor.detach().float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor.detach()
    array: Array = tensor.cpu().numpy().copy()
    return array
