"""A tiny world of another kind than Two Rooms: a point on a line, with a camera, two action signals and a disturbance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tacit.signals import Role, Schema, Signal
from tacit.worlds import Env, Recorder, Scene, Snapshot, blind
from tacit.worlds.world import Samples


class Line(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """x += push * gain + wind. `info` also has what no policy may see."""

    def __init__(self, frame_of: Any) -> None:
        self.frame_of = frame_of
        self.x = 0.0
        self.wind = 0.0
        self.closed = False

    def observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"camera": self.frame_of(self.x), "extra": "not in the schema"}, {"x": np.float32(self.x), "wind": np.float32(self.wind)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.x = options["x"] if options else float(self.np_random.uniform(-5, 5))
        return self.observed()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        push, *gains = action.tolist()
        self.wind = 0.0 if self._np_random is None else float(self.np_random.normal(0, 0.01))
        self.x += push * (1 + sum(gains)) + self.wind
        observation, info = self.observed()
        return observation, 0.0, False, False, info

    def close(self) -> None:
        self.closed = True


def gradient(x: float) -> NDArray[np.uint8]:
    """A picture that moves with x."""
    return np.broadcast_to((np.arange(8) * 20 + int(x * 1000) % 90)[None, :, None], (8, 8, 1)).astype(np.uint8)


class LineWorld:
    name = "line"
    tolerance = 0.5
    unit = "m"
    schema = Schema(
        signals=(
            Signal(name="push", role=Role.ACTION, unit="N", low=-1.0, high=1.0),
            Signal(name="camera", role=Role.OBSERVATION, shape=(8, 8, 1), dtype="uint8"),
            Signal(name="wind", role=Role.DISTURBANCE),
            Signal(name="gains", role=Role.ACTION, shape=(2,), low=0.5, high=1.0),
            Signal(name="x", role=Role.LABEL, unit="m"),
        ),
        period=0.25,
    )

    def __init__(self, frame_of: Any = gradient) -> None:
        self.frame_of = frame_of
        self.made: list[Line] = []

    def make(self, *, camera: bool = True) -> Env:
        self.made.append(Line(self.frame_of))
        return self.made[-1]

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.uniform((-1, 0.5, 0.5), 1, (steps, 3)).astype(np.float32)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return blind(self.wander(steps, rng))

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        start = float(rng.uniform(-5, 5))
        return Scene(start=(start,), goal=(start + (4.0 if hard else 1.0),), layout={}, hard=hard)

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        return env.reset(options={"x": scene.start[0]})

    def goal(self, env: Env, scene: Scene) -> Samples:
        return env.reset(options={"x": scene.goal[0]})[0]

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return abs(float(labels["x"]) - scene.goal[0])

    def snapshot(self, env: Env) -> Snapshot:
        return Snapshot(state=(env.unwrapped.x,))

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        return Scene(start=start.state, goal=goal.state, layout={}, hard=False)
