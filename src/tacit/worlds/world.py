"""What a simulated world brings: an environment, a recorder's policy, scenes with a goal, and a measure of success.

A world is an adapter. Behind it stands a Gymnasium environment whose observation dictionary has every observation signal of the
schema under its name, and whose `info` has every label and disturbance. It never ends by itself: no time limit, no "success".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tacit.signals import Schema

Env: TypeAlias = gymnasium.Env[Any, Any]
Samples: TypeAlias = dict[str, NDArray[Any]]
Recorder: TypeAlias = Callable[[Env, Samples], NDArray[np.float32]]  # the environment and all it shows now -> action (A,), physical units


class Purpose(IntEnum):
    """What random numbers are drawn for. Streams of different purposes never meet, whatever the seeds."""

    RECORDING = 0
    SCENES = 1
    POLICY = 2
    SHIFTS = 3


def stream(purpose: Purpose, seed: int, number: int) -> np.random.Generator:
    """Random numbers of one episode, the same however many episodes there are.

    Args:
        purpose: What they are for.
        seed: Of the recording or the evaluation, at least 0.
        number: Of the episode, from 0.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(purpose, number))))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One task in a world: numbers that the world can set and JSON can hold.

    Attributes:
        start: Where the episode begins, in the world's own coordinates.
        goal: Where it should end, likewise.
        layout: What else the world needs to build the scene, by name.
        hard: True when the way to the goal leads around something.
    """

    start: tuple[float, ...]
    goal: tuple[float, ...]
    layout: Mapping[str, float]
    hard: bool

    def to_json(self) -> dict[str, Any]:
        """The scene as JSON values."""
        return {**asdict(self), "start": list(self.start), "goal": list(self.goal)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scene:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The value is not a scene.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            raise ValueError(f"not a scene: it needs exactly {', '.join(sorted(names))}")
        start, goal = (tuple(float(v) for v in values[name]) for name in ("start", "goal"))
        return cls(start=start, goal=goal, layout=dict(values["layout"]), hard=bool(values["hard"]))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a simulation needs to go on from here.

    Attributes:
        state: In the world's own coordinates, as a scene's start and goal.
        layout: What else the world needs to build the scene, by name.
    """

    state: tuple[float, ...]
    layout: Mapping[str, float] = field(default_factory=dict)


def blind(actions: NDArray[np.float32]) -> Recorder:
    """A recorder's policy that plays actions (T, A) one after the other, whatever it is shown."""
    left = iter(actions)
    return lambda env, samples: next(left)


@runtime_checkable
class World(Protocol):
    """A simulator that logs can be recorded in and policies evaluated in."""

    @property
    def name(self) -> str:
        """Name in the registry, `tacit.worlds.WORLDS`."""

    @property
    def schema(self) -> Schema:
        """Signals of an episode."""

    @property
    def tolerance(self) -> float:
        """Largest distance from the goal that counts as there."""

    @property
    def unit(self) -> str:
        """Unit of `tolerance` and `distance`."""

    def make(self, *, camera: bool = True) -> Env:
        """A new environment, to be closed by the caller.

        Args:
            camera: False when nobody will look at the images: they may then be black, where drawing them takes time.
        """

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Actions (steps, A) in physical units that know no goal and see nothing: the floor of chance."""

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        """What acts in one recorded episode of `steps` actions, drawn before the episode begins. It never knows a goal of an evaluation;
        where blind actions show too little of a world, it may look at the simulator, as a person who steers a machine for its logs does.
        """

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        """Draw a task whose start lies at least twice the tolerance from its goal."""

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        """Put the environment at the scene's start; its first observation and info, as `reset` gives them."""

    def goal(self, env: Env, scene: Scene) -> Samples:
        """What the sensors show at the scene's goal. May move the environment: call `start` afterwards."""

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        """Distance from the goal in `unit`, from an environment's `info` or an episode's labels at one moment."""

    def snapshot(self, env: Env) -> Snapshot:
        """Where the environment is now."""

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        """The task of getting from one moment of an episode to another one of the same episode."""


class StateWorld:
    """What worlds share whose environment shows its numbers as `state` and begins with them at `reset(options={"state": numbers})`."""

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        return env.reset(options={"state": scene.start})

    def goal(self, env: Env, scene: Scene) -> Samples:
        observation, _ = env.reset(options={"state": scene.goal})
        return dict(observation)

    def snapshot(self, env: Env) -> Snapshot:
        return Snapshot(state=env.get_wrapper_attr("state"))
