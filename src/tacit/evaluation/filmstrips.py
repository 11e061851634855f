"""Episodes worth looking at: which they are, and the strips of images that show them.

Images of every evaluated episode would take gigabytes. Actions take little, so they are what is kept, and the few episodes that are
shown are played again. Dimensions: N episodes, B episodes side by side, T actions, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.evaluation.outcome import Outcome
from tacit.evaluation.protocol import Manifest, Policy, run
from tacit.evaluation.scenery import scenery
from tacit.evaluation.sections import Episode, Planning
from tacit.worlds import world

Samples = Mapping[str, NDArray[Any]]
SHOWN = 3  # successes, and as many failures
FRAMES = 8  # of a strip


@final
class Taped:
    """A policy whose actions are kept.

    Args:
        policy: Who acts.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._batches: list[list[NDArray[np.float32]]] = []

    def reset(self, goals: Samples, seed: int) -> None:
        self._batches.append([])
        self._policy.reset(goals, seed)

    def act(self, observations: Samples) -> ArrayLike:
        actions = self._policy.act(observations)
        self._batches[-1].append(np.array(actions, dtype=np.float32))
        return actions

    def actions(self) -> NDArray[np.float32]:
        """All actions, (N, T, A), in the order of the episodes."""
        return np.concatenate([np.stack(batch, axis=1) for batch in self._batches])


@final
class Replay:
    """Applies actions (B, T, A) that were taken before, one after another."""

    def __init__(self, actions: NDArray[np.float32]) -> None:
        self._actions = actions
        self._t = 0

    def reset(self, goals: Samples, seed: int) -> None:
        self._t = 0

    def act(self, observations: Samples) -> NDArray[np.float32]:
        actions = self._actions[:, self._t]
        self._t += 1
        return actions


def worth_showing(outcome: Outcome, shown: int = SHOWN) -> tuple[int, ...]:
    """The first successes and the first failures, hard ones before easy ones: numbers of episodes."""
    numbers = np.arange(len(outcome.hard))
    hard_first = numbers[np.argsort(~outcome.hard, kind="stable")]
    successes, failures = (hard_first[outcome.success[hard_first] == wanted][:shown].tolist() for wanted in (True, False))
    return (*successes, *failures)


def filmstrips(manifest: Manifest, outcome: Outcome, actions: NDArray[np.float32]) -> Planning | None:
    """Play the episodes that are worth showing again, and thin them to strips.

    Args:
        manifest: Scenes that were evaluated.
        outcome: How it went.
        actions: What was done, (N, T, A).

    Returns:
        The strips; None when the world has no camera.
    """
    arena, look = world(manifest.protocol.world), scenery(manifest.protocol.world)
    camera = next((s for s in arena.schema.observations if s.is_image and s.shape[-1] in (1, 3)), None)
    if camera is None:
        return None
    numbers = worth_showing(outcome)
    chosen = Manifest(protocol=replace(manifest.protocol, episodes=len(numbers)), scenes=tuple(manifest.scenes[n] for n in numbers))
    again = run(chosen, Replay(actions[list(numbers)]), keep=range(len(numbers)))
    strips = []
    for trace, distance, success, scene in zip(again.traces, again.distance, again.success, chosen.scenes, strict=True):
        last = arrival(distance, again.tolerance, again.hold) if success else len(distance) - 1
        steps = tuple(sorted(set(np.linspace(0, last, FRAMES).round().astype(int).tolist())))
        kind = look.hard if scene.hard else look.easy
        missed = f"{distance[-1]:.3g} {again.unit} away after {last} steps, {distance.min():.3g} at best"
        how = f"there after {last} steps" if success else missed
        way = look.path(trace.labels)
        strips.append(
            Episode(
                frames=trace.observations[camera.name][list(steps)],
                goal=trace.goal[camera.name],
                success=bool(success),
                caption=f"{kind}, {distance[0]:.2g} {again.unit} apart: {how}",
                steps=steps,
                path=None if way is None else way[: last + 1],
            )
        )
    return Planning(episodes=tuple(strips))


def arrival(distance: NDArray[np.float64], tolerance: float, hold: int = 1) -> int:
    """Step of a successful episode, distances (T + 1,), from which on it stays within the tolerance; the first one that is there when
    `hold` is 0, that is, when once is enough."""
    within = distance <= tolerance
    if hold == 0:
        return int(np.argmax(within))
    outside = np.flatnonzero(~within)
    return int(outside[-1]) + 1 if len(outside) else 0
