"""Tasks: what a controller is asked to do, from Python or from a TOML file.

A `Task` is a goal, limits on actions, the planner's settings and a fallback. It is checked in two halves: alone, when it is
built, and against a `Schema`, by `Task.check`. A task that came from a file names the line at fault in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tacit.located import Source, read_toml, text_of
from tacit.planning.goals import Goal, Indicator, SignalGoal, check_goal, check_values, signal_of
from tacit.planning.plan_settings import PlanSettings, read_settings
from tacit.planning.task_fallback import Fallback, FallbackSettings, PIDSettings, RampSettings, SafeSettings, read_fallback
from tacit.planning.task_limits import ActionLimit, Elements, LinearLimit, RegionLimit, SignalLimit, TaskError
from tacit.signals import Role, Schema, Signal


class StateEntry(NamedTuple):
    """A limit on what is predicted: the limit, its name, the channels that it is on, and where the task has it."""

    limit: SignalLimit | RegionLimit
    name: str
    channels: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a controller is asked to do.

    Attributes:
        goal: What to reach; None when each episode brings its own (`Controller.reset`).
        limits: Limits by action signal; a signal that is not named keeps its own range.
        linear: Limits on weighted sums of actions.
        signals: Limits on what is predicted, by channel of the run's readouts.
        regions: Regions that the predicted state stays out of.
        plan: How to plan.
        fallback: What to do when there is no plan to trust.
        source: Where the entries stand when the task came from a file.

    Raises:
        TaskError: An entry is out of its domain.
    """

    goal: Goal | None = None
    limits: Mapping[str, ActionLimit] = field(default_factory=dict)
    linear: tuple[LinearLimit, ...] = ()
    signals: Mapping[str, SignalLimit] = field(default_factory=dict)
    regions: tuple[RegionLimit, ...] = ()
    plan: PlanSettings = field(default_factory=PlanSettings)
    fallback: Fallback | FallbackSettings = Fallback.HOLD
    source: Source | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for kind, what, limits in (("linear", "combination", self.linear), ("region", "region", self.regions)):
            names = [limit.name for limit in limits]
            for place, name in enumerate(names, 1):
                if name in names[: place - 1]:
                    raise TaskError(f"{name!r} is the name of another {what}, too", "limits", kind, str(place), "name")
                if kind == "region" and name in self.signals:
                    raise TaskError(f"{name!r} is the name of a limited signal, too", "limits", kind, str(place), "name")

    @property
    def state_limits(self) -> tuple[StateEntry, ...]:
        """Limits on what is predicted, in the order of a plan's margins."""
        signals = [StateEntry(limit, name, (name,), ("limits", "signal", name)) for name, limit in self.signals.items()]
        regions = [
            StateEntry(limit, limit.name, limit.channels, ("limits", "region", str(place))) for place, limit in enumerate(self.regions, 1)
        ]
        return (*signals, *regions)

    @classmethod
    def from_toml(cls, path: str | Path) -> Task:
        """Read a task file; paths in it are relative to its folder.

        Raises:
            TaskError: The file cannot be read, or an entry is unknown, of the wrong type or out of its domain; with its line.
        """
        path = Path(path)
        return cls.from_text(text_of(path, TaskError), path.parent, name=path.name)

    @classmethod
    def from_text(cls, text: str, base_dir: str | Path, name: str = "task.toml") -> Task:
        """Read the text of a task file.

        Args:
            text: TOML.
            base_dir: Folder that paths in it are relative to.
            name: What messages call the file.

        Raises:
            TaskError: An entry is unknown, of the wrong type or out of its domain; with its line.
        """
        return read_toml(text, name, TaskError, lambda tables, source: _read_task(tables, Path(base_dir), source))

    def check(self, schema: Schema) -> None:
        """Refuse a task that does not fit a machine.

        Args:
            schema: The machine's signals; with its labels, a goal that names one is refused as such.

        Raises:
            TaskError: The goal names something else than an observation, has another shape or lies outside a signal's range; a limit
                names something else than an action, has another number of elements, or leaves it no value; the fallback lies outside
                the limits; or the planner needs another kind of goal.
        """
        try:
            if self.goal is not None:
                check_goal(self.goal, schema)
                if self.plan.kind.ways is not None and not self.goal.observations:
                    words = (
                        f"{self.plan.planner!r} follows a policy to what is observed, and here are goals on signals alone: use another one"
                    )
                    raise TaskError(words, "plan", "planner")
            for name in self.limits:
                signal_of(schema, name, Role.ACTION, "limits", "action", name)
            for signal in schema.actions:
                low, high = self.range_of(signal)
                if self.fallback is Fallback.ZERO and not ((low <= 0) & (high >= 0)).all():
                    raise TaskError(f'0 is outside the limits of {signal.name!r}; use kind = "hold"', "fallback", "kind")
            for place, limit in enumerate(self.linear, 1):
                self._check_linear(schema, limit, "limits", "linear", str(place))
            self._check_fallback(schema)
        except TaskError as error:
            raise self.located(error) from None

    def located(self, error: TaskError) -> TaskError:
        """The same error with the line of its entry, where the task came from a file."""
        return self.source.located(error) if self.source else error

    def _check_linear(self, schema: Schema, limit: LinearLimit, *key: str) -> None:
        for name, weight in limit.weights.items():
            signal = signal_of(schema, name, Role.ACTION, *key, "weights", name)
            if isinstance(weight, Sequence) and len(weight) != signal.size:
                raise TaskError(f"has {len(weight)} elements, but {name!r} has {signal.size}", *key, "weights", name)
        if self.fallback is Fallback.ZERO and limit.at_most < 0:
            raise TaskError(f'0 is outside the limit {limit.name!r}; use kind = "hold"', "fallback", "kind")

    def _check_fallback(self, schema: Schema) -> None:
        match self.fallback:
            case SafeSettings(action=action) | RampSettings(action=action):
                self._check_safe(schema, action)
            case PIDSettings() as pid:
                signal = signal_of(schema, pid.signal, Role.OBSERVATION, "fallback", "signal")
                if signal.is_image or not signal.dtype.startswith("float"):
                    raise TaskError(f"{pid.signal!r} is no number that could be kept at a set point", "fallback", "signal")
                channel = pid.signal if signal.size == 1 else f"{pid.signal}.0"
                check_values(schema, channel, np.array(pid.set_point), "fallback", "set_point")
                signal = signal_of(schema, pid.action, Role.ACTION, "fallback", "action")
                if pid.element >= signal.size:
                    raise TaskError(f"{pid.action!r} has {signal.size} elements, counted from 0", "fallback", "element")
                low, high = (float(bound[pid.element]) for bound in self.range_of(signal))
                if not (math.isfinite(low) and math.isfinite(high) and low < high):
                    raise TaskError(f"{pid.action!r} needs a range: give it low and high in its limits", "fallback", "action")

    def _check_safe(self, schema: Schema, action: Mapping[str, Elements]) -> None:
        """Refuse a safe action that is incomplete or outside the limits."""
        key = ("fallback", "action")
        values = {}
        for name, value in action.items():
            signal = signal_of(schema, name, Role.ACTION, *key, name)
            if isinstance(value, Sequence) and len(value) != signal.size:
                raise TaskError(f"has {len(value)} elements, but {name!r} has {signal.size}", *key, name)
            values[name] = np.broadcast_to(np.asarray(value, np.float64), (signal.size,))
            low, high = self.range_of(signal)
            norm = self.max_norm_of(signal)
            if not ((low <= values[name]) & (values[name] <= high)).all() or (norm is not None and np.linalg.norm(values[name]) > norm):
                raise TaskError(f"is outside the limits of {name!r}", *key, name)
        if missing := [signal.name for signal in schema.actions if signal.name not in action]:
            raise TaskError(f"needs a value for {' and '.join(missing)}, too", *key)
        for limit in self.linear:
            if sum(float((values[name] * np.asarray(weight)).sum()) for name, weight in limit.weights.items()) > limit.at_most:
                raise TaskError(f"is outside the limit {limit.name!r}", *key)

    def range_of(self, signal: Signal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The range of an action signal inside both its own limits and the task's.

        Returns:
            Lowest and highest values, each (elements,) in the signal's unit; infinite where nobody gave one.

        Raises:
            TaskError: A limit has the wrong number of elements, or leaves no value.
        """
        key = ("limits", "action", signal.name)
        limit = self.limits.get(signal.name, ActionLimit())
        own = (-math.inf if signal.low is None else signal.low, math.inf if signal.high is None else signal.high)
        _check_elements(limit, signal)
        low = np.maximum(np.full(signal.size, own[0]), -math.inf if limit.low is None else limit.low)
        high = np.minimum(np.full(signal.size, own[1]), math.inf if limit.high is None else limit.high)
        if (low > high).any():
            side = "low" if limit.low is not None and (np.asarray(limit.low) > own[1]).any() else "high"
            raise TaskError(f"leaves no value: {signal.name!r} ranges from {own[0]:g} to {own[1]:g} {signal.unit}", *key, side)
        if self.max_norm_of(signal) is not None and ((low > 0) | (high < 0)).any():
            raise TaskError(f"max_norm needs a range that contains 0, but {signal.name!r} is limited to {low} .. {high}", *key)
        return low, high

    def max_norm_of(self, signal: Signal) -> float | None:
        """The smaller of the signal's own largest Euclidean norm and the task's, or None when nobody gave one."""
        given = [n for n in (signal.max_norm, self.limits.get(signal.name, ActionLimit()).max_norm) if n is not None]
        return min(given, default=None)


def _check_elements(limit: ActionLimit, signal: Signal) -> None:
    if limit.unit is not None and limit.unit != signal.unit:
        raise TaskError(f"is {limit.unit!r}, but {signal.name!r} is in {signal.unit!r}", "limits", "action", signal.name, "unit")
    for name in ("low", "high", "rate", "jerk"):
        value = getattr(limit, name)
        if isinstance(value, Sequence) and len(value) != signal.size:
            raise TaskError(f"has {len(value)} elements, but {signal.name!r} has {signal.size}", "limits", "action", signal.name, name)


Value = TypeVar("Value")


def _table(tables: Mapping[str, Any], *key: str, known: Sequence[str] | None = None) -> dict[str, Any]:
    """The table at `key`, empty when absent; a key that is not `known` is refused."""
    table: Any = tables
    for name in key:
        table = table.get(name, {})
    if not isinstance(table, dict):
        raise TaskError("must be a table", *key)
    for name in table:
        if known is not None and name not in known:
            raise TaskError(f"unknown key; use one of: {', '.join(known)}", *key, name)
    return table


def _value(of: Callable[..., Value], table: dict[str, Any], *key: str) -> Value:
    try:
        return of(**table)
    except TaskError as error:
        raise TaskError(error.reason, *key, *error.key) from error.__cause__


def _read_task(tables: dict[str, Any], base_dir: Path, source: Source) -> Task:
    _table(tables, known=("goal", "limits", "plan", "fallback"))
    _table(tables, "goal")
    _table(tables, "limits", known=("action", "linear", "signal", "region"))
    limits = {}
    for name in _table(tables, "limits", "action"):
        key = ("limits", "action", name)
        table = _table(tables, *key, known=[f.name for f in fields(ActionLimit)])
        limits[name] = _value(ActionLimit, table, *key)
    linear = _read_list(LinearLimit, tables, "linear")
    regions = _read_list(RegionLimit, tables, "region")
    signals = {}
    for name in _table(tables, "limits", "signal"):
        key = ("limits", "signal", name)
        signals[name] = _value(SignalLimit, _table(tables, *key, known=[f.name for f in fields(SignalLimit)]), *key)
    settings = _table(tables, "plan", known=[f.name for f in fields(PlanSettings)])
    fallback = _fallback(_table(tables, "fallback"))
    goal = _read_goal(tables, base_dir)
    plan = _value(lambda **given: read_settings(given, has_signals=goal.has_signals), settings, "plan")
    return Task(
        goal=goal,
        limits=limits,
        linear=linear,
        signals=signals,
        regions=regions,
        plan=plan,
        fallback=fallback,
        source=source,
    )


_SIGNALS, _MOVES, _AIMS = "signals", "moves", ("minimise", "maximise")  # in [goal]; every other entry is an image


def _read_goal(tables: dict[str, Any], base_dir: Path) -> Goal:
    goal = _table(tables, "goal")
    if not goal:
        raise TaskError(
            'is missing: write a table [goal] with, for a camera signal "image", image = "goal.png", or, for a sensor "level", '
            "signals = { level = 12.4 }",
            "goal",
        )
    images = {name: _read_image(path, base_dir, "goal", name) for name, path in goal.items() if name not in (_SIGNALS, _MOVES, *_AIMS)}
    signals = {}
    for name, entry in _table(tables, "goal", _SIGNALS).items():
        key = ("goal", _SIGNALS, name)
        table = _table(tables, *key, known=[f.name for f in fields(SignalGoal)]) if isinstance(entry, dict) else {"value": entry}
        try:
            signals[name] = SignalGoal(**table)
        except TaskError as error:
            at = error.key if isinstance(entry, dict) else ()
            raise TaskError(error.reason, *key, *at) from error.__cause__
    indicators = [indicator for aim in _AIMS for indicator in _read_indicators(tables, aim)]
    moves = _table(tables, "goal", _MOVES)
    return _value(Goal, {"observations": images, "signals": signals, "indicators": tuple(indicators), "moves": moves}, "goal")


def _read_indicators(tables: dict[str, Any], aim: str) -> list[Indicator]:
    """`aim = "pump"`, one channel or action as it is, or a table for each weighted sum."""
    given, key, found = tables["goal"].get(aim, {}), ("goal", aim), []
    if isinstance(given, str):
        return [Indicator(name=given, terms={given: 1.0}, maximise=aim == "maximise")]
    if not isinstance(given, dict):
        raise TaskError(f"must name a channel or an action, or be a table: write [goal.{aim}.NAME] with terms", *key)
    known = ("terms", "weight", "scale", "unit")
    for name in given:
        table = _table(tables, *key, name, known=known)
        if "terms" not in table:
            raise TaskError("lacks terms, such as terms = { pump = 0.3 }", *key, name)
        found.append(_value(Indicator, {**table, "name": name, "maximise": aim == "maximise"}, *key, name))
    return found


def _fallback(table: Mapping[str, Any]) -> Fallback | FallbackSettings:
    try:
        return read_fallback(table)
    except TaskError as error:
        raise TaskError(error.reason, "fallback", *error.key) from error.__cause__


def _read_list(of: type[Value], tables: dict[str, Any], kind: str) -> tuple[Value, ...]:
    """The tables of `[[limits.kind]]`, each as a value of a dataclass."""
    key, entries = ("limits", kind), tables.get("limits", {}).get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TaskError(f"must be a list of tables: write [[limits.{kind}]] above each", *key)
    parts = fields(of)  # type: ignore[arg-type]
    known, needed = [f.name for f in parts], [f.name for f in parts if f.default is MISSING]
    found = []
    for place, entry in enumerate(entries, 1):
        at = (*key, str(place))
        for name in entry:
            if name not in known:
                raise TaskError(f"unknown key; use one of: {', '.join(known)}", *at, name)
        if missing := [name for name in needed if name not in entry]:
            raise TaskError(f"lacks {' and '.join(missing)}", *at)
        found.append(_value(of, entry, *at))
    return tuple(found)


def _read_image(path: object, base_dir: Path, *key: str) -> NDArray[np.uint8]:
    """An image file as `uint8` (height, width, channels); it is never resized."""
    if not isinstance(path, str):
        raise TaskError(f"must be the path of an image, not {path!r}", *key)
    try:
        with Image.open(base_dir / path) as image:
            pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TaskError(f"image {path!r} cannot be read: {error}", *key) from error
    if pixels.dtype != np.uint8:
        raise TaskError(f"image {path!r} is not an 8-bit image; save it as 8-bit grey or RGB", *key)
    return pixels[..., None] if pixels.ndim == 2 else pixels
