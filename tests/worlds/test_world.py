"""Every registered world keeps the contract, and random streams never meet."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.signals import Role
from tacit.worlds import WORLDS, Purpose, Scene, World, stream, world
from tacit.worlds.two_room import Layout


@pytest.fixture(params=WORLDS)
def arena(request: pytest.FixtureRequest) -> World:
    return world(request.param)


def test_registered_worlds_are_worlds_under_their_own_name(arena: World) -> None:
    assert isinstance(arena, World)
    assert WORLDS[arena.name] is arena


def test_an_unknown_world_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"two_rooms.*two_room, two_room_fixed"):
        world("two_rooms")


def test_an_environment_shows_every_signal_in_its_shape_and_dtype(arena: World) -> None:
    env = arena.make()
    observation, info = env.reset(seed=0)
    for _ in range(2):
        for signal in arena.schema.signals:
            if signal.role is not Role.ACTION:
                sample = (observation if signal.role is Role.OBSERVATION else info)[signal.name]
                assert sample.shape == signal.shape
                assert sample.dtype == signal.dtype
        assert not {label.name for label in arena.schema.labels} & set(observation), "a label would reach the policy"
        observation, _, terminated, truncated, info = env.step(arena.wander(1, np.random.default_rng(0))[0])
        assert not terminated
        assert not truncated
    env.close()


@pytest.mark.parametrize("hard", [True, False])
def test_a_scene_starts_where_it_says_and_is_not_solved(arena: World, hard: bool) -> None:
    env = arena.make()
    for number in range(200):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        assert scene.hard is hard
        _, info = arena.start(env, scene)
        assert arena.distance(info, scene) >= 2 * arena.tolerance * (1 - 1e-6)
    env.close()


def test_the_goal_observation_is_what_the_sensors_show_there(arena: World) -> None:
    env = arena.make()
    scene = arena.scene(np.random.default_rng(1), hard=True)
    goal = arena.goal(env, scene)
    first, _ = arena.start(env, scene)
    there, info = arena.start(env, replace(scene, start=scene.goal))
    for signal in arena.schema.observations:
        assert np.array_equal(goal[signal.name], there[signal.name])
        assert not np.array_equal(goal[signal.name], first[signal.name])
    assert arena.distance(info, scene) == pytest.approx(0.0, abs=1e-4)
    env.close()


@pytest.mark.parametrize("hard", [True, False])
def test_hard_means_the_other_room(hard: bool) -> None:
    rng = np.random.default_rng(0)
    layouts = set()
    for _ in range(100):
        scene = world("two_room").scene(rng, hard=hard)
        layout = Layout(**scene.layout)
        layouts.add(layout)
        assert (layout.room(scene.start) != layout.room(scene.goal)) is hard
        assert layout.is_free(scene.start)
        assert layout.is_free(scene.goal)
    assert len(layouts) == 100


def test_the_fixed_world_has_one_layout() -> None:
    rng = np.random.default_rng(0)
    assert {tuple(world("two_room_fixed").scene(rng, hard=True).layout.values()) for _ in range(10)} == {(32.0, 24.0)}


@given(st.integers(0, 2**32), st.booleans())
def test_a_scene_comes_back_from_json_exactly(seed: int, hard: bool) -> None:
    scene = world("two_room").scene(np.random.default_rng(seed), hard=hard)
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


@pytest.mark.parametrize("values", [{}, [], {"start": [0], "goal": [1], "layout": {}, "hard": True, "label": 3}])
def test_what_is_not_a_scene_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="not a scene"):
        Scene.from_json(values)  # type: ignore[arg-type]


def test_streams_of_other_purposes_seeds_and_numbers_never_meet() -> None:
    keys = [(purpose, seed, number) for purpose in Purpose for seed in (0, 1, 2, 2**32, 2**33) for number in (0, 1, 2)]
    draws = {key: stream(*key).integers(2**63, size=4).tolist() for key in keys}
    assert len({tuple(draw) for draw in draws.values()}) == len(keys)
    assert stream(Purpose.SCENES, 1, 2).integers(2**63, size=4).tolist() == draws[Purpose.SCENES, 1, 2]


def test_distance_is_euclidean_in_pixels() -> None:
    scene = Scene(start=(10.0, 10.0), goal=(20.0, 30.0), layout={}, hard=False)
    assert world("two_room").distance({"position": np.array([23.0, 34.0], np.float32)}, scene) == pytest.approx(5.0)
    assert math.isclose(world("two_room").tolerance, 4.5)
