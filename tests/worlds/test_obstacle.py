"""A block that is solid, drawn, and not in the picture of the goal."""

from __future__ import annotations

import numpy as np

from tacit.worlds import ObstacleWorld, TwoRoomWorld, stream
from tacit.worlds.obstacle import REACH, BlockedRooms, before_contact, block_for
from tacit.worlds.two_room import MAX_NORM
from tacit.worlds.world import Purpose

ROOMS = TwoRoomWorld(name="two_room")
ARENA = ObstacleWorld(rooms=ROOMS)
SCENES = [ROOMS.scene(stream(Purpose.SCENES, 5, n), hard=n % 2 == 0) for n in range(40)]


def inside(point: np.ndarray, block: tuple[float, float]) -> bool:
    return bool((np.abs(point - np.array(block)) < REACH - 1e-4).all())


def test_the_dot_never_enters_the_block_and_is_stopped_by_it() -> None:
    rng, env, stopped = np.random.default_rng(0), ARENA.make(), 0
    for scene in SCENES[:10]:
        _, info = ARENA.start(env, scene)
        assert isinstance(env, BlockedRooms)
        block = env.block
        assert block is not None
        if inside(np.array(scene.start), block):
            continue
        for _ in range(60):
            towards = np.array(block) - info["position"] + rng.normal(0, 8, 2)
            move = (MAX_NORM * towards / np.linalg.norm(towards)).astype(np.float32)
            before = info["position"].copy()
            _, _, _, _, info = env.step(move)
            assert not inside(info["position"].astype(np.float64), block)
            stopped += bool(np.linalg.norm(info["position"] - before) < 0.5)
    assert stopped > 20
    env.close()


def test_it_is_drawn_and_the_goal_is_shown_without_it() -> None:
    env, plain = ARENA.make(), ROOMS.make()
    scene = SCENES[0]
    assert np.array_equal(ARENA.goal(env, scene)["image"], ROOMS.goal(plain, scene)["image"])
    seen, empty = ARENA.start(env, scene)[0]["image"], ROOMS.start(plain, scene)[0]["image"]
    changed = np.argwhere((seen != empty).any(-1))
    assert 40 <= len(changed) <= 100  # of 8 by 8 pixels, with its edges
    assert isinstance(env, BlockedRooms)
    assert np.allclose(changed.mean(0)[::-1] + 0.5, env.block, atol=1.5)
    assert np.array_equal(ARENA.start(env, scene)[0]["image"], seen)  # the same block for the same scene


def test_it_is_in_the_way_but_not_on_start_or_goal() -> None:
    free = 0
    for number, scene in enumerate(SCENES):
        block = block_for(scene, np.random.default_rng(number))
        free += not any(inside(np.array(point), block) for point in (scene.start, scene.goal))
    assert free >= 38  # where start and goal are too near each other there may be no room


def test_a_way_ends_where_it_touches() -> None:
    block = (20.0, 20.0)
    assert np.isclose(before_contact((10.0, 20.0), (16.0, 20.0), block), (20 - REACH - 10) / 6, atol=1e-4)
    assert before_contact((10.0, 10.0), (10.0, 30.0), block) == 1.0
    assert before_contact((20.0, 20.0), (21.0, 20.0), block) == 1.0
    assert before_contact((13.0, 20.0), (12.0, 20.0), block) == 1.0
