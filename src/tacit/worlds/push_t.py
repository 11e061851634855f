"""Push-T: a round pusher shoves a T-shaped block about a table, seen from above.

The simulator is gym-pusht (after Chi et al., Diffusion Policy, arXiv 2303.04137), driven as in DINO-WM (arXiv 2411.04983): an action
is where the pusher should go, relative to where it is, and success is pusher and block near where the goal shows them. Lengths are
pixels of the table of 512 x 512, x to the right and y downwards. Unlike there, no green target is drawn, nor where bodies touch: an
image shows positions and nothing else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.extras import extra
from tacit.signals import Role, Schema, Signal
from tacit.worlds.push_t_recorder import BARS, RADIUS, REACH, centre_of, clearance, recorder, rotation, wander, wrapped
from tacit.worlds.world import Env, Recorder, Samples, Scene, Snapshot

SIZE = 64  # image side
TABLE = 512  # side of the table, px
WALL = 7.0  # thickness of the walls, px
NEAR = 20.0  # px: pusher and block together, as one vector of four, may be so far from the goal
TURN = math.pi / 9  # rad: the block may be turned so far from the goal
LOW, HIGH = WALL + RADIUS, TABLE - WALL - RADIUS  # targets of the pusher: it would go through walls
ROOM = 40.0  # px between the table's edge and the block of a scene: the pusher fits behind it
FAR, TURNED = 100.0, math.pi / 3  # a scene is hard when the block must go so far, or turn so much

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(SIZE, SIZE, 3), dtype="uint8"),
        Signal(name="agent", role=Role.OBSERVATION, shape=(2,), unit="px", low=0.0, high=float(TABLE)),
        Signal(name="move", role=Role.ACTION, shape=(2,), unit="100 px", low=-1.0, high=1.0),
        Signal(name="block", role=Role.LABEL, shape=(3,), unit="px, px, rad"),
        Signal(name="pusher", role=Role.LABEL, shape=(2,), unit="px", low=0.0, high=float(TABLE)),
    ),
    period=0.1,
)


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that moves on the table.

    Attributes:
        pusher: Position, px.
        pusher_velocity: px/s.
        block: Position of its origin (the middle of the top of its bar), px, and angle, rad in [-pi, pi).
        block_velocity: px/s of its centre of gravity, and rad/s; what the last contact left.
    """

    pusher: tuple[float, float]
    block: tuple[float, float, float]
    pusher_velocity: tuple[float, float] = (0.0, 0.0)
    block_velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def numbers(self) -> tuple[float, ...]:
        """The ten numbers, in the order pusher, block, pusher_velocity, block_velocity."""
        return (*self.pusher, *self.block, *self.pusher_velocity, *self.block_velocity)

    @classmethod
    def of(cls, numbers: ArrayLike) -> State:
        """The state of ten numbers, as `numbers` gives them.

        Raises:
            ValueError: They are not ten finite numbers.
        """
        values = np.asarray(numbers, dtype=np.float64)
        if values.shape != (10,) or not np.isfinite(values).all():
            raise ValueError(f"push_t: a state is 10 finite numbers (pusher 2, block 3, their velocities 2 and 3), not {numbers!r}")
        px, py, x, y, angle, pvx, pvy, vx, vy, spin = values.tolist()
        return cls(pusher=(px, py), block=(x, y, angle), pusher_velocity=(pvx, pvy), block_velocity=(vx, vy, spin))


def corners(pose: ArrayLike) -> NDArray[np.float64]:
    """Corners of both parts of a block at `pose` (3,), on the table, (8, 2) px."""
    x, y, angle = np.asarray(pose, dtype=np.float64).tolist()
    local = [(cx, cy) for x0, x1, y0, y1 in BARS for cx in (x0, x1) for cy in (y0, y1)]
    placed: NDArray[np.float64] = np.array(local) @ rotation(angle).T + (x, y)
    return placed


def is_free(state: State, room: float = WALL) -> bool:
    """True when pusher and block lie on the table, `room` px from its edge (the pusher: inside the walls), and not on each other."""
    inside = corners(state.block)
    px, py = state.pusher
    return bool(
        inside.min() >= room
        and inside.max() <= TABLE - room
        and min(px, py) >= LOW
        and max(px, py) <= HIGH
        and clearance([state.pusher], state.block)[0] >= RADIUS
    )


def free_state(rng: np.random.Generator, room: float = WALL) -> State:
    """A state at rest, uniformly random among those that are free."""
    while True:  # about every third draw is free
        pose = (*rng.uniform(room, TABLE - room, 2).tolist(), float(rng.uniform(-np.pi, np.pi)))
        x, y = rng.uniform(LOW, HIGH, 2).tolist()
        state = State(pusher=(x, y), block=pose)
        if is_free(state, room):
            return state


def gym_pusht() -> Any:
    """The simulator's module.

    Nothing opens a window: it draws into memory, which needs no display and no SDL driver.

    Raises:
        MissingExtra: It is not installed; the message names the extra.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with extra("worlds", "push_t"):
        from gym_pusht.envs import pusht
    return pusht


@final
class PushT(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """Push-T behind the Gymnasium API, without reward and without an end.

    An action (2,) in [-1, 1] sends the pusher towards its present position plus 100 px times the action; the target is kept inside the
    walls. `reset(options={"state": State(...)})` begins there. Labels are in `info`.

    Args:
        camera: False leaves every image black.
    """

    def __init__(self, *, camera: bool = True) -> None:
        self._module = gym_pusht()
        self._simulator = self._module.PushTEnv()
        self._simulator._get_coverage = lambda: 0.0  # nobody reads the simulator's reward, which takes longer than its physics
        self._camera = camera
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
                "agent": gymnasium.spaces.Box(0.0, TABLE, (2,), np.float32),
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def simulator(self) -> Any:
        """The `gym_pusht` environment inside."""
        return self._simulator

    @property
    def state(self) -> State:
        """Where everything is now."""
        agent, block = self._simulator.agent, self._simulator.block
        return State(
            pusher=tuple(agent.position),
            pusher_velocity=tuple(agent.velocity),
            block=(*block.position, wrapped(block.angle)),
            block_velocity=(*block.velocity, block.angular_velocity),
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; see the class for `options`."""
        super().reset(seed=seed)
        given = (options or {}).get("state")
        self._set(free_state(self.np_random) if given is None else given)
        return self._observed()

    def _set(self, state: State) -> None:
        # A new space, because an old one remembers contacts. The simulator's own way would place the block elsewhere: it sets the
        # position before the angle, which turns the block about its centre of gravity, and then takes a step.
        simulator = self._simulator
        simulator._setup()
        agent, block = simulator.agent, simulator.block
        block.angle = state.block[2]
        block.position = state.block[:2]
        block.velocity, block.angular_velocity = state.block_velocity[:2], state.block_velocity[2]
        agent.position, agent.velocity = state.pusher, state.pusher_velocity
        for body in (agent, block):
            simulator.space.reindex_shapes_for_body(body)

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One tenth of a second towards the target.

        Raises:
            ValueError: The action is not two finite numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise ValueError(f"push_t: an action is 2 finite numbers in [-1, 1], not {action!r}")
        target = np.asarray(self._simulator.agent.position) + REACH * np.clip(action, -1.0, 1.0)
        self._simulator.step(np.clip(target, LOW, HIGH))
        observation, info = self._observed()
        return observation, 0.0, False, False, info

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        state = self.state
        pusher, block = np.array(state.pusher, np.float32), np.array(state.block, np.float32)
        return {"image": self._image(), "agent": pusher}, {"block": block, "pusher": pusher}

    def _image(self) -> NDArray[np.uint8]:
        if not self._camera:
            return np.zeros((SIZE, SIZE, 3), np.uint8)
        pygame, cv2 = self._module.pygame, self._module.cv2
        screen = pygame.Surface((TABLE, TABLE), depth=32)
        screen.fill((255, 255, 255))
        options = self._module.DrawOptions(screen)
        options.flags = options.DRAW_SHAPES  # the points of contact would show in an image, and not in that of a goal
        self._simulator.space.debug_draw(options)
        pixels = pygame.surfarray.pixels2d(screen).T.view(np.uint8).reshape(TABLE, TABLE, 4)
        red, green, blue = (shift // 8 for shift in screen.get_shifts()[:3])
        # The mean of each square of 8 x 8: no edge falls between the pixels, as it does where images are shrunk by interpolation.
        image: NDArray[np.uint8] = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)[:, :, [red, green, blue]]
        return image


@final
@dataclass(frozen=True, kw_only=True)
class PushTWorld:
    """Push-T as a `tacit.worlds.World`: bring pusher and block to where an image shows them.

    Distances are in tolerances: the larger one of the distance of pusher and block, as one vector of four, over 20 px, and of the turn
    over pi / 9, as in DINO-WM's evaluation. Hard means that the block must move by 100 px or turn by pi / 3.

    Attributes:
        name: Name in the registry.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = 1.0
    unit: ClassVar[str] = "tolerances"

    name: str

    def make(self, *, camera: bool = True) -> Env:
        return PushT(camera=camera)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return recorder(steps, rng)

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        while True:
            start, goal = free_state(rng, ROOM), free_state(rng, ROOM)
            if not hard:
                turn, shift = rng.uniform(-TURNED, TURNED), rng.normal(0.0, FAR / 2, 2)
                x, y, angle = start.block
                goal = State(pusher=goal.pusher, block=(x + float(shift[0]), y + float(shift[1]), wrapped(angle + float(turn))))
                if not is_free(goal, ROOM):
                    continue
            if is_hard(start, goal) == hard and apart(start.pusher, start.block, goal) >= 2.0:
                return Scene(start=start.numbers(), goal=goal.numbers(), layout={}, hard=hard)

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        return env.reset(options={"state": State.of(scene.start)})

    def goal(self, env: Env, scene: Scene) -> Samples:
        observation, _ = env.reset(options={"state": State.of(scene.goal)})
        return dict(observation)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return apart(labels["pusher"], labels["block"], State.of(scene.goal))

    def snapshot(self, env: Env) -> Snapshot:
        table = env.unwrapped
        assert isinstance(table, PushT)
        return Snapshot(state=table.state.numbers())

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        return Scene(start=start.state, goal=goal.state, layout={}, hard=is_hard(State.of(start.state), State.of(goal.state)))


def is_hard(start: State, goal: State) -> bool:
    """True when the block's centre of gravity must move by 100 px, or the block turn by pi / 3."""
    turn = abs(wrapped(goal.block[2] - start.block[2]))
    return math.dist(centre_of(start.block), centre_of(goal.block)) >= FAR or turn >= TURNED


def apart(pusher: ArrayLike, block: ArrayLike, goal: State) -> float:
    """Distance from a goal in tolerances, of a pusher (2,) px and a block (3,) px, px, rad."""
    px, py = np.asarray(pusher, dtype=np.float64).tolist()
    x, y, angle = np.asarray(block, dtype=np.float64).tolist()
    return max(math.dist((px, py, x, y), (*goal.pusher, *goal.block[:2])) / NEAR, abs(wrapped(angle - goal.block[2])) / TURN)
