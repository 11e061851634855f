"""Push-T: what is set is what is there, pictures show positions alone, hands push."""

from __future__ import annotations

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
from tacit.worlds.push_t import HIGH, LOW, SCHEMA, PushT, State, apart, corners, free_state, gym_pusht, is_free, is_hard
from tacit.worlds.push_t_recorder import CENTRE, RADIUS, SPOTS, TWISTS, centre_of, clearance, recorder, rotation, wander, wrapped
from tacit.worlds.record import record, recorded, require_live_cameras

if find_spec("gym_pusht") is None:
    pytest.skip("needs the extra: pip install 'tacit[worlds]'", allow_module_level=True)

QUICK = (0.3, 1.0)  # speeds of hands that touch and let go
MIDDLE = State(pusher=(100.0, 120.0), block=(256.0, 200.0, 0.3))


@pytest.fixture
def table() -> Iterator[PushT]:
    env = PushT()
    yield env
    env.close()


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    arena = world("push_t")
    env = arena.make(camera=False)
    return [recorded(arena, env, 100, stream(Purpose.RECORDING, 0, number)) for number in range(12)]


def played(env: PushT, steps: int, number: int = 0) -> tuple[list[State], list[np.ndarray], list[np.ndarray]]:
    """States, images and actions of a hand that pushes."""
    rng = stream(Purpose.RECORDING, 7, number)
    hand = recorder(steps, rng)
    observation, info = env.reset(seed=number)
    states, images, actions = [env.state], [observation["image"]], []
    for _ in range(steps):
        actions.append(hand(env, {**info, **observation}))
        observation, _, _, _, info = env.step(actions[-1])
        states.append(env.state)
        images.append(observation["image"])
    return states, images, actions


def test_a_state_is_read_back_as_it_was_set(table: PushT) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        numbers = np.concatenate((free_state(rng).numbers()[:5], rng.normal(0, 50, 4), rng.normal(0, 1, 1)))
        table.reset(options={"state": State.of(numbers)})
        assert table.state.numbers() == pytest.approx(numbers, abs=1e-9)


def test_a_state_that_was_left_is_gone_from_the_next_one(table: PushT) -> None:
    played(table, 30)
    table.reset(options={"state": MIDDLE})
    after_play = [table.step(np.full(2, 0.8))[4]["block"] for _ in range(6)]
    fresh = PushT()
    fresh.reset(options={"state": MIDDLE})
    assert np.array_equal(after_play, [fresh.step(np.full(2, 0.8))[4]["block"] for _ in range(6)])


def stepped_again(number: int) -> tuple[list[float], list[float]]:
    """By how many px and rad the block comes out elsewhere when each step of an episode is made once more, from its state alone."""
    first, second = PushT(), PushT()
    states, images, actions = played(first, 40, number)
    assert np.linalg.norm(np.subtract(states[0].block[:2], states[-1].block[:2])) > 5, "something was pushed"
    shifts, turns = [], []
    for t in range(40):
        observation, _ = second.reset(options={"state": states[t]})
        assert np.array_equal(observation["image"], images[t])
        second.step(actions[t])
        assert second.state.pusher == pytest.approx(states[t + 1].pusher, abs=1e-9)
        shifts.append(np.abs(np.subtract(second.state.block[:2], states[t + 1].block[:2])).max())
        turns.append(abs(wrapped(second.state.block[2] - states[t + 1].block[2])))
    return shifts, turns


def test_a_step_from_a_set_state_is_the_step_of_the_simulation_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.worlds.push_t_recorder.SPEED", QUICK)
    for number in range(4):
        shifts, turns = stepped_again(number)
        assert max(shifts) <= 0.2
        assert max(turns) < 0.002


def test_hands_that_stay_in_touch_seldom_make_a_difference_to_a_step_from_a_set_state() -> None:
    """What Chipmunk keeps of a contact that goes on is no part of a state."""
    shifts, turns = map(np.concatenate, zip(*map(stepped_again, range(4)), strict=True))
    assert np.quantile(shifts, 0.95) < 0.1
    assert np.quantile(turns, 0.95) < 0.002


def test_the_simulator_itself_does_the_same_with_absolute_targets(table: PushT) -> None:
    original = gym_pusht().PushTEnv()
    original.reset(options={"reset_to_state": [100.0, 120.0, 300.0, 260.0, 1.2]})
    x, y, angle = (*original.block.position, original.block.angle)
    table.reset(options={"state": State(pusher=tuple(original.agent.position), block=(x, y, wrapped(angle)))})
    for move in np.random.default_rng(3).uniform(-0.2, 1.0, (25, 2)):
        target = np.clip(np.array(original.agent.position) + 100.0 * move, LOW, HIGH)
        original.step(target)
        table.step(move)
        assert table.state.block[:2] == pytest.approx(tuple(original.block.position), abs=1e-6)
        assert table.state.pusher == pytest.approx(tuple(original.agent.position), abs=1e-6)
    assert math.dist(table.state.block[:2], (x, y)) > 20


def test_an_action_means_the_same_anywhere_and_keeps_the_pusher_inside_the_walls(table: PushT) -> None:
    moves = []
    for place in ((100.0, 100.0), (60.0, 300.0)):
        table.reset(options={"state": State(pusher=place, block=(400.0, 300.0, 0.0))})
        table.step(np.array([0.5, -0.3]))
        moves.append(np.subtract(table.state.pusher, place))
    assert moves[0] == pytest.approx(moves[1], abs=1e-9)
    assert moves[0][0] > 5
    assert moves[0][1] == pytest.approx(-0.6 * moves[0][0])
    for _ in range(15):
        observation, *_ = table.step(np.array([-1.0, -1.0]))
    assert observation["agent"] == pytest.approx([LOW, LOW], abs=0.5)


def test_the_environment_keeps_gymnasiums_contract() -> None:
    check_env(PushT(camera=False), skip_render_check=True)


@pytest.mark.parametrize("bad", [[0.1], [0.1, 0.2, 0.3], [np.nan, 0.0]])
def test_a_bad_action_is_refused(table: PushT, bad: list[float]) -> None:
    table.reset(seed=0)
    with pytest.raises(ValueError, match="2 finite numbers"):
        table.step(np.array(bad))


@pytest.mark.parametrize("bad", [[1.0] * 9, [np.inf] * 10])
def test_a_bad_state_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="10 finite numbers"):
        State.of(bad)


def test_the_picture_shows_pusher_and_block_where_they_are_and_no_target(table: PushT) -> None:
    observation, info = table.reset(options={"state": State(pusher=(100.0, 120.0), block=(256.0, 200.0, math.pi / 2))})
    image = observation["image"].astype(int)
    blue = (image[..., 2] - image[..., 0]) > 80
    assert np.argwhere(blue).mean(0) == pytest.approx([120 / 8 - 0.5, 100 / 8 - 0.5], abs=0.5)
    block = (image.sum(-1) < 550) & ~blue
    block[[0, -1]] = block[:, [0, -1]] = False
    assert np.argwhere(block).mean(0) == pytest.approx(np.array([200.0, 256.0 - 45.0]) / 8 - 0.5, abs=1.0), "the T lies to the left"
    assert not ((image[..., 1] - image[..., 0] > 15) & (image[..., 1] - image[..., 2] > 15)).any(), "nothing green"
    assert np.array_equal(observation["agent"], info["pusher"])
    assert image[32, 40:50].min() == 255


def test_a_table_without_a_camera_goes_the_same_way_in_the_dark(table: PushT) -> None:
    dark = PushT(camera=False)
    for env in (table, dark):
        env.reset(options={"state": MIDDLE})
        for _ in range(5):
            observation, _, terminated, truncated, _ = env.step(np.array([1.0, 0.6]))
            assert not terminated
            assert not truncated
    assert dark.state == table.state
    assert not observation["image"].any()


def test_the_geometry_is_the_simulators(table: PushT) -> None:
    table.reset(options={"state": MIDDLE})
    body = table.simulator.block
    placed = [tuple(body.local_to_world(v)) for shape in body.shapes for v in shape.get_vertices()]
    assert np.sort(np.round(placed, 6), axis=0) == pytest.approx(np.sort(np.round(corners(MIDDLE.block), 6), axis=0))
    assert tuple(body.center_of_gravity) == pytest.approx(tuple(CENTRE))
    assert tuple(body.local_to_world(body.center_of_gravity)) == pytest.approx(tuple(centre_of(MIDDLE.block)))
    grid = np.random.default_rng(0).uniform(150, 400, (200, 2))
    nearest = [min(shape.point_query(tuple(p)).distance for shape in body.shapes) for p in grid]
    assert clearance(grid, MIDDLE.block) == pytest.approx(np.maximum(nearest, 0.0), abs=1e-5)


@pytest.mark.parametrize("spot", [0, 4, 10, 16, 20, 31])
def test_a_push_does_what_the_hand_expects(table: PushT, spot: int) -> None:
    turn = rotation(MIDDLE.block[2])
    inward = turn @ SPOTS[spot, 2:]
    begin = np.array(MIDDLE.block[:2]) + turn @ SPOTS[spot, :2] - RADIUS * inward
    table.reset(options={"state": State(pusher=tuple(begin.tolist()), block=MIDDLE.block)})
    for _ in range(2):
        table.step(0.1 * inward)
    moved = turn.T @ (centre_of(table.state.block) - centre_of(MIDDLE.block))
    turned = math.sqrt(3000.0) * (table.state.block[2] - MIDDLE.block[2])
    twist = np.array([*moved, turned])
    assert np.linalg.norm(twist) > 2
    assert twist @ TWISTS[spot] / np.linalg.norm(twist) / np.linalg.norm(TWISTS[spot]) > 0.98


def test_wandering_is_blind_smooth_and_inside_the_limits() -> None:
    actions = wander(400, np.random.default_rng(0))
    assert actions.shape == (400, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    assert (actions[1:] * actions[:-1]).sum(1).mean() > 0.5 * (actions**2).sum(1).mean()
    assert not np.array_equal(actions, wander(400, np.random.default_rng(1)))


def test_in_most_stretches_the_block_moves_and_in_many_it_turns(episodes: list[Episode]) -> None:
    poses = np.stack([e.signals["block"] for e in episodes]).astype(float)
    centres = np.array([[centre_of(pose) for pose in episode] for episode in poses])
    angles = np.unwrap(poses[..., 2], axis=1)
    moved = np.linalg.norm(centres[:, 25:] - centres[:, :-25], axis=-1)
    turned = np.abs(angles[:, 25:] - angles[:, :-25])
    assert (moved > 5).mean() > 0.65
    assert (moved > 20).mean() > 0.5
    assert (turned > math.pi / 18).mean() > 0.5
    assert centres.min() > 20, "the block stays inside the walls"
    assert centres.max() < 492


def test_a_recording_depends_on_its_seed_alone(tmp_path: Path, episodes: list[Episode]) -> None:
    store = record(world("push_t"), tmp_path / "store", episodes=2, steps=100)
    for number in range(2):
        for name in ("agent", "move", "block", "pusher"):
            assert np.array_equal(store[number].signals[name], episodes[number].signals[name])
        require_live_cameras(store[number], SCHEMA)


@pytest.mark.parametrize("hard", [False, True])
def test_scenes_are_free_apart_and_near_or_far(hard: bool) -> None:
    arena = world("push_t")
    for number in range(30):
        scene = arena.scene(np.random.default_rng(number), hard=hard)
        start, goal = State.of(scene.start), State.of(scene.goal)
        assert scene.hard == hard == is_hard(start, goal)
        assert is_free(start)
        assert is_free(goal)
        assert arena.distance({"pusher": start.pusher, "block": start.block}, scene) >= 2.0
        assert Scene.from_json(scene.to_json()) == scene


def test_distance_is_that_of_the_fields_success() -> None:
    goal = State(pusher=(100.0, 100.0), block=(250.0, 250.0, 3.1))
    assert apart((100.0, 100.0), (250.0, 250.0, 3.1), goal) == 0.0
    assert apart((112.0, 100.0), (250.0, 266.0, 3.1), goal) == pytest.approx(1.0)
    assert apart((112.0, 100.0), (250.0, 250.0, 3.1), goal) == pytest.approx(0.6)
    assert apart((100.0, 100.0), (250.0, 250.0, -3.1), goal) == pytest.approx((2 * math.pi - 6.2) / (math.pi / 9))
    assert apart((100.0, 100.0), (250.0, 250.0, 3.1 - math.pi / 6), goal) == pytest.approx(1.5)


def test_start_and_goal_of_a_scene_are_shown_and_reached() -> None:
    arena = world("push_t")
    env = arena.make()
    scene = arena.scene(np.random.default_rng(0), hard=True)
    goal = arena.goal(env, scene)
    at_goal = arena.snapshot(env)
    assert at_goal.state == pytest.approx(scene.goal, abs=1e-9)
    observation, info = arena.start(env, scene)
    assert arena.distance(info, scene) > 2
    assert not np.array_equal(observation["image"], goal["image"])
    between = arena.between(arena.snapshot(env), at_goal)
    assert between.hard
    assert between.goal == at_goal.state


def test_excursions_begin_where_an_episode_was() -> None:
    manifest = draw_manifest(Protocol.standard("push_t", episodes=2))
    arena = world("push_t")
    env = arena.make(camera=False)
    for scene in manifest.scenes:
        _, info = arena.start(env, scene)
        assert arena.distance(info, scene) > 1.0


def test_the_package_is_imported_only_for_an_environment_and_its_absence_is_explained() -> None:
    code = """
import sys
import tacit.worlds
heavy = {"gym_pusht", "pymunk", "pygame", "cv2", "ogbench", "mujoco"} & set(sys.modules)
assert not heavy, heavy
sys.modules["gym_pusht"] = None
try:
    tacit.worlds.world("push_t").make()
except ImportError as error:
    assert "pip install 'tacit[worlds]'" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
