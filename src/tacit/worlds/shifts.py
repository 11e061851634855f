"""Worlds that are not what they were when the logs were made: what a monitor has to notice.

A shift stands between a world and whoever acts in it. It changes what a camera shows, when a picture arrives, or what an action does,
from the first moment of an episode on or from a moment that it draws. The scenes stay the same, and so does the picture of the goal: it
was taken before anything changed. Success is judged by the world itself, which no shift can fool.

Dimensions: A action; pictures are (height, width, channels) uint8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tacit.signals import Schema
from tacit.worlds.world import Env, Purpose, Recorder, Samples, Scene, Snapshot, World, stream

Frame = NDArray[np.uint8]
Action = NDArray[np.float32]

ONSET = (5, 30)  # steps after which something that breaks in an episode breaks
GREY = 128


class Disturbance(Protocol):
    """What one shift does in one episode."""

    def see(self, image: Frame) -> Frame:
        """What arrives in the place of a picture; called once per moment."""

    def act(self, action: Action) -> Action:
        """What is really done when an action is sent; called once per step."""


class _Nothing:
    """Shows and does what is there; what a shift does not change, it has from here."""

    def see(self, image: Frame) -> Frame:
        return image

    def act(self, action: Action) -> Action:
        return action


@final
class Repainted(_Nothing):
    """Every picture is changed in the same way."""

    def __init__(self, paint: Callable[[Frame], Frame]) -> None:
        self._paint = paint

    def see(self, image: Frame) -> Frame:
        return self._paint(image)


@final
class Rewired(_Nothing):
    """Every action is changed in the same way."""

    def __init__(self, change: Callable[[Action], Action]) -> None:
        self._change = change

    def act(self, action: Action) -> Action:
        return self._change(action).astype(np.float32)


@final
class Noisy(_Nothing):
    """Independent noise in every value of every picture.

    Args:
        std: In grey levels.
        rng: Draws it.
    """

    def __init__(self, std: float, rng: np.random.Generator) -> None:
        self._std, self._rng = std, rng

    def see(self, image: Frame) -> Frame:
        return _levels(image + self._rng.normal(0.0, self._std, image.shape))


@final
class Drifting(_Nothing):
    """A sensor whose bias grows: every picture is brighter and redder than the one before, until it is off by all of it.

    Args:
        steps: After which the bias is complete.
        offset: Grey levels that are added then.
        gains: What the colours are multiplied with then, (3,).
    """

    def __init__(self, steps: int, offset: float, gains: tuple[float, float, float]) -> None:
        self._steps, self._offset, self._gains = steps, offset, np.array(gains)
        self._shown = 0

    def see(self, image: Frame) -> Frame:
        share = min(self._shown / self._steps, 1.0)
        self._shown += 1
        return _levels(image * (1.0 + share * (self._gains - 1.0)) + share * self._offset)


@final
class Frozen(_Nothing):
    """From some moment on the camera shows the same picture."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._left = int(rng.integers(*ONSET))
        self._last: Frame | None = None

    def see(self, image: Frame) -> Frame:
        self._left -= 1
        if self._left >= 0 or self._last is None:
            self._last = image
        return self._last


@final
class Dropping(_Nothing):
    """Some pictures do not arrive, and the one before is seen again.

    Args:
        share: Of the pictures.
        rng: Draws which.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self._share, self._rng = share, rng
        self._last: Frame | None = None

    def see(self, image: Frame) -> Frame:
        if self._last is None or self._rng.random() >= self._share:
            self._last = image
        return self._last


@final
class Delayed(_Nothing):
    """Actions take effect some steps after they were sent; nothing is done before the first one arrives."""

    def __init__(self, steps: int) -> None:
        self._line: deque[Action] = deque()
        self._steps = steps

    def act(self, action: Action) -> Action:
        self._line.append(action)
        return self._line.popleft() if len(self._line) > self._steps else np.zeros_like(action)


@final
class Failing(_Nothing):
    """From some moment on one element of the action does nothing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._left = int(rng.integers(*ONSET))
        self._draw = float(rng.random())

    def act(self, action: Action) -> Action:
        self._left -= 1
        if self._left >= 0:
            return action
        broken = action.copy()
        broken[int(self._draw * len(action))] = 0.0
        return broken


def _levels(values: NDArray[np.floating[Any]]) -> Frame:
    levels: Frame = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return levels


def _moved(image: Frame, down: int, right: int) -> Frame:
    """What a camera that was knocked shows; the edge is repeated where it sees what was not in the picture before."""
    rows = np.clip(np.arange(image.shape[0]) - down, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - right, 0, image.shape[1] - 1)
    seen: Frame = image[rows[:, None], columns]
    return seen


def _nearer(image: Frame, factor: float) -> Frame:
    """The middle of the picture, larger; nearest pixels."""
    rows, columns = (np.clip(((np.arange(n) + 0.5 - n / 2) / factor + n / 2).astype(int), 0, n - 1) for n in image.shape[:2])
    seen: Frame = image[rows[:, None], columns]
    return seen


def _covered(image: Frame, top: float, left: float, share: float = 0.2) -> Frame:
    """A grey box whose sides are `share` of the picture's, somewhere in it."""
    covered = image.copy()
    height, width = (int(n * share) for n in image.shape[:2])
    row, column = int(top * (image.shape[0] - height)), int(left * (image.shape[1] - width))
    covered[row : row + height, column : column + width] = GREY
    return covered


def _sideways(size: float, rng: np.random.Generator) -> tuple[int, int]:
    """A way of `size` pixels in a random direction, in whole pixels: down, right."""
    angle = rng.uniform(0.0, 2 * np.pi)
    return round(size * float(np.sin(angle))), round(size * float(np.cos(angle)))


@final
@dataclass(frozen=True, kw_only=True)
class Shift:
    """One way in which a world can differ from its logs.

    Attributes:
        name: Name in the suite, `SHIFTS`.
        words: What has changed, for a person.
        begin: Makes what happens in one episode.
    """

    name: str
    words: str
    begin: Callable[[np.random.Generator], Disturbance]


def _suite() -> tuple[Shift, ...]:
    def repainted(paint: Callable[[Frame], Frame]) -> Callable[[np.random.Generator], Disturbance]:
        return lambda rng: Repainted(paint)

    def rewired(change: Callable[[Action], Action]) -> Callable[[np.random.Generator], Disturbance]:
        return lambda rng: Rewired(change)

    def knocked(rng: np.random.Generator) -> Disturbance:
        down, right = _sideways(5.0, rng)
        return Repainted(lambda image: _moved(image, down, right))

    def covered(rng: np.random.Generator) -> Disturbance:
        top, left = rng.random(2)
        return Repainted(lambda image: _covered(image, top, left))

    return (
        Shift(name="colours", words="red and blue are exchanged", begin=repainted(lambda image: image[..., ::-1])),
        Shift(name="dim", words="40 % less light", begin=repainted(lambda image: _levels(0.6 * image))),
        Shift(name="noise", words="noise of 20 grey levels in every value", begin=lambda rng: Noisy(20.0, rng)),
        Shift(name="camera", words="the camera was knocked by 5 pixels", begin=knocked),
        Shift(name="nearer", words="the camera is nearer: all is 15 % larger", begin=repainted(lambda image: _nearer(image, 1.15))),
        Shift(name="box", words="a grey box in the picture, of a fifth of its sides", begin=covered),
        Shift(
            name="bias",
            words="over 50 steps the picture gets 40 grey levels brighter and a fifth redder",
            begin=lambda rng: Drifting(50, 40.0, (1.2, 1.0, 1.0)),
        ),
        Shift(name="frozen", words="the camera freezes after 5 to 30 steps", begin=Frozen),
        Shift(name="dropped", words="half the pictures do not arrive", begin=lambda rng: Dropping(0.5, rng)),
        Shift(name="gain-60", words="actions do 60 % less", begin=rewired(lambda action: action * 0.4)),
        Shift(name="gain-30", words="actions do 30 % less", begin=rewired(lambda action: action * 0.7)),
        Shift(name="gain+30", words="actions do 30 % more", begin=rewired(lambda action: action * 1.3)),
        Shift(name="gain+60", words="actions do 60 % more", begin=rewired(lambda action: action * 1.6)),
        Shift(name="delay", words="actions take effect 4 steps later", begin=lambda rng: Delayed(4)),
        Shift(name="broken", words="after 5 to 30 steps one actuator does nothing", begin=Failing),
    )


SHIFTS: Mapping[str, Shift] = {shift.name: shift for shift in _suite()}
"""The suite, by name."""


@final
class ShiftedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that a shift stands in front of.

    Args:
        env: The environment.
        shift: What differs.
        schema: Tells which observations are pictures.
    """

    def __init__(self, env: Env, shift: Shift, schema: Schema) -> None:
        super().__init__(env)
        self._shift = shift
        self._images = tuple(s.name for s in schema.observations if s.is_image)
        self._disturbances: dict[str, Disturbance] = {}

    def begin(self, first: tuple[Samples, Samples], rng: np.random.Generator) -> tuple[Samples, Samples]:
        """Let the shift begin, and show the first moment of the episode through it."""
        self._disturbances = {name: self._shift.begin(rng) for name in self._images}
        return self._seen(first[0]), first[1]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        done = next(iter(self._disturbances.values())).act(np.asarray(action, dtype=np.float32))
        observation, reward, terminated, truncated, info = self.env.step(done)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Mapping[str, Any]) -> Samples:
        return {**observation, **{name: disturbance.see(observation[name]) for name, disturbance in self._disturbances.items()}}


@final
@dataclass(frozen=True, kw_only=True)
class ShiftedWorld:
    """A world with a shift, as a `tacit.worlds.World`: for evaluations. Logs that are recorded in it are those of the world itself.

    Attributes:
        world: The world.
        shift: What differs.
        seed: Of what the shift draws, the same for the same scene.

    Raises:
        ValueError: The world has no picture among its observations.
    """

    world: World
    shift: Shift
    seed: int = 0

    def __post_init__(self) -> None:
        if not any(signal.is_image for signal in self.world.schema.observations):
            raise ValueError(f"{self.world.name} has no picture: these shifts are of worlds that are seen")

    @property
    def name(self) -> str:
        return f"{self.world.name} with {self.shift.name}"

    @property
    def schema(self) -> Schema:
        return self.world.schema

    @property
    def tolerance(self) -> float:
        return self.world.tolerance

    @property
    def unit(self) -> str:
        return self.world.unit

    def make(self, *, camera: bool = True) -> Env:
        return ShiftedEnv(self.world.make(camera=camera), self.shift, self.schema)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return self.world.wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return self.world.recorder(steps, rng)

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        return self.world.scene(rng, hard=hard)

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        """Put the environment at the scene's start; the shift begins here."""
        assert isinstance(env, ShiftedEnv)
        number = int(np.float64(sum(scene.start) + 31.0 * sum(scene.goal)).view(np.uint64) % 2**31)
        return env.begin(self.world.start(env.env, scene), stream(Purpose.SHIFTS, self.seed, number))

    def goal(self, env: Env, scene: Scene) -> Samples:
        """What the sensors showed at the goal before anything changed."""
        assert isinstance(env, ShiftedEnv)
        return self.world.goal(env.env, scene)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return self.world.distance(labels, scene)

    def snapshot(self, env: Env) -> Snapshot:
        assert isinstance(env, ShiftedEnv)
        return self.world.snapshot(env.env)

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        return self.world.between(start, goal)
