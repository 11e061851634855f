"""Why a question leaves what the logs can answer, in words that an operator understands.

Dimensions: H horizon, A action, N channels, D latent, M looked-at moments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.planning.interventions import action_channels
from tacit.run import Run
from tacit.training.support import LAGS, Support, looked_at, way

TOLD = 3  # reasons at most
SLACK = 0.05  # of a channel's logged range, by which a prediction may leave it
FAR = 0.1  # of a logged range: what is farther outside is not ranked
ALIKE = 3  # numbers that tell a combination from the most similar one


def reasons(
    run: Run,
    support: Support,
    trajectory: Tensor,
    past: Tensor,
    actions: Tensor,
    path: Tensor,
    distances: tuple[Tensor, ...],
) -> tuple[str, ...]:
    """Say why an intervention is not ranked; at least one reason.

    Args:
        run: Which was asked.
        support: Of its logs.
        trajectory: Latents now and after each action, (1 + H, D).
        past: Actions before, (T, A).
        actions: From now on, (H, A).
        path: What the channels show now and after each action, (1 + H, N).
        distances: Of the looked-at moments in what is done and in where it leads, (M,) each.
    """
    period, elements = run.schema.period, action_channels(run.schema)
    found = []
    for n, (name, signal) in enumerate(elements):
        found += _level(name, _unit(signal.unit), actions[:, n], float(support.low[n]), float(support.high[n]), period)
        found += _moves(name, _unit(signal.unit), torch.cat((past[:, n], actions[:, n])), len(past), support.moved[:, n], period)
    channels = [(name, _unit(fitted.readout.unit)) for fitted in run.readouts.values() for name in fitted.readout.names]
    for n, (name, unit) in enumerate(channels):
        low, high = (float(side[len(elements) + n]) for side in (support.low, support.high))
        found += _reading(name, unit, path[:, n], low, high)
    return tuple(found[:TOLD]) or (_combination(run, support, trajectory, past, actions, distances),)


def leaves(support: Support, path: Tensor, actions: Tensor) -> bool:
    """Whether a way leaves what was logged of a single number by far, which no distance has to say.

    Args:
        support: Of the logs.
        path: What the channels show now and after each action, (1 + H, N).
        actions: From now on, (H, A).
    """
    size = actions.shape[1]
    slack = FAR * (support.high - support.low)
    low, high = support.low - slack, support.high + slack
    outside = [(actions < low[:size]) | (actions > high[:size]), (path < low[size:]) | (path > high[size:])]
    return any(bool(each.any()) for each in outside)


def _reading(name: str, unit: str, path: Tensor, low: float, high: float) -> list[str]:
    slack = SLACK * (high - low)
    now, hold = float(path[0]), f"the logs hold {low:.4g} to {high:.4g}{unit}"
    if not low - slack <= now <= high + slack:
        return [f"{name} is at {now:.4g}{unit}: {hold}"]
    ends = [float(path.max())] * (float(path.max()) > high + slack) + [float(path.min())] * (float(path.min()) < low - slack)
    return [f"{name} would come to {end:.4g}{unit}: {hold}" for end in ends]


def _level(name: str, unit: str, values: Tensor, low: float, high: float, period: float) -> list[str]:
    slack = 1e-4 * max(abs(low), abs(high), 1e-6)
    for worst, outside, word, bound in (
        (float(values.max()), values > high + slack, "above", high),
        (float(values.min()), values < low - slack, "below", low),
    ):
        if outside.any():
            long = clock(int(outside.sum()) * period)
            return [f"{name} at {worst:.4g}{unit}, for {long} outside: the logs never held it {word} {bound:.4g}{unit}"]
    return []


def _moves(name: str, unit: str, values: Tensor, first: int, moved: Tensor, period: float) -> list[str]:
    for lag, most in zip(LAGS, moved.tolist(), strict=True):
        now = torch.arange(first, len(values))
        change = float((values[now] - values[(now - lag).clamp(min=0)]).abs().max())
        if change > most * (1 + 1e-4) + 1e-6:
            return [f"{name} moves by {change:.3g}{unit} within {clock(lag * period)}: in the logs by {most:.3g}{unit} at most"]
    return []


def _combination(run: Run, support: Support, trajectory: Tensor, past: Tensor, actions: Tensor, distances: tuple[Tensor, ...]) -> str:
    """The moment of a way that is least like the logs, beside what is most like it there."""
    done, led = way(trajectory[None], past, actions[None])
    kind = int(distances[1].max() > distances[0].max())
    moment = int(distances[kind].argmax())
    when = clock(float(looked_at(len(actions))[moment] + 1) * run.schema.period)
    cloud, feature = ((support.actions, done), (support.states, led))[kind]
    here, there = feature[0, moment], cloud.nearest(feature[0, moment])
    words = _levels(run, here, there, support) if kind == 0 else _states(run, here, there, support)
    return f"this combination was not logged: {when} from now {words}"


def _levels(run: Run, here: Tensor, there: Tensor, support: Support) -> str:
    elements = action_channels(run.schema)
    names = [name for name, _ in elements]
    labels = names + [f"{name} since {clock(lag * run.schema.period)}" for lag in LAGS for name in names]
    units = [_unit(signal.unit) for _, signal in elements] * (1 + len(LAGS))
    shares = ((here - there) / support.actions.scale).abs()
    signs = [""] * len(names) + ["+"] * (len(labels) - len(names))
    return _beside(labels, units, signs, here, there, shares)


def _states(run: Run, here: Tensor, there: Tensor, support: Support) -> str:
    size = run.schema.action_size
    elements = action_channels(run.schema)
    readouts = list(run.readouts.values())
    with torch.no_grad():
        values = [torch.cat([*(r.readout(point[:-size]) for r in readouts), point[-size:]]) for point in (here, there)]
    names = [name for r in readouts for name in r.readout.names] + [name for name, _ in elements]
    units = [_unit(r.readout.unit) for r in readouts for _ in r.readout.names] + [_unit(signal.unit) for _, signal in elements]
    order = torch.cat((torch.arange(size, len(support.low)), torch.arange(size)))
    spread = (support.high - support.low)[order].clamp(min=1e-9)
    return _beside(names, units, [""] * len(names), values[0], values[1], ((values[0] - values[1]) / spread).abs())


def _beside(names: list[str], units: list[str], signs: list[str], here: Tensor, there: Tensor, shares: Tensor) -> str:
    chosen = shares.argsort(descending=True)[:ALIKE].tolist()
    said = [f"{names[n]} {float(here[n]):{signs[n]}.3g}{units[n]} (there {float(there[n]):{signs[n]}.3g}{units[n]})" for n in chosen]
    return f"{', '.join(said)}, beside the most similar moment of the logs"


def clock(seconds: float) -> str:
    """A time as an operator says it."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"
