"""Point maze: the physics and the map are OGBench's, the picture tells the position, and walkers go everywhere."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("ogbench") is None:
    pytest.skip("needs the extra: pip install 'tacit[worlds]'", allow_module_level=True)

from gymnasium.utils.env_checker import check_env

from tacit.worlds import Scene, Snapshot, world
from tacit.worlds.maze_walk import (
    CELL,
    FREE,
    MAP,
    RADIUS,
    STRIDE,
    Walk,
    cell_at,
    cells_between,
    centre,
    clearance,
    free_position,
    neighbours,
    steps_to,
)
from tacit.worlds.mujoco_camera import headless
from tacit.worlds.point_maze import FAR, FARTHEST, TOLERANCE, PointMaze, stage, wander


@pytest.fixture(scope="module")
def original() -> Any:
    with headless("a test"):
        from ogbench.locomaze.maze import make_maze_env
    env = make_maze_env("point", "maze", maze_type="medium", terminate_at_goal=False)
    env.reset(seed=0, options={"task_id": 1})
    return env


def test_map_and_tolerance_are_those_of_ogbench(original: Any) -> None:
    assert [[int(mark == "#") for mark in row] for row in MAP] == original.maze_map.tolist()
    assert original._goal_tol == TOLERANCE
    assert all(np.array_equal(original.ij_to_xy(cell), centre(cell)) for cell in FREE)


def test_the_point_moves_as_in_ogbench(original: Any) -> None:
    """Exactly in the open, to a solver's precision at the walls."""
    env = PointMaze(camera=False)
    touched = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        state = np.array([*free_position(rng), 0.0, 0.0])
        env.reset(options={"state": state})
        original.set_state(state[:2], state[2:])
        free = True
        for action in wander(60, rng).astype(np.float64):
            env.step(action)
            original.step(action)
            free = free and clearance(env.state[:2]) > RADIUS + STRIDE
            theirs = [*original.data.qpos, *original.data.qvel]
            assert env.state == pytest.approx(theirs, abs=0.0 if free else 1e-6)
        touched += not free
    assert touched > 2


def test_the_point_slides_along_a_wall_and_never_enters_it() -> None:
    env = PointMaze(camera=False)
    env.reset(options={"state": (*centre((1, 1)), 0.0, 0.0)})
    for _ in range(60):
        _, _, _, _, info = env.step(np.array([1.0, -1.0]))
        assert clearance(info["position"]) > RADIUS - 0.1
    assert info["position"] == pytest.approx([6.0 - RADIUS, -2.0 + RADIUS], abs=0.1), "the corner of cell (1, 2)"


def test_the_point_goes_on_exactly_from_any_state_even_at_a_wall() -> None:
    first, second = PointMaze(camera=False), PointMaze(camera=False)
    first.reset(options={"state": (*centre((1, 1)), 0.0, 0.0)})
    touched = 0
    for push in np.repeat(np.random.default_rng(0).uniform(-1, 1, (10, 2)), 12, axis=0):
        second.reset(options={"state": first.state})
        assert second.state == first.state
        first.step(push)
        second.step(push)
        assert second.state == first.state
        touched += clearance(first.state[:2]) < RADIUS + 0.01
    assert touched > 5


def test_a_push_beyond_the_limit_is_the_limit() -> None:
    env = PointMaze(camera=False)
    env.reset(options={"state": (*centre((1, 1)), 0.0, 0.0)})
    env.step(np.array([5.0, -9.0]))
    assert env.state[:2] == pytest.approx([STRIDE, -STRIDE])


def test_clearance_is_the_distance_from_the_nearest_wall() -> None:
    assert clearance(centre((1, 1))) == CELL / 2
    assert clearance((-2.0, 0.0)) == clearance((-3.0, 0.0)) == 0.0
    assert clearance((5.5, 0.0)) == pytest.approx(0.5)
    corner = centre((3, 1)) + CELL / 2
    assert clearance(corner + np.array([0.3, 0.4])) == pytest.approx(0.5), "from a corner, not from a side"


def test_ways_through_the_maze() -> None:
    assert cells_between(centre((1, 1)), centre((1, 1)) + 1.5) == 0
    assert cells_between(centre((1, 1)), centre((2, 2))) == 2
    assert cells_between(centre((1, 2)), centre((2, 4))) == 5, "around the wall"
    for cell in FREE:
        assert set(steps_to(cell)) == set(FREE)
        assert all(steps_to(other)[cell] == steps for other, steps in steps_to(cell).items())
        assert cell_at(centre(cell) + 1.9) == cell == cell_at(centre(cell) - 1.9)


@pytest.mark.parametrize("hard", [True, False])
def test_hard_means_at_least_four_cells_away(hard: bool) -> None:
    arena = world("point_maze")
    for number in range(100):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        way = cells_between(scene.start[:2], scene.goal[:2])
        assert FAR <= way <= FARTHEST if hard else way < FAR
        assert min(clearance(scene.start[:2]), clearance(scene.goal[:2])) > RADIUS
        assert arena.between(Snapshot(state=scene.start), Snapshot(state=scene.goal)) == scene


def test_a_place_passed_in_motion_is_a_goal_at_rest() -> None:
    scene = world("point_maze").between(Snapshot(state=(0.0, 0.0, 1.0, 0.0)), Snapshot(state=(4.0, 0.0, 0.0, 2.0)))
    assert scene == Scene(start=(0.0, 0.0, 1.0, 0.0), goal=(4.0, 0.0, 0.0, 0.0), layout={}, hard=False)


def test_who_knows_the_way_reaches_every_hard_goal_in_time() -> None:
    arena = world("point_maze")
    env = arena.make(camera=False)
    for number in range(40):
        scene = arena.scene(np.random.default_rng(number), hard=True)
        _, info = arena.start(env, scene)
        steps = 0
        while arena.distance(info, scene) > TOLERANCE:
            here, left = cell_at(info["position"]), steps_to(cell_at(scene.goal[:2]))
            ahead = np.array(scene.goal[:2]) if left[here] == 0 else centre(min(neighbours(here), key=left.__getitem__))
            way = ahead - info["position"]
            _, _, _, _, info = env.step(way / np.hypot(*way))
            steps += 1
            assert steps < 190, scene


def test_the_picture_shows_walls_and_point_where_they_are() -> None:
    """28 units wide, x to the right and y up."""
    env = PointMaze()
    scale = 64 / 28
    for seed in range(20):
        x, y = free_position(np.random.default_rng(seed))
        image = env.reset(options={"state": (x, y, 0.0, 0.0)})[0]["image"].astype(float)
        red = np.maximum(image[..., 0] - image[..., 1] - 20, 0.0)
        centres = (np.arange(64) + 0.5) / scale - 4.0
        found = (red.sum(0) @ centres / red.sum(), red.sum(1) @ centres[::-1] / red.sum())
        assert found == pytest.approx((x, y), abs=0.2)
        for cell in np.ndindex(8, 8):
            column, row = (min(max(int((c + 4.0) * scale), 0), 63) for c in centre(cell))
            if math.dist(centre(cell), (x, y)) > 1.5:
                assert bool(image[63 - row, column].mean() < 220) is (MAP[cell[0]][cell[1]] == "#"), cell


def test_one_full_step_shows() -> None:
    env = PointMaze()
    for seed in range(10):
        x, y = free_position(np.random.default_rng(seed), margin=0.3)
        first, second = (env.reset(options={"state": (at, y, 0.0, 0.0)})[0]["image"] for at in (x, x + STRIDE))
        assert (first != second).any()


def test_ogbenchs_goal_marker_is_invisible() -> None:
    env = PointMaze()
    model, _ = stage()
    place = model.geom("target").pos
    before = place.copy()
    images = []
    try:
        for target in ((1, 1), (4, 4)):
            place[:2] = centre(target)
            images.append(env.reset(options={"state": (*centre((6, 1)), 0.0, 0.0)})[0]["image"])
    finally:
        place[:] = before
    assert np.array_equal(*images)


def test_gymnasium_finds_nothing_to_complain_about() -> None:
    check_env(PointMaze(), skip_render_check=True)


@pytest.mark.parametrize("action", [np.zeros(3), np.array([math.inf, 0.0]), 1.0])
def test_a_bad_action_is_refused(action: np.ndarray) -> None:
    env = PointMaze(camera=False)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 finite numbers"):
        env.step(action)


@pytest.mark.parametrize(
    ("state", "reason"),
    [((0.0, 0.0), "4 finite"), ((math.nan, 0.0, 0.0, 0.0), "4 finite"), ((-4.0, 0.0, 0.0, 0.0), "a wall is there")],
)
def test_a_bad_state_is_refused_and_changes_nothing(state: tuple[float, ...], reason: str) -> None:
    env = PointMaze(camera=False)
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=reason):
        env.reset(options={"state": state})
    assert env.state == before


def test_walkers_go_everywhere_farther_than_who_wanders_and_pause_at_times() -> None:
    env = PointMaze(camera=False)
    arena = world("point_maze")
    ways: dict[str, list[int]] = {"walk": [], "wander": []}
    seen, pauses = set(), 0
    for seed in range(40):
        for kind, far in ways.items():
            rng = np.random.default_rng(seed)
            actor = arena.recorder(100, rng) if kind == "walk" else None
            blind = wander(100, rng)
            _, info = env.reset(seed=seed)
            start = info["position"]
            for t in range(100):
                action = blind[t] if actor is None else actor(env, info)
                if actor is not None:
                    seen.add(cell_at(info["position"]))
                    pauses += not action.any()
                _, _, _, _, info = env.step(action)
            far.append(cells_between(start, info["position"]))
    assert len(seen) >= len(FREE) - 3
    assert np.mean(ways["walk"]) > 1.5 * np.mean(ways["wander"])
    assert 0.01 < pauses / 4000 < 0.2


def test_a_walk_depends_on_its_draws_and_the_position_alone() -> None:
    def actions(seed: int) -> np.ndarray:
        walk = Walk(wander(50, np.random.default_rng(seed)), np.random.default_rng(seed))
        env = PointMaze(camera=False)
        _, info = env.reset(options={"state": (*centre((1, 1)), 0.0, 0.0)})
        played = []
        for _ in range(50):
            played.append(walk(env, {"position": info["position"]}))
            _, _, _, _, info = env.step(played[-1])
        return np.array(played)

    assert np.array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))
