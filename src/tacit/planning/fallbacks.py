"""What a machine does when its plan is not to be trusted: a few named ways, each simple enough to be understood and tested alone.

Dimensions: A action, physical units.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from tacit.signals import MASK

Action = NDArray[np.float32]
Observation = Mapping[str, Any]

MEMORY = 1000  # actions that a retreat can go back over


class WithoutPlan(Protocol):
    """A way to act without a plan."""

    @property
    def words(self) -> str:
        """What it does, as the end of a sentence."""

    def begin(self, past: deque[Action]) -> None:
        """Take over.

        Args:
            past: Actions that were applied in this episode, oldest first; at least the one that was applied last.
        """

    def act(self, observation: Observation, last: Action) -> Action:
        """The next action (A,).

        Args:
            observation: What the sensors show, (*shape) by signal.
            last: Action that was applied last, (A,).
        """


@final
@dataclass(frozen=True, kw_only=True)
class Hold:
    """Repeat the action that was applied last."""

    @property
    def words(self) -> str:
        return "holding the last action"

    def begin(self, past: deque[Action]) -> None:
        pass

    def act(self, observation: Observation, last: Action) -> Action:
        return last


@final
@dataclass(frozen=True, kw_only=True)
class Zero:
    """Apply zero at once."""

    @property
    def words(self) -> str:
        return "applying zero"

    def begin(self, past: deque[Action]) -> None:
        pass

    def act(self, observation: Observation, last: Action) -> Action:
        return np.zeros_like(last)


@final
@dataclass(frozen=True, kw_only=True)
class Safe:
    """Apply a safe action at once.

    Attributes:
        action: (A,).
    """

    action: tuple[float, ...]

    @property
    def words(self) -> str:
        return "applying the safe action"

    def begin(self, past: deque[Action]) -> None:
        pass

    def act(self, observation: Observation, last: Action) -> Action:
        return np.array(self.action, np.float32)


@final
@dataclass(kw_only=True)
class Ramp:
    """Go from the last action to a safe one in equal steps, and stay there.

    Attributes:
        action: (A,).
        steps: How many, at least 1.
    """

    action: tuple[float, ...]
    steps: int
    _left: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a ramp needs at least 1 step, not {self.steps}")

    @property
    def words(self) -> str:
        return "going to the safe action"

    def begin(self, past: deque[Action]) -> None:
        self._left = self.steps

    def act(self, observation: Observation, last: Action) -> Action:
        safe = np.array(self.action, np.float32)
        step = (safe - last) / max(self._left, 1)
        self._left = max(self._left - 1, 0)
        return (last + step).astype(np.float32) if self._left else safe


@final
@dataclass(kw_only=True)
class PID:
    """Keep one number at its set point with one element of the action; the others are held.

    It takes over without a bump: its integral begins so that its first action is the one that was applied last. While the action is at a
    bound, or less was applied than was asked for, as under a limit on rate, the integral does not grow. The derivative is that of the
    measurement, so that a set point never kicks.

    Attributes:
        signal: Observation whose first number is controlled; while it is missing, the last action is repeated.
        set_point: In its unit.
        proportional: Action per unit of the signal.
        integral: Action per unit of the signal and second.
        derivative: Action seconds per unit of the signal.
        period: Seconds between two actions.
        low, high: Bounds of the action element.
        element: Of the action.

    Source:
        K. J. Åström and T. Hägglund, Advanced PID Control (2006), sections 3.3 to 3.6.
    """

    signal: str
    set_point: float
    proportional: float
    integral: float = 0.0
    derivative: float = 0.0
    period: float
    low: float
    high: float
    element: int = 0
    _sum: float | None = field(default=None, init=False)
    _before: float = field(default=0.0, init=False)
    _asked: float | None = field(default=None, init=False)  # of the action element, in the step before
    _silent: int = field(default=0, init=False)  # steps without a number since `_before`
    _held: Action = field(default_factory=lambda: np.zeros(0, np.float32), init=False)

    def __post_init__(self) -> None:
        if not self.period > 0 or not self.low < self.high:
            raise ValueError(f"a PID controller needs a positive period, not {self.period}, and low {self.low} below high {self.high}")

    @property
    def words(self) -> str:
        return f"a PID controller keeps {self.signal} at {self.set_point:g}"

    def begin(self, past: deque[Action]) -> None:
        self._sum, self._held, self._asked, self._silent = None, past[-1].copy(), None, 0

    def act(self, observation: Observation, last: Action) -> Action:
        given, is_there = observation.get(self.signal), observation.get(self.signal + MASK)
        value = np.nan if given is None else float(np.ravel(given)[0])
        if is_there is not None and not np.ravel(is_there)[0]:
            value = np.nan
        if not np.isfinite(value):
            self._asked, self._silent = None, self._silent + 1
            return last
        error = self.set_point - value
        if self._sum is None:
            self._sum, self._before = float(last[self.element]) - self.proportional * error, value
        rate = (value - self._before) / (self.period * (1 + self._silent))
        wanted = self.proportional * error + self._sum - self.derivative * rate
        bounded = min(max(wanted, self.low), self.high)
        step = self.integral * error * self.period
        lacking = 0.0 if self._asked is None else self._asked - float(last[self.element])
        is_held_back = abs(lacking) > 1e-5 * (self.high - self.low) and lacking * step > 0
        if not is_held_back and (bounded == wanted or (wanted - bounded) * step < 0):
            self._sum += step
        self._before, self._asked, self._silent = value, bounded, 0
        action = self._held.copy()
        action[self.element] = bounded
        return action


@final
@dataclass(kw_only=True)
class RetreatBySetPoints:
    """Go back the way that was come: the actions that were applied, the latest one first. For actions that say where to be.

    Where the memory ends, or what it may go back, the action of that time is held.

    Attributes:
        steps: How far to go back.
    """

    steps: int = MEMORY
    _way: list[Action] = field(default_factory=list, init=False)

    @property
    def words(self) -> str:
        return "going back the way that was come"

    def begin(self, past: deque[Action]) -> None:
        self._way = list(past)[-self.steps - 1 :]

    def act(self, observation: Observation, last: Action) -> Action:
        return self._way.pop() if len(self._way) > 1 else self._way[0]


@final
@dataclass(kw_only=True)
class RetreatByMoves:
    """Go back the way that was come: the opposite of the actions that were applied, the latest one first. For actions that say how far to
    move; never for forces, which do not undo one another.

    It stands still for a step before it turns round, goes back at most `steps`, and then stands.

    Attributes:
        steps: How far to go back.
    """

    steps: int = MEMORY
    _way: list[Action] = field(default_factory=list, init=False)

    @property
    def words(self) -> str:
        return "going back the way that was come"

    def begin(self, past: deque[Action]) -> None:
        self._way = [*(-action for action in list(past)[-self.steps :]), np.zeros_like(past[-1])]

    def act(self, observation: Observation, last: Action) -> Action:
        return self._way.pop() if self._way else np.zeros_like(last)
