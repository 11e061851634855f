"""Cube: a robot arm with a gripper picks a cube up and puts it somewhere else.

The arm (a UR5e with a Robotiq gripper), the cube, the camera, the five actions and the measure of success are those of OGBench's
`cube-single` with pixels (Park et al., arXiv 2410.20092). Not drawn are the transparent cube that marks a target there, and the links
of the arm up to its gripper: they are hardly visible there, a tenth opaque, and take more than half of the time of a picture. The two
largest parts of the gripper, mount and base, are drawn as their convex hulls: 56,000 of the 63,000 faces that were left are theirs.
Lengths are metres in the robot's frame: x away from its base, y to its left, z upwards.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.signals import Role, Schema, Signal
from tacit.worlds.cube_recorder import recorder, wander
from tacit.worlds.mujoco_camera import Camera, headless
from tacit.worlds.world import Env, Recorder, Scene, Snapshot, StateWorld

SIZE = 64  # image side
PERIOD = 0.05  # seconds, 25 steps of the simulation
TOLERANCE = 0.04  # m from the cube's place at the goal
FAR = 0.2  # m: a scene is hard when the cube must go so far
NEAR = 0.15  # m: at most so far in a scene that is not
TABLE = ((0.3, -0.3), (0.55, 0.3))  # m: where OGBench places cubes, lower and upper x, y
HEIGHT = 0.02  # m, of the centre of a cube that lies on the table
JOINTS, SPEEDS, CONTROLS = 21, 20, 7  # numbers of a state: 14 joints of arm and gripper and 7 of the cube; their speeds; actuators
CUBE = slice(14, 17)  # position of the cube in a state

SCHEMA = Schema(
    signals=(
        Signal(name="image", role=Role.OBSERVATION, shape=(SIZE, SIZE, 3), dtype="uint8"),
        Signal(name="arm", role=Role.OBSERVATION, shape=(7,), unit="m (3), cos, sin of yaw, share open to closed, share of full force"),
        Signal(name="move", role=Role.ACTION, shape=(5,), low=-1.0, high=1.0),
        Signal(name="cube", role=Role.LABEL, shape=(3,), unit="m"),
        Signal(name="cube_rotation", role=Role.LABEL, shape=(4,)),
        Signal(name="effector", role=Role.LABEL, shape=(3,), unit="m"),
    ),
    period=PERIOD,
)


@functools.cache
def stage() -> tuple[Any, Camera]:
    """OGBench's environment, and the camera in front of it; every environment of this process shares their model.

    Raises:
        MissingExtra: OGBench is not installed.
    """
    with headless("cube"):
        import mujoco
        from ogbench.manipspace.envs.cube_env import CubeEnv
    simulator = CubeEnv(
        "single", ob_type="pixels", mode="data_collection", terminate_at_goal=False, visualize_info=False, control_timestep=PERIOD
    )
    simulator._mjcf_model = simulator.build_mjcf_model()  # in the colours of the data with pixels ...
    simulator._ob_type = "states"  # ... but without a picture of its own at every step
    simulator.reset(seed=0)
    # Without it the solver begins where it ended last time, and a step would depend on more than the state.
    simulator.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    hide_links(simulator.model)
    simplify_gripper(simulator.model)
    return simulator, Camera(simulator.model, "front_pixels", size=SIZE, fineness=2, hulls=True)


def hide_links(model: Any) -> None:
    """Leave the arm up to its gripper out of the pictures of a `mujoco.MjModel`."""
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        if body.startswith("ur5e/") and not body.startswith("ur5e/robotiq/"):
            model.geom_matid[geom], model.geom_rgba[geom, 3] = -1, 0.0


def simplify_gripper(model: Any) -> None:
    """Draw what collides of the gripper's mount and base, whose hulls are known, instead of what is seen of them."""
    for part in ("ur5e/robotiq/base_mount", "ur5e/robotiq/base"):
        first = int(model.body(part).geomadr[0])
        seen, collides = sorted(range(first, first + 2), key=lambda geom: int(model.geom_contype[geom] | model.geom_conaffinity[geom]))
        model.geom_group[[seen, collides]] = model.geom_group[[collides, seen]]
        model.geom_matid[collides], model.geom_rgba[collides] = model.geom_matid[seen], model.geom_rgba[seen]


@final
class Cube(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """OGBench's `cube-single` as a Gymnasium environment, without reward and without an end.

    An action (5,) in [-1, 1] moves the effector by up to 0.05 m along x, y and z, turns it by up to 0.3 rad, and closes (1) or opens
    (-1) the gripper. The observation `arm` is the effector's position (m), cosine and sine of its yaw, how far the gripper is closed
    (0 to 1), and how hard it is pressed (0 to 1). `reset` takes `options={"state": ...}`, 48 numbers as `state` gives them.

    Args:
        camera: False for black images, in no time.
    """

    def __init__(self, *, camera: bool = True) -> None:
        shared, view = stage()
        with headless("cube"):
            import mujoco
        self._mujoco = mujoco
        self._camera = view if camera else None
        self._simulator = copy.copy(shared)  # what it computes with is shared, what moves is its own
        self._simulator._data = self._mujoco.MjData(shared.model)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
                "arm": gymnasium.spaces.Box(-2.0, 2.0, (7,), np.float32),
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)

    @property
    def simulator(self) -> Any:
        """OGBench's environment inside."""
        return self._simulator

    @property
    def state(self) -> tuple[float, ...]:
        """Joint positions (21), joint speeds (20) and what the actuators are told (7), as MuJoCo orders them."""
        data = self._simulator.data
        return (*data.qpos.tolist(), *data.qvel.tolist(), *data.ctrl.tolist())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; see the class for `options`.

        Raises:
            ValueError: The state asked for is not 48 finite numbers.
        """
        super().reset(seed=seed)
        given = (options or {}).get("state")
        if given is None:
            self._simulator.np_random = self.np_random
            self._simulator.reset()
        else:
            self._set(given)
        return self._observed()

    def _set(self, given: ArrayLike) -> None:
        state = np.asarray(given, dtype=np.float64)
        if state.shape != (JOINTS + SPEEDS + CONTROLS,) or not np.isfinite(state).all():
            raise ValueError(f"cube: a state is {JOINTS + SPEEDS + CONTROLS} finite numbers, not {given!r}")
        model, data = self._simulator.model, self._simulator.data
        self._mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = np.split(state, (JOINTS, JOINTS + SPEEDS))

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One twentieth of a second.

        Raises:
            ValueError: The action is not five finite numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (5,) or not np.isfinite(action).all():
            raise ValueError(f"cube: an action is 5 finite numbers in [-1, 1], not {action!r}")
        simulator = self._simulator
        simulator.set_control(np.clip(action, -1.0, 1.0))
        self._mujoco.mj_step(simulator.model, simulator.data, nstep=simulator._n_steps)
        observation, info = self._observed()
        return observation, 0.0, False, False, info

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        # MuJoCo leaves poses and forces as they were before its last step; a picture must show the state, and an action start from it.
        self._mujoco.mj_forward(self._simulator.model, self._simulator.data)
        self._mujoco.mj_rnePostConstraint(self._simulator.model, self._simulator.data)
        seen = self._simulator.compute_ob_info()
        effector, yaw = seen["proprio/effector_pos"], seen["proprio/effector_yaw"]
        arm = np.concatenate((effector, np.cos(yaw), np.sin(yaw), seen["proprio/gripper_opening"], seen["proprio/gripper_contact"]))
        image = np.zeros((SIZE, SIZE, 3), np.uint8) if self._camera is None else self._camera.image(self._simulator.data)
        return {"image": image, "arm": arm.astype(np.float32)}, {
            "cube": seen["privileged/block_0_pos"].astype(np.float32),
            "cube_rotation": seen["privileged/block_0_quat"].astype(np.float32),
            "effector": effector.astype(np.float32),
        }

    def rest(self, rng: np.random.Generator, place: ArrayLike, yaw: float) -> tuple[float, ...]:
        """A state at rest: the cube on the table at `place` (2,) m, turned by `yaw` rad, and the arm, open, somewhere above the table."""
        simulator = self._simulator
        self._mujoco.mj_resetData(simulator.model, simulator.data)
        simulator.data.qpos[:6] = simulator._home_qpos
        simulator.np_random = rng
        simulator.initialize_arm()
        x, y = np.asarray(place, dtype=np.float64).tolist()
        simulator.data.qpos[CUBE.start :] = (x, y, HEIGHT, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
        return self.state


@functools.cache
def drawing_board() -> Cube:
    """An environment in which scenes are drawn: where the arm's joints are for a pose of its hand, the simulator must say."""
    return Cube(camera=False)


@final
@dataclass(frozen=True, kw_only=True)
class CubeWorld(StateWorld):
    """Cube as a `tacit.worlds.World`: bring the cube to where an image shows it; the arm may be anywhere.

    Hard means that the cube must go by 0.2 m or more; it must be lifted or pushed over half of the table.

    Attributes:
        name: Name in the registry.
    """

    schema: ClassVar[Schema] = SCHEMA
    tolerance: ClassVar[float] = TOLERANCE
    unit: ClassVar[str] = "m"

    name: str

    def make(self, *, camera: bool = True) -> Env:
        return Cube(camera=camera)

    def wander(self, steps: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return wander(steps, rng)

    def recorder(self, steps: int, rng: np.random.Generator) -> Recorder:
        return recorder(steps, rng)

    def scene(self, rng: np.random.Generator, *, hard: bool) -> Scene:
        low, high = (FAR, math.inf) if hard else (2 * TOLERANCE + 1e-3, NEAR)
        while True:
            here, there = rng.uniform(*TABLE, (2, 2))
            if low <= math.dist(here, there) <= high:
                break
        start, goal = (drawing_board().rest(rng, place, float(rng.uniform(-np.pi, np.pi))) for place in (here, there))
        return Scene(start=start, goal=goal, layout={}, hard=hard)

    def distance(self, labels: Mapping[str, Any], scene: Scene) -> float:
        return math.dist(labels["cube"], scene.goal[CUBE])

    def between(self, start: Snapshot, goal: Snapshot) -> Scene:
        hard = math.dist(start.state[CUBE], goal.state[CUBE]) >= FAR
        return Scene(start=start.state, goal=goal.state, layout={}, hard=hard)
