"""Every registered world keeps the contract, and random streams never meet."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.signals import Role, Schema
from tacit.worlds import WORLDS, Purpose, Scene, World, record, stream, world
from tacit.worlds.two_room import Layout

SIMULATORS = {"reacher": "dm_control", "point_maze": "ogbench", "cube": "ogbench", "push_t": "gym_pusht"}
SCENES = {"two_room": 200, "two_room_fixed": 200}  # scenes that a test looks at; simulators are slower


@pytest.fixture(params=WORLDS)
def arena(request: pytest.FixtureRequest) -> World:
    simulator = SIMULATORS.get(request.param)
    if simulator is not None and importlib.util.find_spec(simulator) is None:
        pytest.skip(f"needs {simulator}: pip install 'tacit[worlds]'")
    return world(request.param)


def legal(actions: np.ndarray, schema: Schema) -> bool:
    """Whether actions (T, A) are finite float32 inside the limits of the schema."""
    parts = np.split(actions, np.cumsum([s.size for s in schema.actions])[:-1], axis=1)
    slack = 1e-5
    return actions.dtype == np.float32 and all(
        np.isfinite(part).all()
        and (s.low is None or part.min() >= s.low - slack)
        and (s.high is None or part.max() <= s.high + slack)
        and (s.max_norm is None or np.linalg.norm(part, axis=1).max() <= s.max_norm * (1 + slack))
        for s, part in zip(schema.actions, parts, strict=True)
    )


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
    env = arena.make(camera=False)
    for number in range(SCENES.get(arena.name, 30)):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        assert scene.hard is hard
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene
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


def test_what_acts_stays_inside_the_limits_and_is_the_same_again(arena: World) -> None:
    wandering = arena.wander(200, np.random.default_rng(0))
    assert wandering.shape == (200, arena.schema.action_size)
    assert legal(wandering, arena.schema)
    assert np.array_equal(wandering, arena.wander(200, np.random.default_rng(0)))
    assert not np.array_equal(wandering, arena.wander(200, np.random.default_rng(1)))

    def recorded() -> np.ndarray:
        env = arena.make(camera=False)
        recorder = arena.recorder(60, np.random.default_rng(0))
        observation, info = env.reset(seed=3)
        actions = []
        for _ in range(60):
            actions.append(recorder(env, {**info, **observation}))
            observation, _, _, _, info = env.step(actions[-1])
        env.close()
        return np.array(actions)

    assert recorded().shape == (60, arena.schema.action_size)
    assert legal(recorded(), arena.schema)
    assert np.array_equal(recorded(), recorded())


def test_a_simulation_goes_on_from_a_snapshot_as_if_nothing_had_happened(arena: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.worlds.push_t_recorder.SPEED", (0.3, 1.0))  # slow hands stay in touch: tests/worlds/test_push_t.py
    env, other = arena.make(camera=False), arena.make(camera=False)
    rng = np.random.default_rng(5)
    recorder = arena.recorder(50, rng)
    observation, info = env.reset(seed=1)
    snapshots, moments, actions = [], [], []
    for _ in range(50):
        snapshots.append(arena.snapshot(env))
        moments.append(info)
        actions.append(recorder(env, {**info, **observation}))
        observation, _, _, _, info = env.step(actions[-1])
    moments.append(info)
    end = arena.snapshot(env)
    for t in (0, 7, 20, 33, 49):
        scene = arena.between(snapshots[t], end)
        assert scene.start == snapshots[t].state
        _, before = arena.start(other, scene)
        assert arena.snapshot(other).state == snapshots[t].state
        _, _, _, _, after = other.step(actions[t])
        for label in arena.schema.labels:
            assert before[label.name] == pytest.approx(moments[t][label.name], abs=1e-6)
            assert after[label.name] == pytest.approx(moments[t + 1][label.name], abs=1e-4)
    assert arena.distance(moments[-1], scene) == pytest.approx(0.0, abs=1e-4)
    env.close()
    other.close()


def test_the_camera_changes_nothing_but_the_images(arena: World) -> None:
    seen, blind = arena.make(), arena.make(camera=False)
    action = arena.wander(1, np.random.default_rng(0))[0]
    for (observation, *_, info), (unseen, *_, same) in zip(
        [seen.reset(seed=4), seen.step(action)], [blind.reset(seed=4), blind.step(action)], strict=True
    ):
        for label in arena.schema.labels:
            assert np.array_equal(info[label.name], same[label.name])
        for signal in arena.schema.observations:
            assert unseen[signal.name].shape == signal.shape
            assert observation[signal.name].any()
    seen.close()
    blind.close()


def test_two_environments_show_the_same(arena: World) -> None:
    scene = arena.scene(np.random.default_rng(2), hard=False)
    first, second = arena.make(), arena.make()
    arena.goal(second, scene)
    for signal in arena.schema.observations:
        assert np.array_equal(arena.start(first, scene)[0][signal.name], arena.start(second, scene)[0][signal.name])
    first.close()
    second.close()


def test_a_recording_has_live_cameras(arena: World, tmp_path: Path) -> None:
    """`record` refuses blank and frozen frames."""
    store = record(arena, tmp_path / "log", episodes=2, steps=15)
    assert len(store) == 2


def test_registering_worlds_loads_no_simulator() -> None:
    program = "import sys, tacit.worlds; print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    packages = ["mujoco", "OpenGL", "dm_control", "ogbench", "gym_pusht", "pymunk", "pygame"]
    done = subprocess.run([sys.executable, "-c", program, *packages], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "package"), SIMULATORS.items())
def test_a_world_without_its_simulator_names_the_extra_and_writes_nothing(name: str, package: str, tmp_path: Path) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from tacit.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["record", name, "--out", str(tmp_path / "logs"), "--episodes", "1"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: {name} needs the extra: pip install 'tacit[worlds]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "logs").exists()


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
