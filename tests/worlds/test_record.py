"""Recordings: the same for the same seed, continued where they stopped, refused when the camera is dead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from line_world import LineWorld, gradient

from tacit.data import Episode, EpisodeStore, StoreError
from tacit.worlds import FrozenCamera, record, world
from tacit.worlds.record import require_live_cameras
from tacit.worlds.two_room import SCHEMA, Layout, moved


def assert_same(first: EpisodeStore, second: EpisodeStore) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one.time, two.time)
        for name in first.schema.by_name:
            assert np.array_equal(one.signals[name], two.signals[name]), name


def test_time_runs_observation_action_observation(tmp_path: Path) -> None:
    store = record(world("two_room_fixed"), tmp_path / "store", episodes=3, steps=30, seed=5)
    assert store.schema == SCHEMA
    assert store.source == {"world": "two_room_fixed", "policy": "recorder", "steps": 30, "seed": 5}
    assert store.lengths.tolist() == [30, 30, 30]
    for episode in store:
        position, move = episode.signals["position"], episode.signals["move"]
        for t in range(30):
            assert position[t + 1] == pytest.approx(moved(position[t], move[t], Layout()), abs=1e-4)
        assert np.diff(episode.time) == pytest.approx(0.1)


def test_episode_i_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    arena = world("two_room")
    few = record(arena, tmp_path / "few", episodes=2, steps=8, seed=1)
    record(arena, tmp_path / "many", episodes=1, steps=8, seed=1)
    many = record(arena, tmp_path / "many", episodes=4, steps=8, seed=1)
    whole = record(arena, tmp_path / "whole", episodes=4, steps=8, seed=1)
    assert_same(many, whole)
    assert np.array_equal(few[1].signals["image"], whole[1].signals["image"])
    starts = {tuple(e.signals["position"][0]) for e in whole} | {
        tuple(e.signals["position"][0]) for e in record(arena, tmp_path / "other", episodes=4, steps=8, seed=2)
    }
    assert len(starts) == 8, "every episode starts somewhere else, and so does every seed"


def test_processes_side_by_side_record_the_same_store(tmp_path: Path) -> None:
    whole = record(world("two_room"), tmp_path / "whole", episodes=7, steps=8, seed=1)
    stopped = []

    def stop(done: int, total: int) -> None:
        stopped.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(world("two_room"), tmp_path / "parts", episodes=7, steps=8, seed=1, jobs=2, progress=stop)
    assert stopped == [1, 2]
    assert len(EpisodeStore(tmp_path / "parts")) == 2, "what was simulated ahead is not in it"
    assert_same(record(world("two_room"), tmp_path / "parts", episodes=7, steps=8, seed=1, jobs=2), whole)


def test_a_recording_goes_on_after_an_interrupt(tmp_path: Path) -> None:
    calls = []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(world("two_room"), tmp_path / "store", episodes=4, steps=8, seed=1, progress=interrupt)
    assert len(EpisodeStore(tmp_path / "store")) == 2
    store = record(world("two_room"), tmp_path / "store", episodes=4, steps=8, seed=1, progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert_same(store, record(world("two_room"), tmp_path / "whole", episodes=4, steps=8, seed=1))


def test_a_finished_recording_is_left_alone(tmp_path: Path) -> None:
    record(world("two_room"), tmp_path / "store", episodes=3, steps=4, seed=1)
    assert len(record(world("two_room"), tmp_path / "store", episodes=2, steps=4, seed=1)) == 3


@pytest.mark.parametrize("other", [{"seed": 2}, {"steps": 9}, {"name": "two_room_fixed"}])
def test_another_recording_is_never_continued(tmp_path: Path, other: dict[str, int | str]) -> None:
    record(world("two_room"), tmp_path / "store", episodes=1, steps=8, seed=1)
    settings = {"steps": 8, "seed": 1, **other}
    name = str(settings.pop("name", "two_room"))
    with pytest.raises(StoreError, match=r"holds another recording.*choose another folder"):
        record(world(name), tmp_path / "store", episodes=2, **settings)  # type: ignore[arg-type]
    assert len(EpisodeStore(tmp_path / "store")) == 1


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="already exists"):
        record(world("two_room"), tmp_path, episodes=1)


@pytest.mark.parametrize("bad", [{"episodes": 0}, {"steps": 0}, {"seed": -1}, {"jobs": 0}])
def test_bad_numbers_are_refused_before_anything_is_made(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        record(world("two_room"), tmp_path / "store", **{"episodes": 1, **bad})
    assert not (tmp_path / "store").exists()


def test_a_world_with_several_actions_and_a_disturbance(tmp_path: Path) -> None:
    arena = LineWorld()
    store = record(arena, tmp_path / "store", episodes=2, steps=20, seed=0)
    episode = store[1]
    push, gains, x, wind = (episode.signals[name] for name in ("push", "gains", "x", "wind"))
    assert push.shape == (20,)
    assert gains.shape == (20, 2)
    assert (np.abs(wind[1:]) > 0).all()
    assert np.diff(x) == pytest.approx(push * (1 + gains.sum(1)) + wind[1:], abs=1e-5)
    assert np.array_equal(episode.signals["camera"][7], gradient(x[7]))
    assert [env.closed for env in arena.made] == [True]


def test_a_frozen_camera_stops_the_recording(tmp_path: Path) -> None:
    arena = LineWorld(frame_of=lambda x: gradient(0.0))
    with pytest.raises(FrozenCamera, match="'camera': 20 of 20 frames repeat the one before"):
        record(arena, tmp_path / "store", episodes=2, steps=20)
    assert arena.made[0].closed
    assert len(EpisodeStore(tmp_path / "store")) == 0


def test_a_blank_frame_stops_the_recording(tmp_path: Path) -> None:
    with pytest.raises(FrozenCamera, match="frame 0 has one colour only"):
        record(LineWorld(frame_of=lambda x: np.full((8, 8, 1), 7, np.uint8)), tmp_path / "store", episodes=1, steps=5)


def line_episode(x: np.ndarray, seen: np.ndarray) -> Episode:
    frames = np.stack([gradient(v) for v in seen])
    return Episode(signals={"x": x.astype(np.float32), "camera": frames}, time=np.arange(len(x), dtype=float))


def test_a_camera_at_less_than_half_the_rate_is_refused_and_a_still_world_is_not() -> None:
    x = 0.011 * np.arange(13)
    schema = LineWorld.schema
    require_live_cameras(line_episode(x, x), schema)
    require_live_cameras(line_episode(x, x[np.arange(13) // 2 * 2]), schema)  # every second frame is new
    with pytest.raises(FrozenCamera, match="8 of 12"):
        require_live_cameras(line_episode(x, x[np.arange(13) // 3 * 3]), schema)
    require_live_cameras(line_episode(np.zeros(13), np.zeros(13)), schema)


def test_what_comes_to_rest_is_no_frozen_camera() -> None:
    """It creeps on by far less than a grey level at most of the moments."""
    steps = np.r_[np.full(4, 0.1), 1e-5 * np.ones(16)]
    x = np.cumsum(np.r_[0.0, steps])
    require_live_cameras(line_episode(x, x), LineWorld.schema)
    with pytest.raises(FrozenCamera, match="4 of 4"):
        require_live_cameras(line_episode(x, np.zeros(21)), LineWorld.schema)


def test_a_single_blank_frame_of_any_colour_is_found() -> None:
    episode = record_frames()
    episode.signals["image"][4] = (244, 242, 236)
    with pytest.raises(FrozenCamera, match="frame 4"):
        require_live_cameras(episode, SCHEMA)


def record_frames() -> Episode:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (9, 64, 64, 3)).astype(np.uint8)
    return Episode(signals={"image": frames, "position": rng.random((9, 2), np.float32)}, time=np.arange(9.0))
