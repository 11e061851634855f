"""Reacher: the physics is dm_control's, a state is all there is, and the picture tells the pose."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

if importlib.util.find_spec("dm_control") is None:
    pytest.skip("needs the extra: pip install 'tacit[worlds]'", allow_module_level=True)

from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from tacit.worlds import Scene, Snapshot, world
from tacit.worlds.mujoco_camera import headless
from tacit.worlds.reacher import PERIOD, QUARTER, TOLERANCE, Reacher, pose, stage, turn, wander

angles = st.floats(-10, 10)


def by_the_suite(state: np.ndarray, torques: np.ndarray) -> np.ndarray:
    """States (T, 4) after each torque, from the untouched suite."""
    with headless("a test"):
        from dm_control.suite import reacher
    env = reacher.hard(random=0)
    assert env.control_timestep() == PERIOD
    env.reset()
    with env.physics.reset_context():
        env.physics.data.qpos[:], env.physics.data.qvel[:] = state[:2], state[2:]
    states = []
    for torque in torques:
        env.step(torque)
        states.append(np.concatenate((env.physics.data.qpos, env.physics.data.qvel)))
    return np.array(states)


def by_us(state: np.ndarray, torques: np.ndarray) -> np.ndarray:
    env = Reacher(camera=False)
    env.reset(options={"state": state})
    states = []
    for torque in torques:
        env.step(torque)
        states.append(env.state)
    return np.array(states)


def test_a_free_arm_moves_exactly_as_in_the_suite() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        state = np.array([*rng.uniform(-1, 1, 2), *rng.uniform(-2, 2, 2)])
        torques = rng.uniform(-1, 1, (10, 2)).astype(np.float32)
        assert np.array_equal(by_us(state, torques), by_the_suite(state, torques))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_wrist_stops_as_in_the_suite(side: float) -> None:
    torques = np.tile([0.3, side], (40, 1)).astype(np.float32)
    ours = by_us(np.array([0.0, side * 2.0, 0.0, 0.0]), torques)
    assert ours == pytest.approx(by_the_suite(np.array([0.0, side * 2.0, 0.0, 0.0]), torques), abs=1e-6)
    assert 2.7 < side * ours[-1, 1] < 3.0


def test_an_arm_goes_on_exactly_from_any_state_even_at_the_stop() -> None:
    first, second = Reacher(camera=False), Reacher(camera=False)
    first.reset(options={"state": (0.0, 2.5, 0.0, 0.0)})
    stopped = 0
    for torque in np.repeat(np.random.default_rng(0).uniform((-1, -0.2), (1, 1), (6, 2)), 10, axis=0):
        second.reset(options={"state": first.state})
        assert second.state == first.state
        first.step(torque)
        second.step(torque)
        assert second.state == first.state
        stopped += first.state[1] > math.radians(160)
    assert stopped > 5


def test_a_torque_beyond_the_limit_is_the_limit() -> None:
    state = np.array([0.0, 1.0, 0.0, 0.0])
    assert np.array_equal(by_us(state, np.array([[3.0, -7.0]])), by_us(state, np.array([[1.0, -1.0]])))


@given(angles, angles, angles, st.integers(-2, 2))
def test_a_turn_is_the_larger_one_and_a_whole_turn_of_the_shoulder_is_none(shoulder: float, wrist: float, off: float, turns: int) -> None:
    goal = (shoulder, wrist)
    assert turn((shoulder + turns * math.tau, wrist + off), goal) == pytest.approx(abs(off), abs=1e-9)
    assert turn((shoulder + off, wrist), goal) == pytest.approx(abs((off + math.pi) % math.tau - math.pi), abs=1e-9)
    assert turn((shoulder, wrist + math.tau), goal) == pytest.approx(math.tau)


@pytest.mark.parametrize("hard", [True, False])
def test_hard_means_more_than_a_quarter_turn(hard: bool) -> None:
    arena = world("reacher")
    for number in range(100):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        assert (turn(scene.start[:2], scene.goal[:2]) > QUARTER) is hard
        assert scene.start[2:] == scene.goal[2:] == (0.0, 0.0)
        assert arena.between(Snapshot(state=scene.start), Snapshot(state=scene.goal)) == scene


def test_a_pose_passed_in_motion_is_a_goal_at_rest() -> None:
    scene = world("reacher").between(Snapshot(state=(0.0, 0.0, 1.0, 2.0)), Snapshot(state=(1.0, 1.0, 3.0, 4.0)))
    assert scene == Scene(start=(0.0, 0.0, 1.0, 2.0), goal=(1.0, 1.0, 0.0, 0.0), layout={}, hard=False)


def test_a_simple_controller_takes_most_poses_and_keeps_them() -> None:
    """Torques suffice for the strict protocol: 200 steps, and the last five moments at the goal."""
    arena = world("reacher")
    env = arena.make(camera=False)
    kept = []
    for number in range(40):
        scene = arena.scene(np.random.default_rng(number), hard=True)
        _, info = arena.start(env, scene)
        close = []
        for _ in range(200):
            off = np.array(scene.goal[:2]) - info["joints"]
            off[0] = math.remainder(off[0], math.tau)
            _, _, _, _, info = env.step(off * (2.0, 1.0) - info["velocities"] * (0.2, 0.05))
            close.append(arena.distance(info, scene) <= TOLERANCE)
        kept.append(all(close[-5:]))
    assert np.mean(kept) >= 0.95


def test_the_picture_shows_arm_and_fingertip_where_they_are() -> None:
    """By the camera's geometry: 0.75 m above the floor, 45 degrees of view, x to the right and y up."""
    env = Reacher()
    scale = 32 / (0.74 * math.tan(math.pi / 8))
    for seed in range(20):
        observation, info = env.reset(options={"state": (*pose(np.random.default_rng(seed)), 0.0, 0.0)})
        image = observation["image"].astype(int)
        arm = image[..., 0] > image[..., 2] + 20
        x, y = info["fingertip"] * scale
        assert arm[int(32 - y), int(32 + x)]
        rows, columns = np.nonzero(arm)
        assert np.hypot(columns + 0.5 - 32, rows + 0.5 - 32).max() < 0.25 * scale
        assert np.hypot(columns + 0.5 - 32 - x, rows + 0.5 - 32 + y).min() < 1.0


def test_a_turn_of_a_fifth_of_the_tolerance_shows() -> None:
    env = Reacher()
    for seed in range(10):
        shoulder, wrist = pose(np.random.default_rng(seed))
        here, moved = (env.reset(options={"state": (angle, wrist, 0.0, 0.0)})[0]["image"] for angle in (shoulder, shoulder + TOLERANCE / 5))
        assert (here != moved).any()


def test_the_suites_target_is_invisible() -> None:
    env = Reacher()
    model, _ = stage()
    place = model.geom("target").pos
    before = place.copy()
    images = []
    try:
        for x in (0.0, 0.1):
            place[:2] = x, -0.1
            images.append(env.reset(options={"state": (1.0, 1.0, 0.0, 0.0)})[0]["image"])
    finally:
        place[:] = before
    assert np.array_equal(*images)


@pytest.mark.filterwarnings("ignore:.*the reset options.*:UserWarning")
def test_gymnasium_finds_nothing_to_complain_about() -> None:
    check_env(Reacher(), skip_render_check=True)


@pytest.mark.parametrize("action", [np.zeros(3), np.array([math.nan, 0.0]), 1.0])
def test_a_bad_action_is_refused(action: np.ndarray) -> None:
    env = Reacher(camera=False)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 finite torques"):
        env.step(action)


@pytest.mark.parametrize("state", [(0.0, 1.0), (0.0, 1.0, math.nan, 0.0)])
def test_a_bad_state_is_refused_and_changes_nothing(state: tuple[float, ...]) -> None:
    env = Reacher(camera=False)
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match="a state is 4 finite numbers"):
        env.reset(options={"state": state})
    assert env.state == before


def test_wandering_goes_through_all_poses_and_rests_at_times() -> None:
    env = Reacher(camera=False)
    poses, actions = [], []
    for seed in range(40):
        env.reset(seed=seed)
        actions.append(wander(100, np.random.default_rng(seed)))
        for torque in actions[-1]:
            env.step(torque)
            poses.append(env.state[:2])
    shoulder, wrist = np.array(poses).T
    seen, _, _ = np.histogram2d(shoulder % math.tau, wrist, bins=8, range=((0, math.tau), (-2.8, 2.8)))
    assert (seen > 0).mean() > 0.95
    rests = (np.array(actions) == 0.0).all(axis=2)
    assert 0.05 < rests.mean() < 0.3
