"""Point maze: a point that pushes through a maze with many corners, seen from above.

The simulation is OGBench's `pointmaze-medium` (arXiv 2410.20092): every action displaces the point, and the contact with the walls pushes
it back over the 0.1 s of a control step. The picture is our own: straight from above, without perspective, with the whole maze in it, and
without OGBench's goal marker. Success is OGBench's for a point: within 1.0 of the goal, a quarter of a cell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tacit.signals import Role, Schema, Signal
from tacit.worlds.maze_walk import CELL, MAP, ORIGIN, STRIDE, Walk, cells_between, clearance, free_position
from tacit.worlds.mujoco_camera import Camera, Frame, headless
from tacit.worlds.world import Env, Recorder, Scene, Snapshot, StateWorld

SIZE = 64  # image side
SUBSTEPS = 5  # steps of the simulation, 0.02 s each, in one control step
TOLERANCE = 1.0  # distance from the goal that counts as there
FAR = 4  # cells along the way that make a scene hard
FARTHEST = 8  # cells along the way of a drawn scene: about 145 steps at full speed; the maze's longest ways, 11, leave no time to err
MIDDLE = ORIGIN + CELL * (len(MAP) - 1) / 2  # x and y of the middle of the maze
VIEW = CELL * (len(MAP) - 1)  # side of the square that the camera shows: all that is free, and half of the outer walls

FLOOR_COLOUR = (0.93, 0.93, 0.90)
WALL_COLOUR = (0.25, 0.28, 0.33)
POINT_COLOUR = (0.85, 0.20, 0.15)

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(SIZE, SIZE, 3), dtype="uint8"),
        Signal(name="push", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),
        Signal(name="position", role=Role.LABEL, shape=(2,), unit="m", low=ORIGIN, high=ORIGIN + VIEW),
        Signal(name="velocity", role=Role.LABEL, shape=(2,), unit="m/s"),
    ),
    period=0.1,
)


@functools.cache
def stage() -> tuple[Any, Camera]:
    """The maze as a `mujoco.MjModel`, and the camera above it; every environment of this process shares them.

    Raises:
        MissingExtra: OGBench is not installed.
    """
    with headless("point_maze"):
        import mujoco
        from ogbench.locomaze.maze import make_maze_env
    original = make_maze_env("point", "maze", maze_type="medium")
    maze = mujoco.MjSpec.from_file(original.fullpath)
    original.close()
    Path(original.fullpath).unlink(missing_ok=True)  # OGBench writes the maze to a temporary file and leaves it behind
    # Touches nothing; a box is drawn in a fraction of the time that the floor's endless plane takes.
    box = {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": (VIEW / 2, VIEW / 2, 0.1), "pos": (MIDDLE, MIDDLE, -0.1)}
    maze.worldbody.add_geom(name="ground", contype=0, conaffinity=0, **box)
    model = maze.compile()
    for name in ("floor", "target"):
        model.geom(name).rgba[3] = 0.0
    model.light("torso_light").active[0] = 0  # it follows the point and would tell its position all over the image
    model.vis.headlight.active = 0  # it would wash the colours out
    model.mat("wall").rgba[:3] = WALL_COLOUR
    for name, colour in (("ground", FLOOR_COLOUR), ("pointbody", POINT_COLOUR)):
        model.geom(name).matid[0] = -1
        model.geom(name).rgba[:3] = colour
    # Without it the solver begins where it ended last time, and a step would depend on more than the state.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    model.vis.global_.orthographic, model.vis.global_.fovy = 1, VIEW
    view = mujoco.MjvCamera()
    view.lookat[:] = MIDDLE, MIDDLE, 0.0
    view.distance, view.azimuth, view.elevation, view.orthographic = 2 * VIEW, 90.0, -90.0, 1
    return model, Camera(model, view, size=SIZE, fineness=2)


@final
class PointMaze(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """The maze as a Gymnasium environment. It never ends by itself and its reward is always 0.

    A state is four numbers: x and y of the point, then its velocity, which is 0 unless a wall has just pushed it. `reset` takes
    `options={"state": ...}`; without it the point rests at a random free place. `info` holds the labels.

    Args:
        camera: False for black images, in no time.
    """

    def __init__(self, *, camera: bool = True) -> None:
        model, view = stage()
        with headless("point_maze"):
            import mujoco
        self._mujoco = mujoco
        self._camera = view if camera else None
        self._black: Frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.model, self.data = model, self._mujoco.MjData(model)
        self.observation_space = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def state(self) -> tuple[float, ...]:
        """x and y of the point, then its velocity."""
        return *self.data.qpos.tolist(), *self.data.qvel.tolist()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; see the class for `options`.

        Raises:
            ValueError: The state asked for is not four finite numbers, or its point would stand inside a wall.
        """
        super().reset(seed=seed)
        given = (options or {}).get("state")
        state = np.array((*free_position(self.np_random), 0.0, 0.0) if given is None else given, dtype=np.float64)
        if state.shape != (4,) or not np.isfinite(state).all():
            raise ValueError(f"point_maze: a state is 4 finite numbers, a position and a velocity, not {given!r}")
        if clearance(state[:2]) == 0.0:
            raise ValueError(f"point_maze: the point cannot be at {state[:2].tolist()}: a wall is there")
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = state[:2], state[2:]
        return self._observed()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Push the point by `action`, (2,), where 1 is 0.2 along an axis; it is clipped to -1 and 1.

        Raises:
            ValueError: The action is not two finite numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise ValueError(f"point_maze: an action is 2 finite numbers, not {action!r}")
        self.data.qpos[:] += STRIDE * np.clip(action, -1.0, 1.0)
        self.data.qvel[:] = 0.0
        self._mujoco.mj_step(self.model, self.data, nstep=SUBSTEPS)
        observation, info = self._observed()
        return observation, 0.0, False, False, info

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        self._mujoco.mj_forward(self.model, self.data)
        image = self._black.copy() if self._camera is None else self._camera.image(self.data)
        return {"image": image}, {"position": self.data.qpos.astype(np.float32), "velocity": self.data.qvel.astype(np.float32)}


def wander(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Goal-free random pushes, (steps, 2): a heading that drifts and sometimes turns, a strength that varies, and rests.

    The policy sees nothing. It keeps its heading for long enough to slide along walls and around corners.
    """
    turned = rng.random(steps) < 1 / 16
    drift = np.where(turned, rng.uniform(-np.pi, np.pi, steps), rng.normal(0.0, 0.15, steps))
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(drift)
    rests = rng.random(steps + 1) < 0.08
    strength = np.where(rests[np.cumsum(turned)], 0.0, rng.random(steps) ** 0.25)
    return np.stack((strength * np.cos(heading), strength * np.sin(heading)), axis=1).astype(np.float32)


@final
@dataclass(frozen=True, kw_only=True)
class PointMazeWorld(StateWorld):
    """The maze as a `tacit.worlds.World`: reach a place that is shown in an image; hard means at least four cells away along the maze.

    Attributes:
        name: Name in the registry.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = TOLERANCE
    unit: ClassVar[str] = "m"

    name: str

    def make(self, *, camera: bool = True) -> Env:
        return PointMaze(camera=camera)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return Walk(wander(steps, rng), rng)

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        while True:
            start, goal = free_position(rng), free_position(rng)
            way = cells_between(start, goal)
            if math.dist(start, goal) >= 2 * TOLERANCE and way <= FARTHEST and (way >= FAR) is hard:
                return Scene(start=(*start.tolist(), 0.0, 0.0), goal=(*goal.tolist(), 0.0, 0.0), layout={}, hard=hard)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return math.dist(labels["position"], scene.goal[:2])

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        """The goal is the later place at rest."""
        far = cells_between(start.state[:2], goal.state[:2]) >= FAR
        return Scene(start=start.state, goal=(*goal.state[:2], 0.0, 0.0), layout={}, hard=far)
