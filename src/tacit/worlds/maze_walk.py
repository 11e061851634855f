"""The maze of `point_maze`: where its walls are, the ways through it, and somebody who walks there for the logs.

The map is `medium` of OGBench's pointmaze (arXiv 2410.20092). Lengths are its metres: a cell is 4 wide; cell (row i, column j) has its
centre at x = 4 j - 4, y = 4 i - 4. The point's centre stays 0.7 from every wall, its radius.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.worlds.world import Env, Samples

MAP = (
    "########",
    "#..##..#",
    "#..#...#",
    "##...###",
    "#..#...#",
    "#.#..#.#",
    "#...#..#",
    "########",
)
CELL = 4.0  # width of a cell
ORIGIN = -4.0  # x and y of the centre of cell (0, 0)
RADIUS = 0.7  # of the point
STRIDE = 0.2  # length of a full step along one axis

Cell = tuple[int, int]
Point = NDArray[np.float64]

FREE: tuple[Cell, ...] = tuple((i, j) for i, row in enumerate(MAP) for j, mark in enumerate(row) if mark == ".")
WALLS = np.array([(j, i) for i, row in enumerate(MAP) for j, mark in enumerate(row) if mark == "#"]) * CELL + ORIGIN  # centres


def cell_at(position: ArrayLike) -> Cell:
    """The cell that a position (2,) lies in."""
    x, y = np.asarray(position, dtype=np.float64).tolist()
    return round((y - ORIGIN) / CELL), round((x - ORIGIN) / CELL)


def centre(cell: Cell) -> Point:
    """Centre of a cell, (2,)."""
    return np.array([cell[1], cell[0]]) * CELL + ORIGIN


def clearance(position: ArrayLike) -> float:
    """Distance of a position (2,) from the nearest wall; 0 inside one."""
    outside = np.maximum(np.abs(WALLS - np.asarray(position, dtype=np.float64)) - CELL / 2, 0.0)
    return float(np.hypot(*outside.T).min())


def free_position(rng: np.random.Generator, *, margin: float = 0.1) -> Point:
    """A uniformly random place for the point, at least `margin` from touching a wall, (2,)."""
    while True:
        position = rng.uniform(ORIGIN, ORIGIN + CELL * (len(MAP) - 1), 2)
        if clearance(position) >= RADIUS + margin:
            return position


def neighbours(cell: Cell) -> list[Cell]:
    """Free cells that share a side with a cell."""
    i, j = cell
    return [near for near in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)) if MAP[near[0]][near[1]] == "."]


@functools.cache
def steps_to(goal: Cell) -> dict[Cell, int]:
    """Length of the shortest way from every free cell to a free cell, in cells (breadth-first search)."""
    steps = {goal: 0}
    queue = deque([goal])
    while queue:
        cell = queue.popleft()
        for near in neighbours(cell):
            if near not in steps:
                steps[near] = steps[cell] + 1
                queue.append(near)
    return steps


def cells_between(start: ArrayLike, goal: ArrayLike) -> int:
    """Length of the shortest way from one free position (2,) to another, in cells; 0 within a cell."""
    return steps_to(cell_at(goal))[cell_at(start)]


@final
class Walk:
    """Who walks in the maze for one recorded episode: legs to random places along the maze's ways, wandering and pauses in between.

    It looks at the position and knows the maze, not anyone's goal. How straight it walks and how fast differs from episode to episode and
    from leg to leg, so that logs hold varied skill.

    Args:
        aimless: Actions of a blind policy, (T, 2): what it plays when it wanders, and the noise of its legs.
        rng: For everything else that it draws.
    """

    def __init__(self, aimless: NDArray[np.float32], rng: np.random.Generator) -> None:
        self._aimless = iter(aimless)
        self._rng = rng
        self._noise = float(rng.uniform(0.0, 1.0))
        self._left = 0
        self._speed: float = 0.0
        self._target: Point | None = None

    def __call__(self, env: Env, samples: Samples) -> NDArray[np.float32]:
        """The next action, (2,), each between -1 and 1."""
        aimless = next(self._aimless)
        position = samples["position"].astype(np.float64)
        if self._left == 0 or (self._target is not None and np.hypot(*(self._target - position)) < STRIDE):
            self._set_out()
        self._left -= 1
        action: NDArray[np.float32]
        if self._target is None:
            action = self._speed * aimless
        else:
            way = self._ahead(position) - position
            action = (self._speed * way / max(float(np.hypot(*way)), STRIDE) + self._noise * aimless).astype(np.float32)
        return action.clip(-1.0, 1.0)

    def _set_out(self) -> None:
        """Draw what to do next: a leg, wandering or a pause."""
        kind = self._rng.random()
        self._target, self._speed = None, 0.0
        if kind < 0.15:
            self._left = int(self._rng.integers(3, 12))
        elif kind < 0.35:
            self._left, self._speed = int(self._rng.integers(10, 40)), 1.0
        else:
            self._left, self._speed = 150, float(self._rng.uniform(0.4, 1.0))
            self._target = free_position(self._rng)

    def _ahead(self, position: Point) -> Point:
        """Where to head for now: the target, or the next cell on the way to it."""
        assert self._target is not None
        here = cell_at(position)
        steps = steps_to(cell_at(self._target))
        return self._target if steps[here] == 0 else centre(min(neighbours(here), key=steps.__getitem__))
