"""The limits of a machine's actions: its signals' own and those of a task, as one thing that projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.planning.grid import quanta
from tacit.planning.limits import BoxLimits, NormLimit
from tacit.planning.path_limits import Combination, PathLimits
from tacit.planning.task import Task
from tacit.planning.task_limits import Elements, TaskError
from tacit.signals import Schema, Signal

_CUTS = 60  # rounds of cutting balls out, at most


def action_limits(schema: Schema, task: Task | None = None) -> BoxLimits | PathLimits:
    """Limits of a machine's actions: its signals' own ranges and norms, narrowed by a task.

    Args:
        schema: The machine's signals; action signals are concatenated in storage order. Its period turns rates into steps.
        task: Narrower limits, or None for the signals' own.

    Returns:
        Limits over the A action elements; `PathLimits` where a rate, a jerk or a linear combination is limited. Bounds are rounded
        inwards to float32, so that an action that holds them in float32 holds the given numbers too; two bounds closer together than
        float32 can tell become the nearest value.

    Raises:
        TaskError: An action has no known range, is not a floating-point signal, the task does not fit the schema, a limit is too fine
            for float32, or no action keeps all limits; with the line of the entry where the task came from a file.
    """
    task = task or Task()
    task.check(schema)
    try:
        box = _box(schema, task)
        limits = [(signal, task.limits[signal.name]) for signal in schema.actions if signal.name in task.limits]
        if not task.linear and all(limit.rate is None and limit.jerk is None for _, limit in limits):
            return box
        return _path_limits(schema, task, box)
    except TaskError as error:
        raise task.located(error) from error.__cause__


def element_names(schema: Schema) -> tuple[str, ...]:
    """What a person calls each of the A action elements: the signal's name, with the element's number where it has several."""
    return tuple(name for signal in schema.actions for name in _names(signal))


def action_row(schema: Schema, values: Mapping[str, Elements]) -> tuple[float, ...]:
    """Values by action signal, one for all of its elements or one per element, as a whole action (A,)."""
    parts = [_per_element(values[signal.name], signal) for signal in schema.actions]
    return tuple(np.concatenate(parts).tolist())


def weights_of(task: Task, schema: Schema) -> list[tuple[float, ...]]:
    """The weights of each linear limit of a task, (A,) numbers each."""
    found = []
    for limit in task.linear:
        parts = [_per_element(limit.weights.get(signal.name, 0.0), signal) for signal in schema.actions]
        found.append(tuple(np.concatenate(parts).tolist()))
    return found


def _box(schema: Schema, task: Task) -> BoxLimits:
    lows, highs, norms, start = [], [], [], 0
    for signal in schema.actions:
        key = ("limits", "action", signal.name)
        if not signal.dtype.startswith("float"):
            raise TaskError(f"planning needs a floating-point action, but {signal.name!r} is {signal.dtype}", *key)
        low, high = task.range_of(signal)
        if missing := [side for side, bound in (("low", low), ("high", high)) if not np.isfinite(bound).all()]:
            raise TaskError(
                f"action {signal.name!r} has no known range: give {' and '.join(missing)} in [limits.action.{signal.name}]", *key
            )
        lows.append(low)
        highs.append(high)
        if (radius := task.max_norm_of(signal)) is not None:
            norms.append(NormLimit(elements=slice(start, start + signal.size), radius=radius))
        start += signal.size
    if not lows:
        raise TaskError("the schema has no action signal: there is nothing to plan")
    low, high = np.concatenate(lows), np.concatenate(highs)
    inner_low, inner_high = -_rounded_down(-low), _rounded_down(high)
    empty = inner_low > inner_high
    inner_low, inner_high = np.where(empty, low, inner_low), np.where(empty, low, inner_high)
    return BoxLimits(
        low=torch.tensor(inner_low, dtype=torch.float32), high=torch.tensor(inner_high, dtype=torch.float32), norms=tuple(norms)
    )


def _path_limits(schema: Schema, task: Task, box: BoxLimits) -> PathLimits:
    period, quantum = schema.period, quanta(box).numpy()
    steps, changes, start = [], [], 0
    for signal in schema.actions:
        limit, own = task.limits.get(signal.name), quantum[start : start + signal.size]
        rate = np.full(signal.size, np.inf) if limit is None or limit.rate is None else _per_element(limit.rate, signal)
        jerk = np.full(signal.size, np.inf) if limit is None or limit.jerk is None else _per_element(limit.jerk, signal)
        step, change = _below(rate * period, rate, period), _below(jerk * period * period, jerk, period, period)
        for name, value, least, per in (("rate", step, 1, "second"), ("jerk", change, 4, "second squared")):
            if (small := value < least * own).any():
                finest = float((least * own[small]).max()) / period ** (1 if name == "rate" else 2)
                raise TaskError(
                    f"is finer than float32 tells actions of this range apart every {period:g} s: give at least {finest:.2g} per {per}",
                    *("limits", "action", signal.name, name),
                )
        steps.append(step)
        changes.append(change)
        start += signal.size
    weights = weights_of(task, schema)
    combinations = tuple(
        Combination(name=limit.name, weights=weight, at_most=limit.at_most) for limit, weight in zip(task.linear, weights, strict=True)
    )
    return PathLimits(
        box=box,
        step=torch.tensor(np.concatenate(steps)),
        change=torch.tensor(np.concatenate(changes)),
        combinations=combinations,
        rest=torch.tensor(_rest(task, box, combinations), dtype=torch.float32),
        names=element_names(schema),
    )


def _rest(task: Task, box: BoxLimits, combinations: Sequence[Combination]) -> NDArray[np.float64]:
    """An action that keeps all limits with room around it.

    Raises:
        TaskError: No action keeps a combination together with those before it.
    """
    rest = _centre(box, ())
    for count, (limit, combination) in enumerate(zip(task.linear, combinations, strict=True), 1):
        rest = _centre(box, combinations[:count])
        if rest is None:
            low, high, weights = box.low.double().numpy(), box.high.double().numpy(), np.array(combination.weights)
            least = float(np.minimum(weights * low, weights * high).sum())
            why = (
                f"in the ranges of the actions it is {least:.6g} at least"
                if least >= limit.at_most
                else "no action keeps it, with room for rounding, together with the largest norms and the combinations before it"
            )
            raise TaskError(f"{limit.name!r} cannot be kept: {why}", "limits", "linear", str(count), "at_most")
    assert rest is not None, "0 keeps every norm"
    return rest


def _centre(box: BoxLimits, combinations: Sequence[Combination]) -> NDArray[np.float64] | None:
    """The centre of the largest ball inside (Chebyshev), in fractions of each element's half range; None where there is no room for one.

    A linear program; of a ball, the planes that touch it where it matters are found one by one.
    """
    low, high, quantum = box.low.double().numpy(), box.high.double().numpy(), quanta(box).numpy()
    half: NDArray[np.float64] = (high - low) / 2
    middle: NDArray[np.float64] = low + half
    if not combinations and not box.norms:
        return middle
    from scipy.optimize import linprog  # it takes a while to load, and most tasks do not need it

    edges = [sign * np.eye(len(half))[element] for element in np.flatnonzero(half) for sign in (1.0, -1.0)]
    rows = [np.append(edge, 1.0) for edge in edges]
    bounds = [1.0 for _ in edges]
    planes = [(np.array(c.weights), c.at_most) for c in combinations]
    for _ in range(_CUTS):
        for weights, at_most in planes:
            length = float(np.linalg.norm(weights * half)) or 1.0
            rows.append(np.append(weights * half / length, 1.0))
            bounds.append(float(at_most - weights @ middle) / length)
        objective = np.append(np.zeros(len(half)), -1.0)
        best = linprog(objective, A_ub=np.array(rows), b_ub=np.array(bounds), bounds=[(-1, 1)] * len(half) + [(0, 1)])
        if best.status != 0:
            return None
        found = middle + best.x[:-1] * half
        planes = []
        for norm in box.norms:
            part = np.zeros_like(found)
            part[norm.elements] = found[norm.elements]
            if (length := float(np.linalg.norm(part))) > norm.radius * (1 - 1e-4):
                planes.append((part / length, norm.radius * (1 - 1e-3)))
        if not planes:
            found = np.clip(np.round(found / quantum), np.ceil(low / quantum), np.floor(high / quantum)) * quantum
            is_inside = all(np.dot(c.weights, found) < c.at_most - 1e-9 * abs(c.at_most) for c in combinations)
            return np.asarray(found) if is_inside and best.x[-1] > 1e-6 else None
    return None


def _below(limit: NDArray[np.float64], given: NDArray[np.float64], *periods: float) -> NDArray[np.float64]:
    """The limit of a step, a rounding smaller where it would not give what was asked for when it is divided by the period again."""
    for _ in range(4):
        back = limit
        for period in periods:
            back = back / period
        limit = np.where(back > given, np.nextafter(limit, 0), limit)
    return limit


def _per_element(value: Elements, signal: Signal) -> NDArray[np.float64]:
    return np.full(signal.size, value) if isinstance(value, float) else np.array(value, dtype=np.float64)


def _names(signal: Signal) -> list[str]:
    return [signal.name] if signal.size == 1 else [f"{signal.name}[{n}]" for n in range(signal.size)]


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)
