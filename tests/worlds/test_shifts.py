"""Shifts change what they say, from when they say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tacit.worlds import SHIFTS, ShiftedWorld, World, stream, world
from tacit.worlds.shifts import ONSET
from tacit.worlds.world import Purpose

ROOMS = world("two_room")
SCENE = ROOMS.scene(stream(Purpose.SCENES, 0, 0), hard=True)
STEPS = 40
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (STEPS, 2)).astype(np.float32)


def episode(arena: World, actions: NDArray[np.float32] = ACTIONS) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures and positions of one episode."""
    env = arena.make()
    try:
        arena.goal(env, SCENE)
        observation, info = arena.start(env, SCENE)
        pictures, positions = [observation["image"]], [info["position"]]
        for action in actions:
            observation, _, _, _, info = env.step(action)
            pictures.append(observation["image"])
            positions.append(info["position"])
    finally:
        env.close()
    return np.stack(pictures), np.stack(positions)


def shifted(name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return episode(ShiftedWorld(world=ROOMS, shift=SHIFTS[name]))


PLAIN = episode(ROOMS)
SEEN = ("colours", "dim", "noise", "camera", "nearer", "box")
LATE = ("frozen", "dropped")
GROWING = ("bias",)
DONE = ("gain-60", "gain-30", "gain+30", "gain+60", "delay", "broken")


def test_every_shift_is_tested() -> None:
    assert {*SEEN, *LATE, *GROWING, *DONE} == set(SHIFTS)


@pytest.mark.parametrize("name", SEEN)
def test_a_picture_changes_from_the_first_one_on_and_the_machine_does_not(name: str) -> None:
    pictures, positions = shifted(name)
    assert pictures.dtype == np.uint8
    assert pictures.shape == PLAIN[0].shape
    assert all((a != b).any() for a, b in zip(pictures, PLAIN[0], strict=True))
    assert np.array_equal(positions, PLAIN[1])


@pytest.mark.parametrize("name", LATE)
def test_pictures_arrive_late_or_never(name: str) -> None:
    pictures, positions = shifted(name)
    assert np.array_equal(positions, PLAIN[1])
    assert np.array_equal(pictures[0], PLAIN[0][0])
    age = [next(k for k in range(t + 1) if np.array_equal(pictures[t], PLAIN[0][t - k])) for t in range(STEPS + 1)]
    if name == "frozen":
        began = next(t for t, late in enumerate(age) if late)
        assert ONSET[0] <= began <= ONSET[1]
        assert age[began:] == list(range(1, STEPS + 2 - began))
    else:
        assert 0.3 < np.mean(np.array(age) > 0) < 0.7


@pytest.mark.parametrize("name", GROWING)
def test_a_bias_grows_from_nothing_and_the_machine_does_not_change(name: str) -> None:
    pictures, positions = shifted(name)
    assert np.array_equal(positions, PLAIN[1])
    off = (pictures.astype(int) - PLAIN[0]).mean((1, 2))
    assert not off[0].any()
    assert (np.diff(off[::8, 2]) > 0).all()
    assert off[-1, 2] > 10  # white stays white
    shade = PLAIN[0] < 180  # of what does not get as light as a picture can be, red gains most
    redder = (pictures[-1].astype(int) - PLAIN[0][-1])[shade[-1].all(-1)].mean(0)
    assert redder[0] > redder[2] + 5
    assert np.abs(off[-1]).max() < 60


@pytest.mark.parametrize("name", DONE)
def test_actions_do_something_else_and_pictures_are_of_what_is(name: str) -> None:
    pictures, positions = shifted(name)
    assert not np.array_equal(positions, PLAIN[1])
    assert np.array_equal(pictures[0], PLAIN[0][0])


def test_gains_and_delays_are_what_they_say() -> None:
    centre = np.full((3, 2), 0.2, np.float32)
    moves = {name: np.diff(episode(ShiftedWorld(world=ROOMS, shift=SHIFTS[name]), centre)[1], axis=0) for name in ("gain-60", "delay")}
    assert np.allclose(moves["gain-60"], 0.08, atol=1e-5)
    assert not moves["delay"].any()


def test_the_picture_of_the_goal_is_that_of_before() -> None:
    env = (arena := ShiftedWorld(world=ROOMS, shift=SHIFTS["colours"])).make()
    other = ROOMS.make()
    assert np.array_equal(arena.goal(env, SCENE)["image"], ROOMS.goal(other, SCENE)["image"])


def test_the_same_scene_is_disturbed_in_the_same_way_again() -> None:
    for name in ("noise", "box", "dropped"):
        assert np.array_equal(shifted(name)[0], shifted(name)[0])
    other = episode(ShiftedWorld(world=ROOMS, shift=SHIFTS["box"], seed=1))[0]
    assert not np.array_equal(other, shifted("box")[0])
