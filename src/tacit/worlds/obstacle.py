"""Two Rooms with a block that no log has ever shown: solid, drawn, and in the way.

It is not in the layout, so that scenes, logs and pictures of goals stay those of Two Rooms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.signals import Schema
from tacit.worlds.two_room import HIGH, LOW, RADIUS, SCHEMA, SIZE, TOLERANCE, Layout, TwoRoom, TwoRoomWorld
from tacit.worlds.world import Env, Purpose, Recorder, Samples, Scene, Snapshot, stream

SIDE = 8.0  # of the block, pixels
REACH = SIDE / 2 + RADIUS  # how near the dot's centre may come to the block's centre, along x or y
COLOUR = np.array([46, 110, 170], np.float32)
GAP = 1e-5  # contact leaves the dot this far outside
DRAWS = 200


@final
class BlockedRooms(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Two Rooms with a block. The dot stops where it touches the block.

    Attributes:
        block: Its centre, pixels; None where there is none.
    """

    def __init__(self, rooms: TwoRoom) -> None:
        super().__init__(rooms)
        self._rooms = rooms
        self.block: tuple[float, float] | None = None

    def begin(self, scene: Scene, block: tuple[float, float]) -> tuple[Samples, Samples]:
        """Put the dot at the scene's start, and the block with its centre at `block`, pixels."""
        self.block = block
        return self._seen(self._rooms.reset(options={"layout": Layout(**scene.layout), "position": scene.start}))

    def reset(self, **options: Any) -> tuple[Samples, Samples]:
        """As Two Rooms, without a block."""
        self.block = None
        return self._rooms.reset(**options)

    def step(self, action: Any) -> tuple[Samples, float, bool, bool, Samples]:
        before = self._rooms.position.copy()
        observation, reward, terminated, truncated, info = self._rooms.step(action)
        if self.block is not None:
            share = before_contact(before, self._rooms.position, self.block)
            if share < 1.0:
                there = before + share * (self._rooms.position - before)
                free = there if self._rooms.layout.is_free(there) else before
                observation, info = self._rooms.reset(options={"layout": self._rooms.layout, "position": free})
        observation, info = self._seen((observation, info))
        return observation, float(reward), terminated, truncated, info

    def _seen(self, moment: tuple[Samples, Samples]) -> tuple[Samples, Samples]:
        observation, info = moment
        if self.block is None:
            return observation, info
        return {**observation, "image": drawn(observation["image"], self.block)}, info


def before_contact(start: ArrayLike, end: ArrayLike, block: tuple[float, float]) -> float:
    """The share of a straight way from `start` to `end`, (2,) pixels, that the dot's centre goes before it touches the block; 1 where it
    never does, and where it is in it already, so that it can leave."""
    x0, x1 = np.asarray(start, np.float64), np.asarray(end, np.float64)
    low, high = np.asarray(block) - REACH, np.asarray(block) + REACH
    move = x1 - x0
    if ((low < x0) & (x0 < high)).all():
        return 1.0
    enter, leave = 0.0, 1.0
    for axis in range(2):
        if abs(move[axis]) < 1e-12:
            if not low[axis] < x0[axis] < high[axis]:
                return 1.0
            continue
        first, last = sorted(((low[axis] - x0[axis]) / move[axis], (high[axis] - x0[axis]) / move[axis]))
        enter, leave = max(enter, first), min(leave, last)
    if enter >= leave:
        return 1.0
    return max(0.0, enter - GAP / float(np.linalg.norm(move)))


def drawn(image: NDArray[np.uint8], block: tuple[float, float]) -> NDArray[np.uint8]:
    """A picture with the block over it, anti-aliased at its edges."""
    edges = np.arange(SIZE, dtype=np.float32)
    cover = [np.clip(np.minimum(edges + 1, c + SIDE / 2) - np.maximum(edges, c - SIDE / 2), 0.0, 1.0) for c in block]
    share = (cover[1][:, None] * cover[0][None, :])[..., None]
    seen: NDArray[np.uint8] = (image + share * (COLOUR - image) + 0.5).astype(np.uint8)
    return seen


def block_for(scene: Scene, rng: np.random.Generator) -> tuple[float, float]:
    """Where the block of a scene is: near the straight way from start to goal, and neither at the start nor at the goal."""
    start, goal = np.array(scene.start), np.array(scene.goal)
    way = goal - start
    aside = np.array([-way[1], way[0]]) / max(float(np.linalg.norm(way)), 1e-9)
    centre = start
    for _ in range(DRAWS):
        centre = np.clip(start + rng.uniform(0.3, 0.7) * way + rng.uniform(-8.0, 8.0) * aside, LOW, HIGH)
        if min(float(np.abs(centre - point).max()) for point in (start, goal)) > REACH + 1.0:
            break
    else:
        centre = np.clip(start + 0.5 * way + 2 * REACH * aside, LOW, HIGH)
    return float(centre[0]), float(centre[1])


@final
@dataclass(frozen=True, kw_only=True)
class ObstacleWorld:
    """Two Rooms with a block, as a `tacit.worlds.World`: for evaluations. Logs that are recorded in it are those of Two Rooms.

    Attributes:
        rooms: The world without the block.
        seed: Of where the blocks are; the same for the same scene.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = TOLERANCE
    unit: ClassVar[str] = "px"
    words: ClassVar[str] = "a solid block of 8 pixels in the way that no log has shown"

    rooms: TwoRoomWorld
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.rooms.name} with an obstacle"

    def make(self, *, camera: bool = True) -> Env:
        return BlockedRooms(TwoRoom(self.rooms.layout))

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return self.rooms.wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return self.rooms.recorder(steps, rng)

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        return self.rooms.scene(rng, hard=hard)

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        """Put the dot at the scene's start; the block is there from now on."""
        assert isinstance(env, BlockedRooms)
        number = int(np.float64(sum(scene.start) + 31.0 * sum(scene.goal)).view(np.uint64) % 2**31)
        return env.begin(scene, block_for(scene, stream(Purpose.SHIFTS, self.seed, number)))

    def goal(self, env: Env, scene: Scene) -> Samples:
        """What the camera showed at the goal before there was a block."""
        return self.rooms.goal(env, scene)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return math.dist(labels["position"], scene.goal)

    def snapshot(self, env: Env) -> Snapshot:
        return self.rooms.snapshot(env)

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        return self.rooms.between(start, goal)
