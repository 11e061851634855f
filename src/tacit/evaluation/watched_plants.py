"""Plants side by side under one planning controller that is watched: what its limits on signals would have needed, scenario by scenario.

Dimensions: B plants, T steps, A action, N channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.assurance.conformal import Interval, MarginWatch
from tacit.evaluation.closed_loop import Floats, Scenario
from tacit.evaluation.plant_score import TRUE
from tacit.planning import Controller, StateLimit, Verdict
from tacit.planning.channels import shown
from tacit.signals import Schema
from tacit.worlds.plants import Plant


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedScenarios:
    """How it went.

    Attributes:
        truth: What controlled signals truly were, without noise where a label has that, (B, T + 1) by name.
        setpoints: In force at each step, (B, T) by name.
        scores: Of `tacit.assurance.MarginWatch`, (B,) by limit.
        verdicts: How many decisions there were of each kind.
    """

    truth: Mapping[str, Floats]
    setpoints: Mapping[str, Floats]
    scores: Mapping[str, NDArray[np.float64]]
    verdicts: Counter[Verdict]


def drive_watched(
    plants: Sequence[Plant], controller: Controller, scenarios: Sequence[Scenario], intervals: Mapping[str, Interval]
) -> WatchedScenarios:
    """Let one controller decide for B plants, each in a scenario of its own; all moments after the first are watched, the last one too.

    Args:
        plants: B of one kind; they are reset.
        controller: Of a task with a setpoint for every signal that the scenarios move; it is reset.
        scenarios: One per plant, of equal length; what they do to disturbances is left out.
        intervals: Scale and reach of those limits on states that are watched; sensors have a sample of their channels at every step.

    Raises:
        ValueError: Plants and scenarios are not equally many, or scenarios of different lengths.
    """
    if not plants or len(plants) != len(scenarios) or len({scenario.steps for scenario in scenarios}) != 1:
        raise ValueError("there must be a scenario for each plant, all of one length")
    schema, steps = plants[0].schema, scenarios[0].steps
    home = np.array([[plants[0].operating_point[signal.name] for signal in schema.actions]], np.float32)
    samples = [plant.reset(scenario.seed) for plant, scenario in zip(plants, scenarios, strict=True)]
    controller.reset(applied=np.tile(home, (len(plants), 1, 1)))
    wanted = [dict(scenario.setpoints[0]) for scenario in scenarios]
    names = sorted(wanted[0])
    labels = [name + TRUE if name + TRUE in schema.by_name else name for name in names]
    watches = {name: MarginWatch(interval) for name, interval in intervals.items()}
    verdicts: Counter[Verdict] = Counter()
    truth, told = [_table(samples, labels)], []
    for step in range(steps):
        for mine, scenario in zip(wanted, scenarios, strict=True):
            mine.update(scenario.setpoints.get(step, {}))
        told.append(_table(wanted, names))
        if step == 0 or (told[-1] != told[-2]).any():
            controller.retarget({name: told[-1][:, [column]] for column, name in enumerate(names)})
        seen = {signal.name: np.stack([one[signal.name] for one in samples]) for signal in schema.seen}
        decided = controller.act_batch(seen)
        verdicts.update(decided.verdicts)
        acts = [verdict is Verdict.ACT for verdict in decided.verdicts]
        limits = {limit.name: limit for limit in controller.limits if isinstance(limit, StateLimit)}
        for name, watch in watches.items():
            watch.found(_margins(limits[name], schema, seen))
            watch.decided(None if decided.plan is None else limits[name].predicted(decided.plan.trajectory).numpy(), acts)
        samples = [plant.apply(action) for plant, action in zip(plants, decided.actions, strict=True)]
        truth.append(_table(samples, labels))
    seen = {signal.name: np.stack([one[signal.name] for one in samples]) for signal in schema.seen}
    for name, watch in watches.items():
        watch.found(_margins(limits[name], schema, seen))
    return WatchedScenarios(
        truth=dict(zip(names, np.stack(truth, axis=-1).swapaxes(0, 1), strict=True)),
        setpoints=dict(zip(names, np.stack(told, axis=-1).swapaxes(0, 1), strict=True)),
        scores={name: watch.scores for name, watch in watches.items()},
        verdicts=verdicts,
    )


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Floats:
    """Some numbers of each plant, (B, names)."""
    return np.array([[float(row[name]) for name in names] for row in rows])


def _margins(limit: StateLimit, schema: Schema, samples: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """How far inside a limit the sensors are, (B,)."""
    found: NDArray[np.float32] = limit.inside(torch.from_numpy(shown(schema, limit.channels, samples))).numpy()
    return found
