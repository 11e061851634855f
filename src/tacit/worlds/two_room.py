"""Two Rooms: a dot, two rooms, one door, seen from above.

The benchmark of PLDM (arXiv 2502.14819) and eb_jepa, with our own rendering and exact swept collisions. Lengths are pixels of
the 64 x 64 image, x to the right and y downwards; an action is the displacement of the dot in one control step. The layout,
that is where the wall stands and where its door is, is drawn anew at every reset, or fixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.signals import Role, Schema, Signal
from tacit.worlds.world import Env, Recorder, Samples, Scene, Snapshot, blind

SIZE = 64  # image side
BORDER = 3.0  # thickness of the outer walls
RADIUS = 2.0  # of the dot
HALF_WALL = 1.5  # half the thickness of the dividing wall
HALF_DOOR = 6.0  # half the height of the door
MAX_NORM = 2.45  # longest displacement in one step
TOLERANCE = 4.5  # distance from the goal that counts as there
WALL_RANGE = (20.0, 44.0)  # where the centre of the wall may stand
DOOR_RANGE = (12.0, 52.0)  # where the centre of the door may be
LOW, HIGH = BORDER + RADIUS, SIZE - BORDER - RADIUS  # free range of the dot's centre
CLEARANCE = 1e-5  # contact leaves the dot this far outside a wall, so that its position in float32, as logged, is outside too

FLOOR_COLOUR = np.array([244, 242, 236], dtype=np.float32)
WALL_COLOUR = np.array([58, 64, 77], dtype=np.float32)
DOT_COLOUR = np.array([208, 64, 48], dtype=np.float32)
PATCH = 5  # side of the square of pixels that the dot may touch, 2 * RADIUS + 1
PATCH_CENTRES = np.arange(PATCH, dtype=np.float32) + np.float32(0.5)

Point = NDArray[np.float64]
Frame = NDArray[np.uint8]

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(SIZE, SIZE, 3), dtype="uint8"),
        Signal(name="move", role=Role.ACTION, shape=(2,), unit="px", low=-MAX_NORM, high=MAX_NORM, max_norm=MAX_NORM),
        Signal(name="position", role=Role.LABEL, shape=(2,), unit="px", low=0.0, high=float(SIZE)),
    ),
    period=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the dividing wall stands (x of its centre) and where its door is (y of its centre), in pixels.

    Raises:
        ValueError: The wall or the door is out of range.
    """

    wall: float = 32.0
    door: float = 24.0

    def __post_init__(self) -> None:
        for name, value, (low, high) in (("wall", self.wall, WALL_RANGE), ("door", self.door, DOOR_RANGE)):
            if not low <= value <= high:
                raise ValueError(f"two_room: the {name} is at {value} px; it must be between {low} and {high}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> Layout:
        return cls(wall=float(rng.uniform(*WALL_RANGE)), door=float(rng.uniform(*DOOR_RANGE)))

    def room(self, position: ArrayLike) -> int:
        """0 for the left room, 1 for the right one."""
        return int(np.asarray(position)[0] > self.wall)

    def blocked(self) -> tuple[tuple[float, float, float, float], ...]:
        """Rectangles (x0, x1, y0, y1) that the dot's centre may not enter: the wall's two parts, grown by the dot's radius."""
        x0, x1 = self.wall - HALF_WALL - RADIUS, self.wall + HALF_WALL + RADIUS
        top, bottom = self.door - HALF_DOOR + RADIUS, self.door + HALF_DOOR - RADIUS
        return (x0, x1, -math.inf, top), (x0, x1, bottom, math.inf)

    def is_free(self, position: ArrayLike) -> bool:
        """True when the dot fits there: inside the outer walls and outside the dividing wall. Touching is free."""
        x, y = np.asarray(position, dtype=np.float64).tolist()
        inside_wall = any(x0 < x < x1 and y0 < y < y1 for x0, x1, y0, y1 in self.blocked())
        return LOW <= x <= HIGH and LOW <= y <= HIGH and not inside_wall


def free_position(layout: Layout, rng: np.random.Generator, room: int | None = None) -> Point:
    """A uniformly random place for the dot's centre, outside the walls (and the doorway), in `room` if given."""
    reach = HALF_WALL + RADIUS + CLEARANCE
    spans = ((LOW, layout.wall - reach), (layout.wall + reach, HIGH))
    if room is None:
        widths = [high - low for low, high in spans]
        room = int(rng.uniform(0.0, sum(widths)) > widths[0])
    return np.array([rng.uniform(*spans[room]), rng.uniform(LOW, HIGH)])


def first_contact(x: float, y: float, dx: float, dy: float, layout: Layout) -> tuple[float, int | None]:
    """How far the dot gets on its way from (x, y) along (dx, dy).

    A slab test against the outer walls and the two parts of the dividing wall (Ericson, Real-Time Collision Detection, 5.3.3).

    Returns:
        The fraction of the way until the dot touches something, and the axis that is blocked there: 0 for x, 1 for y, None when
        nothing is in the way.
    """
    fraction, axis = 1.0, None
    for i, start, step in ((0, x, dx), (1, y, dy)):
        if step != 0.0:
            reach = ((HIGH if step > 0 else LOW) - start) / step
            if reach < fraction:
                fraction, axis = max(reach, 0.0), i
    for x0, x1, y0, y1 in layout.blocked():
        entry, leave, side = -math.inf, math.inf, 0
        for i, start, step, low, high in ((0, x, dx, x0, x1), (1, y, dy, y0, y1)):
            if step != 0.0:
                near, far = ((low - start) / step, (high - start) / step) if step > 0 else ((high - start) / step, (low - start) / step)
                if near > entry:
                    entry, side = near, i
                leave = min(leave, far)
            elif not low < start < high:
                entry = math.inf
        if 0.0 <= entry < leave and entry < fraction:
            fraction, axis = entry, side
    return fraction, axis


def moved(start: ArrayLike, move: ArrayLike, layout: Layout) -> Point:
    """Where the dot ends: it goes straight until it touches a wall, then slides along it with what is left of its move.

    Args:
        start: Centre of the dot, (2,), pixels.
        move: Displacement, (2,), pixels; a longer one than `MAX_NORM` is shortened to it.
        layout: Where the walls are.

    Returns:
        New centre, (2,), pixels; never inside a wall, whatever the length of the move.
    """
    # Plain floats: arithmetic on arrays of two numbers takes several times as long.
    x, y = np.asarray(start, dtype=np.float64).tolist()
    dx, dy = np.asarray(move, dtype=np.float64).tolist()
    norm = math.hypot(dx, dy)
    if norm > MAX_NORM:
        dx, dy = dx * (MAX_NORM / norm), dy * (MAX_NORM / norm)
    for _ in range(3):  # at most two walls meet in a corner
        fraction, axis = first_contact(x, y, dx, dy, layout)
        x, y = x + fraction * dx, y + fraction * dy
        if axis is None:
            break
        if axis == 0:
            x, dx, dy = x - math.copysign(CLEARANCE, dx), 0.0, (1.0 - fraction) * dy
        else:
            y, dx, dy = y - math.copysign(CLEARANCE, dy), (1.0 - fraction) * dx, 0.0
    return np.array([min(max(x, LOW), HIGH), min(max(y, LOW), HIGH)])


def background(layout: Layout) -> Frame:
    """Walls and floor without the dot, (64, 64, 3) uint8; edges of the dividing wall are anti-aliased."""
    edges = np.arange(SIZE, dtype=np.float32)

    def cover(low: float, high: float) -> NDArray[np.float32]:
        covered: NDArray[np.float32] = np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0.0, 1.0)
        return covered

    inside = cover(BORDER, SIZE - BORDER)
    wall_x = cover(layout.wall - HALF_WALL, layout.wall + HALF_WALL)
    door_y = cover(layout.door - HALF_DOOR, layout.door + HALF_DOOR)
    free = inside[:, None] * inside[None, :] * (1.0 - wall_x[None, :] * (1.0 - door_y[:, None]))
    colours = WALL_COLOUR + free[:, :, None] * (FLOOR_COLOUR - WALL_COLOUR)
    return (colours + 0.5).astype(np.uint8)


def draw_dot(walls: Frame, position: ArrayLike) -> Frame:
    """One frame: the dot drawn over `walls`, anti-aliased to a fraction of a pixel. (64, 64, 3) uint8."""
    x, y = np.asarray(position).tolist()
    left, top = (min(max(math.floor(c - RADIUS), 0), SIZE - PATCH) for c in (x, y))
    across, down = PATCH_CENTRES + np.float32(left - x), PATCH_CENTRES + np.float32(top - y)
    distance = np.sqrt((across * across)[None, :] + (down * down)[:, None])
    cover = np.minimum(np.maximum(RADIUS + 0.5 - distance, 0.0), 1.0)[:, :, None]
    frame = walls.copy()
    patch = frame[top : top + PATCH, left : left + PATCH]
    patch[...] = patch + cover * (DOT_COLOUR - patch) + 0.5
    return frame


@final
class TwoRoom(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """Two Rooms behind the Gymnasium API. There is no reward and no end: what counts as success is the evaluation's business.

    `reset(options=...)` takes `layout` (a `Layout`) and `position` ((2,) pixels). The dot's position is in `info` under
    `"position"`, as a label for scoring.

    Args:
        layout: Keep this layout at every reset; None draws a new one each time.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self.fixed = layout
        self.observation_space = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)})
        self.action_space = gymnasium.spaces.Box(-MAX_NORM, MAX_NORM, (2,), np.float32)
        self.layout = layout or Layout()
        self.position: Point = np.array([LOW, LOW])
        self._walls = background(self.layout)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; see the class for `options`.

        Raises:
            ValueError: The dot does not fit at the position asked for.
        """
        super().reset(seed=seed)
        options = options or {}
        layout = options.get("layout") or self.fixed or Layout.random(self.np_random)
        given = options.get("position")
        position = free_position(layout, self.np_random) if given is None else np.array(given, dtype=np.float64)
        if not layout.is_free(position):
            raise ValueError(f"two_room: the dot does not fit at {position.tolist()}: a wall of {layout} is there")
        self.layout, self.position, self._walls = layout, position, background(layout)
        return self._observed()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move the dot by `action`, (2,) pixels.

        Raises:
            ValueError: The action is not two finite numbers.
        """
        action = np.asarray(action)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise ValueError(f"two_room: an action is 2 finite numbers in pixels, not {action!r}")
        self.position = moved(self.position, action, self.layout)
        observation, info = self._observed()
        return observation, 0.0, False, False, info

    def frame_at(self, position: ArrayLike) -> Frame:
        """What the camera would show with the dot at `position` in the present layout."""
        return draw_dot(self._walls, position)

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"image": self.frame_at(self.position)}, {"position": self.position.astype(np.float32)}


def wander(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Goal-free random actions, (steps, 2), pixels: a heading that drifts and sometimes turns, a step length that varies, and rests.

    The policy sees nothing: not the walls, not the door, not a goal. Most steps are long, because a dot that pushes on slides along
    walls and finds doors; now and then it rests from one turn to the next, so that the logs show what no action does.
    """
    turned = rng.random(steps) < 1 / 16
    drift = np.where(turned, rng.uniform(-np.pi, np.pi, steps), rng.normal(0.0, 0.15, steps))
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(drift)
    rests = rng.random(steps + 1) < 0.08
    length = np.where(rests[np.cumsum(turned)], 0.0, MAX_NORM * rng.random(steps) ** 0.25)
    return np.stack((length * np.cos(heading), length * np.sin(heading)), axis=1).astype(np.float32)


@final
@dataclass(frozen=True, kw_only=True)
class TwoRoomWorld:
    """Two Rooms as a `tacit.worlds.World`: reach a place that is shown in an image; hard means in the other room.

    Attributes:
        name: Name in the registry.
        layout: Keep this layout in every episode; None draws a new one each time.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = TOLERANCE
    unit: ClassVar[str] = "px"

    name: str
    layout: Layout | None = None

    def make(self, *, camera: bool = True) -> Env:
        return TwoRoom(self.layout)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return blind(wander(steps, rng))

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        layout = self.layout or Layout.random(rng)
        while True:  # every second draw is far enough even in the narrowest room
            start = free_position(layout, rng)
            room = layout.room(start)
            goal = free_position(layout, rng, 1 - room if hard else room)
            if math.dist(start, goal) >= 2 * TOLERANCE:
                return Scene(start=tuple(start.tolist()), goal=tuple(goal.tolist()), layout=asdict(layout), hard=hard)

    def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
        return env.reset(options={"layout": Layout(**scene.layout), "position": scene.start})

    def goal(self, env: Env, scene: Scene) -> Samples:
        observation, _ = env.reset(options={"layout": Layout(**scene.layout), "position": scene.goal})
        return dict(observation)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return math.dist(labels["position"], scene.goal)

    def snapshot(self, env: Env) -> Snapshot:
        rooms = env.unwrapped
        assert isinstance(rooms, TwoRoom)
        return Snapshot(state=tuple(rooms.position.tolist()), layout=asdict(rooms.layout))

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        layout = Layout(**start.layout)
        return Scene(start=start.state, goal=goal.state, layout=start.layout, hard=layout.room(start.state) != layout.room(goal.state))
