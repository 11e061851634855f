"""Reacher: a planar arm of two links, seen from above, that is to take a pose shown in an image.

The arm, its camera and its control period are those of dm_control's suite (Tassa et al., arXiv 1801.00690), domain `reacher`; the suite's
target is invisible, because the goal is a pose of the arm. Success is that of the task `qpos_match` in stable-worldmodel's
ReacherDMControl: each joint within 0.05 rad of the goal. The shoulder turns freely, and a whole turn more or less looks the same, so its
angle is compared modulo a turn; the wrist has limits and is compared as it is.
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
from numpy.typing import ArrayLike, NDArray

from tacit.signals import Role, Schema, Signal
from tacit.worlds.mujoco_camera import Camera, Frame, headless
from tacit.worlds.world import Env, Recorder, Scene, Snapshot, StateWorld, blind

SIZE = 64  # image side
PERIOD = 0.02  # seconds; one step of the simulation
TOLERANCE = 0.05  # rad, of each joint
QUARTER = math.pi / 2  # rad; a joint that has to turn further makes a scene hard
WRIST_LIMIT = math.radians(150.0)  # largest wrist angle of a drawn pose; the joint's own soft limit is at 160 degrees

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(SIZE, SIZE, 3), dtype="uint8"),
        Signal(name="torque", role=Role.ACTION, shape=(2,), low=-1.0, high=1.0),
        Signal(name="joints", role=Role.LABEL, shape=(2,), unit="rad"),
        Signal(name="velocities", role=Role.LABEL, shape=(2,), unit="rad/s"),
        Signal(name="fingertip", role=Role.LABEL, shape=(2,), unit="m", low=-0.25, high=0.25),
    ),
    period=PERIOD,
)


@functools.cache
def stage() -> tuple[Any, Camera]:
    """The arm as a `mujoco.MjModel`, and the camera above it; every environment of this process shares them.

    Raises:
        MissingExtra: dm_control is not installed.
    """
    with headless("reacher"):
        import dm_control
        import mujoco
    model = mujoco.MjModel.from_xml_path(str(Path(dm_control.__file__).parent / "suite" / "reacher.xml"))
    model.mat("target").rgba[3] = 0.0
    # Without it the solver begins where it ended last time, and a step would depend on more than the state.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    return model, Camera(model, "fixed", size=SIZE, fineness=2)


@final
class Reacher(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """The arm as a Gymnasium environment. It never ends by itself and its reward is always 0.

    A state is four numbers: the angles of shoulder and wrist (rad), then their speeds (rad/s). `reset` takes `options={"state": ...}`;
    without it the arm rests in a random pose. `info` holds the labels.

    Args:
        camera: False for black images, in no time.
    """

    def __init__(self, *, camera: bool = True) -> None:
        model, view = stage()
        with headless("reacher"):
            import mujoco
        self._mujoco = mujoco
        self._camera = view if camera else None
        self._black: Frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.model, self.data = model, self._mujoco.MjData(model)
        self._finger = model.geom("finger").id
        self.observation_space = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def state(self) -> tuple[float, ...]:
        """Angles of shoulder and wrist (rad), then their speeds (rad/s)."""
        return *self.data.qpos.tolist(), *self.data.qvel.tolist()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; see the class for `options`.

        Raises:
            ValueError: The state asked for is not four finite numbers.
        """
        super().reset(seed=seed)
        given = (options or {}).get("state")
        state = np.array((*pose(self.np_random), 0.0, 0.0) if given is None else given, dtype=np.float64)
        if state.shape != (4,) or not np.isfinite(state).all():
            raise ValueError(f"reacher: a state is 4 finite numbers, two angles and two speeds, not {given!r}")
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = state[:2], state[2:]
        return self._observed()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply `action`, (2,): torques of shoulder and wrist, where 1 is 0.05 N m; they are clipped to -1 and 1.

        Raises:
            ValueError: The action is not two finite numbers.
        """
        action = np.asarray(action)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise ValueError(f"reacher: an action is 2 finite torques, not {action!r}")
        self.data.ctrl[:] = np.clip(action, -1.0, 1.0)
        self._mujoco.mj_step(self.model, self.data)
        observation, info = self._observed()
        return observation, 0.0, False, False, info

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        self._mujoco.mj_forward(self.model, self.data)
        image = self._black.copy() if self._camera is None else self._camera.image(self.data)
        return {"image": image}, {
            "joints": self.data.qpos.astype(np.float32),
            "velocities": self.data.qvel.astype(np.float32),
            "fingertip": self.data.geom_xpos[self._finger, :2].astype(np.float32),
        }


def pose(rng: np.random.Generator) -> tuple[float, float]:
    """Random angles of shoulder and wrist, rad, uniform and away from the wrist's limits."""
    return float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(-WRIST_LIMIT, WRIST_LIMIT))


def turn(joints: ArrayLike, goal: ArrayLike) -> float:
    """How far the joint that is farther from its goal has to turn, rad; the shoulder the shorter way round.

    Args:
        joints: Angles of shoulder and wrist, (2,), rad.
        goal: Angles to reach, (2,), rad.
    """
    off = np.asarray(joints, dtype=np.float64) - np.asarray(goal, dtype=np.float64)
    return max(abs(math.remainder(float(off[0]), math.tau)), abs(float(off[1])))


def wander(steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Goal-free random torques, (steps, 2): each joint follows a level that changes every now and then, both rest at times.

    The policy sees nothing. Full torques bring the arm to all poses and speeds; weak ones and rests show how it slows down and stands.
    """
    changed = rng.random((steps, 2)) < 1 / 8
    changed[:1] = True
    levels = np.clip(rng.normal(0.0, 0.7, (steps, 2)), -1.0, 1.0)
    began = np.maximum.accumulate(np.where(changed, np.arange(steps)[:, None], 0), axis=0)
    torques = np.take_along_axis(levels, began, axis=0) + rng.normal(0.0, 0.1, (steps, 2))
    spell = np.cumsum(rng.random(steps) < 1 / 12)
    rests = rng.random(steps + 1) < 0.15
    torques[rests[spell]] = 0.0
    return np.clip(torques, -1.0, 1.0).astype(np.float32)


@final
@dataclass(frozen=True, kw_only=True)
class ReacherWorld(StateWorld):
    """The arm as a `tacit.worlds.World`: take a pose that is shown in an image; hard means that a joint turns by more than a quarter turn.

    Attributes:
        name: Name in the registry.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = TOLERANCE
    unit: ClassVar[str] = "rad"

    name: str

    def make(self, *, camera: bool = True) -> Env:
        return Reacher(camera=camera)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return blind(wander(steps, rng))

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        while True:
            start, goal = pose(rng), pose(rng)
            way = turn(start, goal)
            if way >= 2 * TOLERANCE and (way > QUARTER) is hard:
                return Scene(start=(*start, 0.0, 0.0), goal=(*goal, 0.0, 0.0), layout={}, hard=hard)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return turn(labels["joints"], scene.goal[:2])

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        """The goal is the later pose at rest."""
        way = turn(start.state[:2], goal.state[:2])
        return Scene(start=start.state, goal=(*goal.state[:2], 0.0, 0.0), layout={}, hard=way > QUARTER)
