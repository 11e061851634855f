"""Interventions: what a person would have done instead, in words.

    coolant=300 for 5min                     at once, held for five minutes, then as before
    pump_1=3.2 V from 2min; pump_2+=0.1      from then on to the end, and a shift of what was done anyway
    coolant=310 over 5min for 15min          a ramp of five minutes, then held until a quarter of an hour has passed

    intervention = change { ";" change }
    change       = NAME ( "=" | "+=" | "-=" ) NUMBER [ UNIT ] { ( "from" | "for" | "over" ) NUMBER ( "s" | "min" | "h" ) }

Outside its changes an intervention leaves the actions as they are. Dimensions: H horizon, A action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tacit.signals import Schema, Signal

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
WORDS = ("from", "for", "over")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_.]")
_WORD = re.compile(r"[^\s;]+")


class InterventionError(ValueError):
    """Words that are no intervention on this machine.

    Args:
        message: What is wrong, and what to do.
        text: The words.
        position: Of the first character at fault, from 0.
    """

    def __init__(self, message: str, text: str, position: int) -> None:
        self.text, self.position = text, position
        super().__init__(f"{text!r}, character {position + 1}: {message}")


@final
@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one actuator.

    Attributes:
        channel: Which, as `action_channels` names it.
        value: Its new value, or what is added, in the actuator's unit.
        is_shift: Whether `value` is added to what was done anyway.
        begin: Seconds from now.
        hold: Seconds from `begin` to the end; None to the end of the horizon.
        ramp: Seconds in which the value is reached in a straight line; 0 at once.
        position: Where it stands in the words, for messages.
    """

    channel: str
    value: float
    is_shift: bool = False
    begin: float = 0.0
    hold: float | None = None
    ramp: float = 0.0
    position: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Intervention:
    """Changes to what is done to a machine.

    Attributes:
        text: As a person wrote it.
        changes: In the order of the words.
    """

    text: str
    changes: tuple[Change, ...]

    def applied(self, actions: NDArray[np.float32], previous: NDArray[np.float32], schema: Schema) -> NDArray[np.float32]:
        """What is done instead.

        Args:
            actions: What is done without it, (H, A), physical units; it stays as it is.
            previous: The action before them, (A,), from which a ramp in the first step begins.
            schema: Of the machine.

        Returns:
            (H, A). A time that is no multiple of the control period is rounded to one.

        Raises:
            InterventionError: A change begins after the horizon or while another one of its actuator lasts, or an actuator would leave
                its range.
        """
        columns = {name: n for n, (name, _) in enumerate(action_channels(schema))}
        signals = dict(action_channels(schema))
        found, steps, period = actions.copy(), len(actions), schema.period
        taken: dict[str, NDArray[np.bool_]] = {}
        for change in sorted(self.changes, key=lambda change: change.begin):  # a ramp begins where an earlier change ends
            first, column = round(change.begin / period), columns[change.channel]
            if first >= steps:
                raise self._error(
                    f"{change.channel} changes {change.begin:g} s from now, after the horizon of {steps * period:g} s", change
                )
            last = steps if change.hold is None else min(steps, first + max(1, round(change.hold / period)))
            busy = taken.setdefault(change.channel, np.zeros(steps, np.bool_))
            if busy[first:last].any():
                raise self._error(f"another change of {change.channel} still lasts then", change)
            busy[first:last] = True
            before = float(previous[column] if first == 0 else found[first - 1, column])
            risen = np.minimum((np.arange(last - first) + 1) * period / change.ramp, 1.0) if change.ramp else np.ones(last - first)
            if change.is_shift:
                found[first:last, column] += risen * change.value
            else:
                found[first:last, column] = before + risen * (change.value - before)
            self._inside(found[first:last, column], actions[first:last, column], signals[change.channel], change)
        return found

    def _inside(self, values: NDArray[np.float32], logged: NDArray[np.float32], signal: Signal, change: Change) -> None:
        """Refuse what leaves the range of an actuator, but not where the log itself did."""
        for bound, side, beyond in ((signal.low, "below", -1.0), (signal.high, "above", 1.0)):
            if bound is None:
                continue
            slack = 1e-5 * max(1.0, abs(bound))
            outside = (beyond * (values - bound) > slack) & (np.abs(values - logged) > slack)
            if outside.any():
                unit = "" if signal.unit == "1" else f" {signal.unit}"
                worst = float(values[outside].max() if beyond > 0 else values[outside].min())
                raise self._error(f"{change.channel} would be at {worst:g}{unit}, {side} its limit of {bound:g}{unit}", change)

    def _error(self, message: str, change: Change) -> InterventionError:
        return InterventionError(message, self.text, change.position)


def action_channels(schema: Schema) -> tuple[tuple[str, Signal], ...]:
    """Names of the A elements of an action with their signals: a signal's name, with a number behind a dot where it has several."""
    return tuple((s.name if s.size == 1 else f"{s.name}.{n}", s) for s in schema.actions for n in range(s.size))


def parse_intervention(text: str, schema: Schema) -> Intervention:
    """Read an intervention.

    Args:
        text: The words.
        schema: Of the machine, whose actuators, units and ranges it keeps to.

    Raises:
        InterventionError: It is none; the message names the position and what could stand there.
    """
    changes = tuple(_Reader(text, schema, start, end).change() for start, end in _pieces(text))
    return Intervention(text=text, changes=changes)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `30s`, `5 min` or `1.5h`.

    Raises:
        InterventionError: It is none.
    """
    reader = _Reader(text, None, 0, len(text))
    seconds = reader.duration("a duration")
    reader.end()
    return seconds


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where each change begins and ends."""
    start = 0
    for piece in text.split(";"):
        yield start, start + len(piece)
        start += len(piece) + 1


class _Reader:
    """Reads one change of an intervention, from left to right."""

    def __init__(self, text: str, schema: Schema | None, at: int, end: int) -> None:
        self._text, self._at, self._end = text, at, end
        self._signals = {} if schema is None else dict(action_channels(schema))
        self._skip()

    def change(self) -> Change:
        begin = self._at
        name = self._match(_NAME)
        if not name:
            raise self._error(f"an actuator should stand here: {', '.join(self._signals)}")
        signal = self._signals.get(name)
        if signal is None:
            raise self._error(f"{name!r} is no actuator; there are: {', '.join(self._signals)}", begin)
        sign = next((sign for sign in ("+=", "-=", "=") if self._text.startswith(sign, self._at, self._end)), None)
        if sign is None:
            raise self._error(f"'=', '+=' or '-=' should follow {name}")
        self._at += len(sign)
        self._skip()
        at = self._at
        value = self._number(f"a value of {name}")
        self._unit(signal)
        if sign == "=":
            self._range(value, signal, at)
        times = self._times()
        return Change(
            channel=name,
            value=-value if sign == "-=" else value,
            is_shift=sign != "=",
            begin=times.get("from", 0.0),
            hold=times.get("for"),
            ramp=times.get("over", 0.0),
            position=begin,
        )

    def duration(self, what: str) -> float:
        at = self._at
        value = self._number(what)
        unit = self._match(_WORD)
        if unit not in SECONDS:
            raise self._error(
                f"{f'{unit!r} is no unit of time' if unit else 'a unit of time is missing'}; use s, min or h", self._at - len(unit)
            )
        if value < 0:
            raise self._error("a time is not negative", at)
        self._skip()
        return value * SECONDS[unit]

    def end(self) -> None:
        if self._at < self._end:
            raise self._error(f"nothing should follow, but {self._text[self._at : self._end].strip()!r} does")

    def _times(self) -> dict[str, float]:
        times: dict[str, float] = {}
        while self._at < self._end:
            at, word = self._at, self._match(_WORD)
            if word not in WORDS:
                raise self._error(f"{word!r} is not understood; use {', '.join(WORDS[:-1])} or {WORDS[-1]} with a time, or ';'", at)
            if word in times:
                raise self._error(f"{word!r} stands twice", at)
            self._skip()
            at = self._at
            times[word] = self.duration(f"a time after {word!r}")
            if word != "from" and times[word] == 0:
                raise self._error(f"a time after {word!r} must be more than 0", at)
        if times.get("over", 0.0) > times.get("for", np.inf):
            raise self._error(f"the ramp of {times['over']:g} s does not fit into the {times['for']:g} s that the change lasts", at)
        return times

    def _unit(self, signal: Signal) -> None:
        at, word = self._at, self._peek(_WORD)
        if word and word not in WORDS:
            if word != signal.unit:
                known = f"its unit is {signal.unit}" if signal.unit != "1" else "it has no unit"
                raise self._error(f"{word!r} cannot follow a value of {signal.name} ({known}); use {', '.join(WORDS)}, or ';'", at)
            self._match(_WORD)
            self._skip()

    def _range(self, value: float, signal: Signal, at: int) -> None:
        if (signal.low is not None and value < signal.low) or (signal.high is not None and value > signal.high):
            low, high = ("…" if bound is None else f"{bound:g}" for bound in (signal.low, signal.high))
            raise self._error(f"{signal.name} can be {low} to {high}{'' if signal.unit == '1' else f' {signal.unit}'}, not {value:g}", at)

    def _number(self, what: str) -> float:
        found = self._match(_NUMBER)
        if not found:
            raise self._error(f"{what} should stand here")
        if not np.isfinite(float(found)):
            raise self._error(f"{found} is too large", self._at - len(found))
        self._skip()
        return float(found)

    def _peek(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at, self._end)
        return found.group() if found else ""

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = self._peek(pattern)
        self._at += len(found)
        if pattern is _NAME:
            self._skip()
        return found

    def _skip(self) -> None:
        while self._at < self._end and self._text[self._at].isspace():
            self._at += 1

    def _error(self, message: str, at: int | None = None) -> InterventionError:
        return InterventionError(message, self._text, self._at if at is None else at)
