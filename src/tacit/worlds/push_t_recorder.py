"""Who pushes the T for the logs: hands of varied skill that see the block and make up their own places for it.

Geometry is that of gym-pusht: lengths in pixels of a table of 512 x 512, x to the right and y downwards; a pose is (x, y, angle) of the
block's own origin, the middle of the top of its bar. Contacts there have no friction and nothing slides on, so a push along an inward
normal n at r from the centre of gravity moves the block by (n, (r x n) / INERTIA) per pixel.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.worlds.world import Env, Recorder, Samples, blind

REACH = 100.0  # px from the pusher to its target at an action of 1
RADIUS = 15.0  # of the pusher, px
BARS = ((-60.0, 60.0, 0.0, 30.0), (-15.0, 15.0, 30.0, 120.0))  # x0, x1, y0, y1 of the two parts, in the block's frame
CENTRE = np.array([0.0, 45.0])  # centre of gravity, in the block's frame
INERTIA = 3000.0  # moment of inertia for a mass of 1, px^2
ARM = math.sqrt(INERTIA)  # px that count as much as a turn of 1 rad
INNER = (25.0, 487.0)  # where the pusher has room, px
MIDDLE = (120.0, 392.0)  # where the centre of gravity is pushed to, px
SPEED = (0.1, 0.4)  # of a hand, drawn per episode: a push aims 70 px times that ahead of itself
AROUND = 108.0  # distance from the centre of gravity at which the pusher walks round the block, px

Points = NDArray[np.float64]

# Where a pusher fits (not the inner corners): a point of the outline, and the normal into the block.
SPOTS: Points = np.array(
    [
        *((x, 0.0, 0.0, 1.0) for x in (-52.0, -39.0, -26.0, -13.0, 0.0, 13.0, 26.0, 39.0, 52.0)),
        *((side * 60.0, y, -side, 0.0) for side in (-1.0, 1.0) for y in (7.0, 15.0, 23.0)),
        *((side * x, 30.0, 0.0, -1.0) for side in (-1.0, 1.0) for x in (34.0, 44.0, 54.0)),
        *((side * 15.0, y, -side, 0.0) for side in (-1.0, 1.0) for y in (48.0, 60.0, 72.0, 84.0, 96.0, 108.0)),
        *((x, 120.0, 0.0, -1.0) for x in (-8.0, 0.0, 8.0)),
    ]
)
_ARMS = SPOTS[:, :2] - CENTRE
# What 1 px of a push does at each spot, (S, 3): displacement in the block's frame, and turn times ARM.
TWISTS: Points = np.column_stack((SPOTS[:, 2:], (_ARMS[:, 0] * SPOTS[:, 3] - _ARMS[:, 1] * SPOTS[:, 2]) * ARM / INERTIA))


def rotation(angle: float) -> Points:
    """The matrix (2, 2) that turns vectors of the block's frame into those of the table."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def wrapped(angle: float) -> float:
    """The same angle in [-pi, pi), rad."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def centre_of(pose: ArrayLike) -> Points:
    """Centre of gravity on the table, (2,) px, of a block at `pose`, (3,)."""
    x, y, angle = np.asarray(pose, dtype=np.float64).tolist()
    centre: Points = np.array([x, y]) + rotation(angle) @ CENTRE
    return centre


def clearance(points: ArrayLike, pose: ArrayLike) -> Points:
    """Distances (N,) in px from points (N, 2) to the edge of a block at `pose`, (3,); 0 inside."""
    x, y, angle = np.asarray(pose, dtype=np.float64).tolist()
    local = (np.asarray(points, dtype=np.float64) - (x, y)) @ rotation(angle)
    parts = []
    for x0, x1, y0, y1 in BARS:
        across = np.maximum(np.maximum(x0 - local[:, 0], local[:, 0] - x1), 0.0)
        down = np.maximum(np.maximum(y0 - local[:, 1], local[:, 1] - y1), 0.0)
        parts.append(np.hypot(across, down))
    nearest: Points = np.minimum(*parts)
    return nearest


def wander(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blind actions (steps, 2) in [-1, 1]: a heading that drifts and sometimes turns, strides of varied length, and rests."""
    turned = rng.random(steps) < 1 / 12
    drift = np.where(turned, rng.uniform(-np.pi, np.pi, steps), rng.normal(0.0, 0.25, steps))
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(drift)
    stride = np.cumsum(turned)
    length = np.where(rng.random(steps + 1) < 0.1, 0.0, rng.uniform(0.1, 1.0, steps + 1))[stride]
    actions = np.stack((length * np.cos(heading), length * np.sin(heading)), axis=1) + rng.normal(0.0, 0.05, (steps, 2))
    return np.clip(actions, -1.0, 1.0).astype(np.float32)


def recorder(steps: int, rng: np.random.Generator) -> Recorder:
    """Who acts in one recorded episode: in one of ten nobody who looks, else a hand of some skill."""
    if rng.random() < 0.1:
        return blind(wander(steps, rng))
    return Hand(rng)


@final
class Hand:
    """A pusher that shoves the block towards places of its own, again and again.

    It chooses the spot whose push would bring the block closest to the place, walks round the block to it, pushes, and looks again.
    How well it chooses, how fast and how steadily it moves differs from episode to episode; it pauses, and drops what it is doing.

    Args:
        rng: Its own random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._speed = float(rng.uniform(*SPEED))
        self._tremble = float(rng.choice((0.03, 0.1, 0.25)))
        self._care = float(rng.choice((0.0, 2.0, 8.0, 30.0)))  # 0 chooses spots at random
        self._noise = np.zeros(2)
        self._resting = 0
        self._place: Points | None = None
        self._patience = 0  # steps left for the present place
        self._spot: int | None = None
        self._left = 0  # steps left for the present spot
        self._pushes = False
        self._turns = 1.0  # which way round the block

    def __call__(self, env: Env, samples: Samples) -> NDArray[np.float32]:
        rng = self._rng
        block, pusher = samples["block"].astype(np.float64), samples["pusher"].astype(np.float64)
        self._noise = 0.7 * self._noise + 0.7 * self._tremble * rng.standard_normal(2)
        if self._resting == 0 and rng.random() < 1 / 80:
            self._resting = int(rng.integers(2, 8))
        if self._resting > 0:
            self._resting -= 1
            return np.zeros(2, np.float32)
        self._think(block, pusher)
        action = self._stride(block, pusher) + self._noise
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _think(self, block: Points, pusher: Points) -> None:
        rng = self._rng
        self._patience -= 1
        self._left -= 1
        if self._place is None or self._patience <= 0 or rng.random() < 1 / 100 or math.hypot(*self._error(block)) < 12.0:
            self._place, self._patience, self._spot = self._draw_place(block), int(rng.integers(30, 120)), None
        if self._spot is None or self._left <= 0 or (self._pushes and TWISTS[self._spot] @ self._error(block) <= 0.0):
            self._spot = self._choose(block, pusher)
            self._pushes, self._left = False, 25
            self._turns = 1.0 if rng.random() < 0.9 else -1.0

    def _draw_place(self, block: Points) -> Points:
        """A pose of the block to push it to: its centre of gravity and its angle, (3,)."""
        rng = self._rng
        if rng.random() < 0.5:
            centre = centre_of(block) + rng.normal(0.0, 60.0, 2)
            return np.array([*np.clip(centre, *MIDDLE), block[2] + rng.normal(0.0, 0.7)])
        return np.array([*rng.uniform(*MIDDLE, 2), rng.uniform(-np.pi, np.pi)])

    def _error(self, block: Points) -> Points:
        """What is missing to the place, (3,) px: displacement in the block's frame, and turn times ARM."""
        assert self._place is not None
        displacement = rotation(block[2]).T @ (self._place[:2] - centre_of(block))
        return np.array([*displacement, ARM * wrapped(float(self._place[2] - block[2]))])

    def _choose(self, block: Points, pusher: Points) -> int:
        error = self._error(block)
        towards = TWISTS @ error / np.linalg.norm(TWISTS, axis=1)  # px of the error that a push there would take away, at best
        before = block[:2] + (SPOTS[:, :2] - (RADIUS + 10.0) * SPOTS[:, 2:]) @ rotation(block[2]).T
        score = towards / np.linalg.norm(error) - np.linalg.norm(before - pusher, axis=1) / 800.0
        has_room = ((before > INNER[0]) & (before < INNER[1])).all(axis=1)
        score[~has_room | (towards <= 0.0)] -= 1.0
        weights = np.exp(self._care * (score - score.max()))
        return int(self._rng.choice(len(SPOTS), p=weights / weights.sum()))

    def _stride(self, block: Points, pusher: Points) -> Points:
        """The action (2,) without noise: on with the push, or a step of the way to where it begins."""
        spot, turn = SPOTS[self._spot], rotation(block[2])
        edge, inward = block[:2] + turn @ spot[:2], turn @ spot[2:]
        begin = edge - (RADIUS + 8.0) * inward
        if not self._pushes and math.dist(pusher, begin) < 14.0:
            self._pushes, self._left = True, int(self._rng.integers(4, 20))
        if self._pushes:
            return (edge - RADIUS * inward + self._speed * 70.0 * inward - pusher) / REACH
        way = begin - pusher
        path = pusher + np.linspace(0.1, 1.0, 10)[:, None] * way
        if clearance(path, block).min() < RADIUS + 2.0:
            way = self._detour(block, pusher, begin) - pusher
        length = math.hypot(*way)
        return way / REACH * min(1.5, (0.4 + 0.6 * self._speed) * REACH / max(length, 1e-9))

    def _detour(self, block: Points, pusher: Points, begin: Points) -> Points:
        """A point further round the block on the way to `begin`, inside the walls."""
        centre = centre_of(block)
        (ax, ay), (bx, by) = pusher - centre, begin - centre
        here, there = math.atan2(ay, ax), math.atan2(by, bx)
        further = here + self._turns * max(-0.8, min(0.8, wrapped(there - here)))
        point: Points = np.clip(centre + AROUND * np.array([math.cos(further), math.sin(further)]), *INNER)
        return point
