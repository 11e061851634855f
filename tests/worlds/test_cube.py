"""Cube: what is set is what is there, pictures show the state alone, oracles pick and place."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tacit.data import Episode
from tacit.evaluation.protocol import Protocol, draw_manifest
from tacit.worlds import Purpose, Scene, stream, world
from tacit.worlds.cube import CUBE, FAR, SCHEMA, TABLE, Cube
from tacit.worlds.cube_recorder import Oracle, global_randomness, recorder, wander
from tacit.worlds.record import record, recorded, require_live_cameras

if find_spec("ogbench") is None:
    pytest.skip("needs the extra: pip install 'tacit[worlds]'", allow_module_level=True)

UP, OPEN, CLOSE = 1.0, -1.0, 1.0


@pytest.fixture
def table() -> Iterator[Cube]:
    env = Cube()
    yield env
    env.close()


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    arena = world("cube")
    env = arena.make(camera=False)
    return [recorded(arena, env, 100, stream(Purpose.RECORDING, 0, number)) for number in range(4)]


def lying(table: Cube, place: tuple[float, float], yaw: float = 0.0, seed: int = 0) -> tuple[float, ...]:
    return table.rest(np.random.default_rng(seed), place, yaw)


def test_a_state_is_read_back_as_it_was_set(table: Cube) -> None:
    state = np.array(lying(table, (0.4, 0.1), 0.5))
    state[21:41] = np.linspace(-0.5, 0.5, 20)
    state[41:] = np.linspace(0.0, 1.0, 7)
    _, info = table.reset(options={"state": state})
    assert np.array_equal(table.state, state)
    assert info["cube"] == pytest.approx([0.4, 0.1, 0.02], abs=1e-6)
    assert info["cube_rotation"] == pytest.approx([math.cos(0.25), 0, 0, math.sin(0.25)], abs=1e-6)


def test_an_episode_goes_on_from_a_set_state_exactly_as_it_went() -> None:
    arena = world("cube")
    first, second = Cube(camera=False), Cube(camera=False)
    rng = stream(Purpose.RECORDING, 7, 1)
    hand = recorder(60, rng)
    observation, info = first.reset(seed=1)
    snapshots, actions, arms = [arena.snapshot(first)], [], [observation["arm"]]
    for _ in range(60):
        actions.append(hand(first, {**info, **observation}))
        observation, _, _, _, info = first.step(actions[-1])
        snapshots.append(arena.snapshot(first))
        arms.append(observation["arm"])
    assert math.dist(snapshots[0].state[CUBE], snapshots[-1].state[CUBE]) > 0.02, "the cube was moved"
    for t in range(0, 60, 6):
        observation, _ = second.reset(options={"state": snapshots[t].state})
        assert np.array_equal(observation["arm"], arms[t])
        second.step(actions[t])
        assert second.state == pytest.approx(snapshots[t + 1].state, abs=1e-9)


def test_a_step_is_that_of_ogbench(table: Cube) -> None:
    state = lying(table, (0.45, -0.1), 1.0)
    table.reset(options={"state": state})
    original = copy.copy(table.simulator)
    original._data = copy.copy(table.simulator.data)
    action = np.array([0.5, -0.3, -0.8, 0.4, CLOSE])
    original.step(action)
    table.step(action)
    assert np.abs(np.array(table.state) - (*original.data.qpos, *original.data.qvel, *original.data.ctrl)).max() < 1e-9
    assert np.abs(np.array(table.state) - state).max() > 0.01


def test_environments_share_a_model_and_nothing_that_moves(table: Cube) -> None:
    other = Cube(camera=False)
    assert other.simulator.model is table.simulator.model
    table.reset(options={"state": lying(table, (0.4, 0.0))})
    before = table.state
    other.reset(seed=3)
    other.step(np.ones(5))
    assert table.state == before


def test_actions_move_and_close_the_hand_as_they_say() -> None:
    table = Cube(camera=False)
    table.reset(options={"state": lying(table, (0.55, 0.3), seed=3)})
    start = table.step(np.zeros(5))[0]["arm"]
    for axis in range(3):
        action = np.zeros(5)
        action[axis] = -1.0 if start[axis] > (0.425, 0.0, 0.27)[axis] else 1.0
        before = table.step(np.zeros(5))[0]["arm"]
        after = table.step(action)[0]["arm"]
        moved = (after - before)[:3] * np.sign(action[axis])
        assert moved[axis] > 0.005
        assert np.abs(np.delete(moved, axis)).max() < moved[axis]
    for _ in range(20):
        closed = table.step(np.array([0, 0, 0, 0, CLOSE]))[0]["arm"]
    for _ in range(20):
        opened = table.step(np.array([0, 0, 0, 0, OPEN]))[0]["arm"]
    assert closed[5] > 0.8
    assert opened[5] < 0.1
    assert np.hypot(opened[3], opened[4]) == pytest.approx(1.0, abs=1e-3)


def test_the_environment_keeps_gymnasiums_contract() -> None:
    check_env(Cube(camera=False), skip_render_check=True)


@pytest.mark.parametrize("bad", [[0.1] * 4, [0.0, 0.0, np.nan, 0.0, 0.0]])
def test_a_bad_action_is_refused(table: Cube, bad: list[float]) -> None:
    table.reset(seed=0)
    with pytest.raises(ValueError, match="5 finite numbers"):
        table.step(np.array(bad))


@pytest.mark.parametrize("bad", [[0.0] * 47, [np.inf] * 48])
def test_a_bad_state_is_refused(table: Cube, bad: list[float]) -> None:
    with pytest.raises(ValueError, match="48 finite numbers"):
        table.reset(options={"state": bad})


def redness(image: np.ndarray) -> np.ndarray:
    values = image.astype(int)
    return (values[..., 0] > 60) & (values[..., 0] > values[..., 1] + 40) & (values[..., 0] > values[..., 2] + 30)


def test_the_picture_shows_one_cube_where_it_is_and_the_hand(table: Cube) -> None:
    centres = []
    for place in ((0.35, -0.2), (0.35, 0.2), (0.5, 0.2)):
        state = lying(table, place)
        table.simulator.data.mocap_pos[:] = (0.5, -0.2, 0.02)
        image = table.reset(options={"state": state})[0]["image"]
        assert 6 < redness(image).sum() < 60
        centres.append(np.argwhere(redness(image)).mean(0))
    (_, left), (up, right), (down, _) = centres
    assert abs(right - left) > 10
    assert down > up + 5
    first = table.reset(options={"state": lying(table, (0.35, 0.2), seed=1)})[0]["image"].astype(int)
    second = table.reset(options={"state": lying(table, (0.35, 0.2), seed=2)})[0]["image"].astype(int)
    assert (np.abs(first - second).max(-1) > 20).sum() > 10, "the hand is somewhere else"


def test_mount_and_base_of_the_hand_are_drawn_once_as_what_collides(table: Cube) -> None:
    model = table.simulator.model
    for part in ("ur5e/robotiq/base_mount", "ur5e/robotiq/base"):
        own = [geom for geom in range(model.ngeom) if model.body(model.geom_bodyid[geom]).name == part]
        (drawn,) = [geom for geom in own if model.geom_group[geom] < 3]
        assert model.geom_contype[drawn] | model.geom_conaffinity[drawn]  # MuJoCo draws the hulls of such geoms only
        assert model.geom_matid[drawn] >= 0  # in the colours of the data with pixels


def test_a_table_without_a_camera_goes_the_same_way_in_the_dark(table: Cube) -> None:
    dark = Cube(camera=False)
    for env in (table, dark):
        env.reset(seed=4)
        observation, _, terminated, truncated, _ = env.step(np.full(5, 0.5))
        assert not terminated
        assert not truncated
    assert dark.state == table.state
    assert not observation["image"].any()


def test_wandering_is_blind_and_inside_the_limits() -> None:
    actions = wander(300, np.random.default_rng(0))
    assert actions.shape == (300, 5)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    assert (actions[1:, :3] * actions[:-1, :3]).sum() > 0.5 * (actions[:, :3] ** 2).sum()
    assert np.abs(actions[:, 4]).mean() > 0.3
    assert not np.array_equal(actions, wander(300, np.random.default_rng(1)))


def test_episodes_pick_the_cube_up_and_move_it(episodes: list[Episode]) -> None:
    cubes = np.stack([e.signals["cube"] for e in episodes])
    moved = np.linalg.norm(cubes[:, 25:] - cubes[:, :-25], axis=-1)
    assert (moved > 0.04).mean() > 0.2
    assert (cubes[..., 2] > 0.05).any(axis=1).mean() >= 0.5
    assert np.abs(cubes[..., :2].mean((0, 1)) - np.mean(TABLE, axis=0)).max() < 0.15


def test_a_recording_depends_on_its_seed_alone_and_leaves_the_global_numbers_alone(tmp_path: Path) -> None:
    arena = world("cube")
    np.random.seed(5)  # noqa: NPY002
    store = record(arena, tmp_path / "store", episodes=1, steps=12)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002
    again = recorded(arena, arena.make(camera=False), 12, stream(Purpose.RECORDING, 0, 0))
    for name in ("arm", "move", "cube", "cube_rotation", "effector"):
        assert np.array_equal(store[0].signals[name], again.signals[name])
    require_live_cameras(store[0], SCHEMA)


def test_global_randomness_is_borrowed() -> None:
    with global_randomness(np.random.default_rng(0)):
        first = np.random.random()  # noqa: NPY002
    with global_randomness(np.random.default_rng(0)):
        assert np.random.random() == first  # noqa: NPY002


@pytest.mark.parametrize("plans", [True, False])
def test_an_oracle_that_is_done_gets_a_new_place_for_the_cube(plans: bool) -> None:
    env = Cube(camera=False)
    hand = Oracle(np.random.default_rng(2))
    hand._plans = plans
    observation, info = env.reset(seed=2)
    places = []
    for t in range(6):
        if t == 3:
            hand._oracle._done = True
        observation, _, _, _, info = env.step(hand(env, {**info, **observation}))
        places.append(tuple(env.simulator.compute_ob_info()["privileged/target_block_pos"]))
    assert len(set(places[:3])) == len(set(places[3:])) == 1
    assert places[0] != places[3]
    assert not hand._oracle.done


@pytest.mark.parametrize("hard", [False, True])
def test_scenes_are_on_the_table_and_near_or_far(hard: bool) -> None:
    arena = world("cube")
    env = arena.make(camera=False)
    for number in range(12):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        assert scene == arena.scene(np.random.default_rng(number), hard=hard)
        assert scene.hard == hard
        _, info = arena.start(env, scene)
        distance = arena.distance(info, scene)
        assert (distance >= FAR - 1e-6) == hard
        assert distance >= 2 * arena.tolerance
        assert Scene.from_json(scene.to_json()) == scene
        for _ in range(5):
            _, _, _, _, info = env.step(np.array([0, 0, UP, 0, OPEN]))
        assert math.dist(info["cube"], scene.start[CUBE]) < 1e-3, "the cube lies still"


def test_start_and_goal_of_a_scene_are_shown_and_reached(table: Cube) -> None:
    arena = world("cube")
    scene = arena.scene(np.random.default_rng(0), hard=True)
    goal = arena.goal(table, scene)
    at_goal = arena.snapshot(table)
    assert at_goal.state == scene.goal
    observation, info = arena.start(table, scene)
    assert arena.distance(info, scene) > FAR - 1e-6
    assert not np.array_equal(observation["image"], goal["image"])
    assert arena.between(arena.snapshot(table), at_goal).hard
    assert arena.distance({"cube": np.array(scene.goal[CUBE])}, scene) == 0.0


def test_excursions_begin_where_an_episode_was_and_the_cube_moves() -> None:
    manifest = draw_manifest(Protocol.standard("cube", episodes=1))
    arena = world("cube")
    _, info = arena.start(arena.make(camera=False), manifest.scenes[0])
    assert arena.distance(info, manifest.scenes[0]) > arena.tolerance


def test_the_package_is_imported_only_for_an_environment_and_its_absence_is_explained() -> None:
    code = """
import sys
import tacit.worlds
heavy = {"gym_pusht", "pygame", "cv2", "ogbench", "mujoco", "dm_control"} & set(sys.modules)
assert not heavy, heavy
sys.modules["ogbench"] = None
try:
    tacit.worlds.world("cube").make()
except ImportError as error:
    assert "pip install 'tacit[worlds]'" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
