"""A planning controller that is watched while it is evaluated: what its limits on states would have needed, episode by episode.

Dimensions: B episodes side by side, A action, H horizon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.assurance.conformal import Interval, MarginWatch
from tacit.planning import Controller, StateLimit, Verdict

Samples = Mapping[str, NDArray[Any]]


@final
class WatchedPolicy:
    """As `PlannedPolicy`, and keeps the scores of `tacit.assurance.MarginWatch` by limit.

    The moment after the last action is not shown to a policy: let an evaluation that records go on for one action more.

    Args:
        controller: Whose decisions to apply; its task needs no goal.
        limits: Those that are watched; one that the controller has, too, as the controller corrects it.
        intervals: Scale and reach by limit.
        sensors: By limit, what reads its channels (B, N) in observations (B, *shape), as its readouts were fitted on.

    Attributes:
        verdicts: How many decisions there were of each kind.
    """

    def __init__(
        self,
        controller: Controller,
        limits: Sequence[StateLimit],
        intervals: Mapping[str, Interval],
        sensors: Mapping[str, Callable[[Samples], NDArray[Any]]],
    ) -> None:
        self._controller = controller
        self._limits = {limit.name: limit for limit in limits if limit.name in intervals}
        self._intervals, self._sensors = intervals, sensors
        self._ended: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self._limits}
        self._watches: dict[str, MarginWatch] = {}
        self.verdicts: Counter[Verdict] = Counter()

    def reset(self, goals: Samples, seed: int) -> None:
        self._end()
        self._controller.reset(goals)
        self._watches = {name: MarginWatch(self._intervals[name]) for name in self._limits}

    def act(self, observations: Samples) -> NDArray[np.float32]:
        decided = self._controller.act_batch(observations)
        self.verdicts.update(decided.verdicts)
        acts = [verdict is Verdict.ACT for verdict in decided.verdicts]
        limits = self._limits | {limit.name: limit for limit in self._controller.limits if isinstance(limit, StateLimit)}
        for name, watch in self._watches.items():
            limit = limits[name]
            channels = torch.from_numpy(np.asarray(self._sensors[name](observations), dtype=np.float32))
            watch.found(limit.inside(channels).numpy())
            watch.decided(None if decided.plan is None else limit.predicted(decided.plan.trajectory).numpy(), acts)
        return decided.actions

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Scores of all episodes so far, in their order, by limit."""
        self._end()
        return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in self._ended.items()}

    def _end(self) -> None:
        for name, watch in self._watches.items():
            self._ended[name].append(watch.scores)
        self._watches = {}
