"""What a task says of what to do when there is no plan to trust: entries that are checked alone, when they are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any

from tacit.planning.task_limits import Elements, TaskError, elements, number


class Fallback(StrEnum):
    """What to do when there is no plan to trust and nothing needs to be said about how."""

    HOLD = "hold"  # repeat the action that was applied last; with a jerk limit, brake to rest
    ZERO = "zero"  # every action element at 0


@dataclass(frozen=True, kw_only=True)
class SafeSettings:
    """Apply a safe action at once.

    Attributes:
        action: Values of every action signal, one for all of its elements or one per element, in its unit.
    """

    kind: str = field(default="safe", init=False)
    action: Mapping[str, Elements]

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", _checked(self.action))

    def __str__(self) -> str:
        return f"safe, {_words(self.action)}"


@dataclass(frozen=True, kw_only=True)
class RampSettings:
    """Go to a safe action in equal steps, and stay there.

    Attributes:
        action: As of `SafeSettings`.
        seconds: How long it takes to get there.
    """

    kind: str = field(default="ramp", init=False)
    action: Mapping[str, Elements]
    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", _checked(self.action))
        object.__setattr__(self, "seconds", _positive(self.seconds, "seconds"))

    def __str__(self) -> str:
        return f"ramp in {self.seconds:g} s to {_words(self.action)}"


@dataclass(frozen=True, kw_only=True)
class PIDSettings:
    """Keep one sensor at its set point with one element of one action, and hold the others; see `tacit.planning.fallbacks.PID`.

    Attributes:
        signal: Observation whose first number is controlled.
        set_point: In its unit.
        action: Action signal.
        element: Of the action signal, from 0.
        proportional: Action per unit of the signal; below 0 where more action makes the signal fall.
        integral: Action per unit of the signal and second.
        derivative: Action seconds per unit of the signal.
    """

    kind: str = field(default="pid", init=False)
    signal: str
    set_point: float
    action: str
    element: int = 0
    proportional: float
    integral: float = 0.0
    derivative: float = 0.0

    def __post_init__(self) -> None:
        for name in ("signal", "action"):
            if not isinstance(value := getattr(self, name), str) or not value:
                raise TaskError(f"must be the name of a signal, not {value!r}", name)
        if not isinstance(self.element, int) or isinstance(self.element, bool) or self.element < 0:
            raise TaskError(f"must be a whole number from 0, not {self.element!r}", "element")
        for name in ("set_point", "proportional", "integral", "derivative"):
            object.__setattr__(self, name, number(getattr(self, name), name))
        gains = (self.proportional, self.integral, self.derivative)
        if not any(gains) or (min(gains) < 0 < max(gains)):
            raise TaskError("the gains must have one sign, and must not all be 0", "proportional")

    def __str__(self) -> str:
        return f"pid, {self.signal} at {self.set_point:g} by {self.action}[{self.element}]"


@dataclass(frozen=True, kw_only=True)
class RetreatSettings:
    """Go back the way that was come.

    Attributes:
        by: `set_points` where actions say where to be, `moves` where they say how far to move. Forces do not undo one another.
        seconds: How far back at most; None for the whole way, as far as it is remembered.
    """

    kind: str = field(default="retreat", init=False)
    by: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.by not in ("set_points", "moves"):
            raise TaskError(f"must be set_points or moves, not {self.by!r}: forces do not undo one another", "by")
        if self.seconds is not None:
            object.__setattr__(self, "seconds", _positive(self.seconds, "seconds"))

    def __str__(self) -> str:
        return f"retreat by {self.by}" + ("" if self.seconds is None else f", {self.seconds:g} s at most")


FallbackSettings = SafeSettings | RampSettings | PIDSettings | RetreatSettings

SETTINGS: Mapping[str, type[FallbackSettings]] = {
    "safe": SafeSettings,
    "ramp": RampSettings,
    "pid": PIDSettings,
    "retreat": RetreatSettings,
}
"""What is told of the kinds of fallback that need to be told something."""


def read_fallback(table: Mapping[str, Any]) -> Fallback | FallbackSettings:
    """The table `[fallback]` of a task file.

    Raises:
        TaskError: There is no such kind, or an entry is unknown, missing or out of its domain.
    """
    given = dict(table)
    kind = given.pop("kind", Fallback.HOLD)
    kinds = [*Fallback, *SETTINGS]
    if kind not in kinds:
        raise TaskError(f"{kind!r} is not a fallback; use one of: {', '.join(kinds)}", "kind")
    of = SETTINGS.get(kind)
    parts = [] if of is None else [part for part in fields(of) if part.init]
    for name in given:
        if name not in (known := [part.name for part in parts]):
            raise TaskError(f"unknown key; use one of: {', '.join(['kind', *known])}", name)
    if missing := [part.name for part in parts if part.default is MISSING and part.name not in given]:
        raise TaskError(f"kind {kind!r} needs {' and '.join(missing)}, too", "kind")
    return Fallback(kind) if of is None else of(**given)


def _checked(action: object) -> Mapping[str, Elements]:
    if not isinstance(action, Mapping) or not action:
        raise TaskError("must be a table of values by action, such as { coolant = 300.0 }", "action")
    return {name: elements(value, "action", name) for name, value in action.items()}


def _positive(value: object, *key: str) -> float:
    seconds = number(value, *key)
    if seconds <= 0:
        raise TaskError("must be positive", *key)
    return seconds


def _words(action: Mapping[str, Elements]) -> str:
    return ", ".join(f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {list(value)}" for name, value in action.items())
