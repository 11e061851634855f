"""Policies to evaluate: the floors that every number is read against, and the adapter for a planning controller.

Dimensions: B episodes side by side, A action, D latent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.contracts import WorldModel
from tacit.planning import Controller, Verdict, action_limits
from tacit.signals import Schema
from tacit.worlds import World

Samples = Mapping[str, NDArray[Any]]


@final
class RandomPolicy:
    """The recorder's own policy, blind to observation and goal: how often does it arrive by chance?

    It is a stronger floor than independent uniform actions, which tremble on the spot: its actions are those of the training logs.

    Args:
        world: Whose recorder to imitate.
        block: Actions drawn at a time, as many as a recorded episode has.
    """

    def __init__(self, world: World, *, block: int = 100) -> None:
        self._world = world
        self._block = block

    def reset(self, goals: Samples, seed: int) -> None:
        machines = len(next(iter(goals.values())))
        self._streams = [np.random.default_rng(sequence) for sequence in np.random.SeedSequence(seed).spawn(machines)]
        self._used = self._block
        self._actions: NDArray[np.float32]

    def act(self, observations: Samples) -> NDArray[np.float32]:
        if self._used == self._block:
            self._actions = np.stack([self._world.wander(self._block, rng) for rng in self._streams], axis=1)
            self._used = 0
        actions: NDArray[np.float32] = self._actions[self._used]
        self._used += 1
        return actions


@final
class NoOpPolicy:
    """Zero, or the nearest action inside the limits: what the protocol gives away.

    Args:
        schema: Whose actions.
    """

    def __init__(self, schema: Schema) -> None:
        zero = torch.zeros(1, schema.action_size)
        self._action = action_limits(schema).project(zero[:, None, None], zero)[0, 0, 0].numpy()

    def reset(self, goals: Samples, seed: int) -> None:
        self._actions = np.tile(self._action, (len(next(iter(goals.values()))), 1))

    def act(self, observations: Samples) -> NDArray[np.float32]:
        return self._actions


@final
class CloningPolicy:
    """Behaviour cloning in latent space: what a policy head makes of observation and goal, without planning.

    Args:
        model: Encodes observation and goal.
        goal_policy: Latents (B, h, D), oldest first, and goals (B, D) -> physical actions (B, A); a `tacit.models.heads.GoalPolicy`.
    """

    def __init__(self, model: WorldModel, goal_policy: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._model = model
        self._goal_policy = goal_policy
        self._limits = action_limits(model.schema)

    def reset(self, goals: Samples, seed: int) -> None:
        self._goals = self._encoded(goals, None)
        self._history: Tensor | None = None
        self._before: Tensor | None = None  # the actions applied last, (B, 1, A)

    def act(self, observations: Samples) -> NDArray[np.float32]:
        """Actions (B, A) inside the action limits.

        Raises:
            ValueError: The policy head gives a number that is not finite.
        """
        with torch.no_grad():
            latest = self._encoded(observations, self._before)[:, None]
            past = latest.expand(-1, self._model.history, -1) if self._history is None else self._history
            self._history = torch.cat((past[:, 1:], latest), dim=1)
            actions = self._goal_policy(self._history, self._goals).float().cpu()
        if not actions.isfinite().all():
            raise ValueError("the goal policy gives actions that are not finite: it was not trained, or its training diverged")
        self._before = self._limits.project(actions[:, None, None], torch.zeros_like(actions))[:, 0]
        return self._before[:, 0].numpy()

    def _encoded(self, samples: Samples, before: Tensor | None) -> Tensor:
        with torch.no_grad():
            return self._model.encode({name: torch.tensor(value).unsqueeze(1) for name, value in samples.items()}, before)[:, 0]


@final
class PlannedPolicy:
    """A planning controller, one machine per episode.

    The seed of an evaluation is not used: the noise of planning was seeded where the planner was made. For the same numbers again,
    make the controller again.

    Args:
        controller: Whose decisions to apply; its task needs no goal.

    Attributes:
        verdicts: How many decisions there were of each kind since the policy was made. Count the fallbacks before you blame the plans.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.verdicts: Counter[Verdict] = Counter()

    def reset(self, goals: Samples, seed: int) -> None:
        self._controller.reset(goals)

    def act(self, observations: Samples) -> NDArray[np.float32]:
        decisions = self._controller.act_batch(observations)
        self.verdicts.update(decisions.verdicts)
        return decisions.actions
