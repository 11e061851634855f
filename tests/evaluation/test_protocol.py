"""The protocol: an oracle scores 100 %, doing nothing 0 %, and no policy learns more than it may."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from two_room_policies import Oracle, seen_position

from tacit.evaluation.baselines import NoOpPolicy, RandomPolicy
from tacit.evaluation.outcome import rates
from tacit.evaluation.protocol import Manifest, ManifestError, Protocol, draw_manifest, run
from tacit.signals import Schema
from tacit.worlds import WORLDS, Purpose, Scene, record, stream, world
from tacit.worlds.two_room import SCHEMA, Layout, TwoRoomWorld, moved
from tacit.worlds.world import Env, Samples

SMALL = Protocol(world="two_room", episodes=12, budget=6, seed=3)


class Still:
    """Remembers everything it is given, and does nothing."""

    def __init__(self, action: Any = (0.0, 0.0)) -> None:
        self.action = action
        self.goals: list[Mapping[str, NDArray[Any]]] = []
        self.seeds: list[int] = []
        self.seen: list[Mapping[str, NDArray[Any]]] = []

    def reset(self, goals: Mapping[str, NDArray[Any]], seed: int) -> None:
        self.goals.append(goals)
        self.seeds.append(seed)

    def act(self, observations: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        self.seen.append(observations)
        return np.tile(np.array(self.action, np.float32), (len(observations["image"]), 1))


@pytest.mark.parametrize("name", ["two_room", "two_room_fixed"])
def test_an_oracle_reaches_every_goal_and_a_statue_none(name: str) -> None:
    manifest = draw_manifest(Protocol(world=name, episodes=40, budget=90, seed=1))
    best = run(manifest, Oracle(manifest), batch=25)
    assert best.success.all()
    assert (best.distance_end < 0.2).all()
    worst = run(manifest, NoOpPolicy(SCHEMA))
    assert not worst.success.any()
    assert not worst.reached_ever.any()
    assert (worst.distance == worst.distance[:, :1]).all()
    assert np.array_equal(worst.distance[:, 0], best.distance[:, 0]), "both start from the same places"
    assert (worst.distance[:, 0] >= 9.0 - 1e-5).all()
    found = rates(best)
    assert found.hard is not None
    assert found.easy is not None
    assert (found.overall.successes, found.hard.episodes, found.easy.episodes) == (40, 20, 20)


def test_passing_through_the_goal_is_no_success() -> None:
    scene = Scene(start=(10.0, 50.0), goal=(10.0, 30.0), layout={"wall": 32.0, "door": 24.0}, hard=False)
    manifest = Manifest(protocol=Protocol(world="two_room", episodes=1, budget=20), scenes=(scene,))
    outcome = run(manifest, Still((0.0, -2.4)))
    assert outcome.reached_ever.tolist() == [True]
    assert outcome.success.tolist() == [False]
    expected = [abs(max(50.0 - 2.4 * t, 5.0) - 30.0) for t in range(21)]
    assert outcome.distance[0] == pytest.approx(expected, abs=1e-4)


def test_a_policy_sees_observations_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an environment that shows its labels to everybody gives a policy none."""

    class Leaky(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            observation, info = self.env.reset(**kwargs)
            return {**observation, **info, "success": True}, info

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            observation, _, _, _, info = self.env.step(action)
            return {**observation, **info, "success": True}, 1.0, False, False, info

    class LeakyWorld:
        inner = TwoRoomWorld(name="leaky")
        name, tolerance, unit, schema = "leaky", 4.5, "px", SCHEMA
        scene, start, goal, distance, wander = inner.scene, inner.start, inner.goal, inner.distance, inner.wander

        def make(self, *, camera: bool = True) -> Env:
            return Leaky(self.inner.make(camera=camera))

    monkeypatch.setitem(WORLDS, "leaky", LeakyWorld())  # type: ignore[arg-type]
    policy = Still()
    run(draw_manifest(replace(SMALL, world="leaky")), policy)
    assert len(policy.seen) == SMALL.budget
    for given_to_it in (*policy.goals, *policy.seen):
        assert set(given_to_it) == {"image"}
        assert given_to_it["image"].shape == (12, 64, 64, 3)
        assert given_to_it["image"].dtype == np.uint8


def test_starts_and_goals_are_shown_as_the_scenes_say() -> None:
    manifest = draw_manifest(SMALL)
    policy = Still()
    run(manifest, policy, batch=5)
    assert [len(goals["image"]) for goals in policy.goals] == [5, 5, 2]
    assert len(set(policy.seeds)) == 3
    goals = np.concatenate([seen_position(goals["image"]) for goals in policy.goals])
    starts = np.concatenate([seen_position(policy.seen[i]["image"]) for i in (0, 6, 12)])
    assert goals == pytest.approx(np.array([scene.goal for scene in manifest.scenes]), abs=0.1)
    assert starts == pytest.approx(np.array([scene.start for scene in manifest.scenes]), abs=0.1)


def test_batches_change_nothing() -> None:
    manifest = draw_manifest(replace(SMALL, budget=40))
    whole, parts = (run(manifest, Oracle(manifest), batch=batch, keep=[4, 9]) for batch in (100, 5))
    assert np.array_equal(whole.distance, parts.distance)
    for one, two in zip(whole.traces, parts.traces, strict=True):
        assert one.episode == two.episode
        assert np.array_equal(one.observations["image"], two.observations["image"])
        assert np.array_equal(one.actions, two.actions)


def test_who_looks_at_nothing_is_drawn_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    make, asked = TwoRoomWorld.make, []

    def counting(arena: TwoRoomWorld, *, camera: bool = True) -> Any:
        asked.append(camera)
        return make(arena, camera=camera)

    monkeypatch.setattr(TwoRoomWorld, "make", counting)
    manifest = draw_manifest(Protocol(world="two_room", episodes=3, budget=6, seed=2))
    blind, seeing = (run(manifest, RandomPolicy(world("two_room")), camera=camera) for camera in (False, True))
    assert asked[-6:] == [False] * 3 + [True] * 3
    assert np.array_equal(blind.distance, seeing.distance)


def test_kept_episodes_are_whole_and_aligned() -> None:
    manifest = draw_manifest(replace(SMALL, budget=20))
    calls: list[tuple[int, int]] = []
    outcome = run(manifest, Oracle(manifest), keep=[7, 2], batch=4, progress=lambda *call: calls.append(call))
    assert [trace.episode for trace in outcome.traces] == [2, 7]
    for trace in outcome.traces:
        scene = manifest.scenes[trace.episode]
        path = trace.labels["position"]
        assert trace.observations["image"].shape == (21, 64, 64, 3)
        assert trace.actions.shape == (20, 2)
        assert seen_position(trace.observations["image"]) == pytest.approx(path, abs=0.1)
        assert seen_position(trace.goal["image"]) == pytest.approx(scene.goal, abs=0.1)
        assert np.linalg.norm(path - scene.goal, axis=1) == pytest.approx(outcome.distance[trace.episode], abs=1e-4)
        for t in range(20):
            assert path[t + 1] == pytest.approx(moved(path[t], trace.actions[t], Layout(**scene.layout)), abs=1e-3)
    assert calls[0] == (4, 240)
    assert calls[-1] == (240, 240)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert outcome.seconds_per_action > 0


def test_a_policy_that_reuses_its_buffer_does_not_rewrite_history() -> None:
    class Counting(Still):
        buffer = np.zeros((12, 2), np.float32)

        def act(self, observations: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
            self.buffer += 0.125
            return self.buffer

    outcome = run(draw_manifest(SMALL), Counting(), keep=[0])
    assert outcome.traces[0].actions[:, 0].tolist() == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75]


@pytest.mark.parametrize(
    ("action", "message"),
    [((0.0,), r"shape \(12, 1\)"), ((np.nan, 0.0), r"in episode 0; .* must be finite"), ((np.inf, 0.0), "finite")],
)
def test_bad_actions_are_refused(action: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(draw_manifest(SMALL), Still(action))


@pytest.mark.parametrize(("settings", "message"), [({"keep": [12]}, "episodes 0 to 11"), ({"batch": 0}, "batch 0")])
def test_bad_settings_of_a_run_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(draw_manifest(SMALL), Still(), **settings)


def test_environments_are_closed_even_when_the_policy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("tacit.worlds.two_room.TwoRoom.close", lambda env: closed.append(env))
    with pytest.raises(ValueError, match="finite"):
        run(draw_manifest(SMALL), Still((np.nan, 0.0)), batch=5)
    assert len(closed) == 5


def test_a_world_that_ends_an_episode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(TwoRoomWorld):  # type: ignore[misc]
        schema: Schema = SCHEMA

        def make(self, *, camera: bool = True) -> Env:
            return gymnasium.wrappers.TimeLimit(super().make(camera=camera), 3)

        def start(self, env: Env, scene: Scene) -> tuple[Samples, Samples]:
            return super().start(env, scene)

    monkeypatch.setitem(WORLDS, "short", Short(name="short"))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="'short' ended an episode"):
        run(draw_manifest(replace(SMALL, world="short")), Still())


@settings(max_examples=40)
@given(episodes=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_enough_scenes_are_hard_and_no_more_than_asked(episodes: int, share: float, seed: int) -> None:
    manifest = draw_manifest(Protocol(world="two_room", episodes=episodes, budget=1, seed=seed, hard_share=share))
    assert len(manifest.scenes) == episodes
    assert share * episodes - 1e-6 <= manifest.hard.sum() < share * episodes + 1


def test_an_excursion_is_a_stretch_of_the_recorders_own_way() -> None:
    """Between start and goal lie `offset` steps of at most `MAX_NORM`, in one layout, and an end that was not there from the beginning."""
    manifest = draw_manifest(Protocol.standard("two_room", episodes=30, seed=1))
    far = [np.hypot(*np.subtract(scene.goal, scene.start)) for scene in manifest.scenes]
    assert min(far) > 4.5
    assert max(far) <= 25 * 2.45 + 1e-4
    assert 10 < np.mean(far) < 45
    assert len({tuple(scene.layout.values()) for scene in manifest.scenes}) == 30
    rooms = [Layout(**scene.layout) for scene in manifest.scenes]
    assert manifest.hard.tolist() == [r.room(s.start) != r.room(s.goal) for r, s in zip(rooms, manifest.scenes, strict=True)]
    assert draw_manifest(Protocol.standard("two_room", episodes=5, seed=1)).scenes == manifest.scenes[:5]


def test_long_excursions_go_further() -> None:
    def mean(protocol: Protocol) -> float:
        return float(np.mean([np.hypot(*np.subtract(s.goal, s.start)) for s in draw_manifest(protocol).scenes]))

    assert mean(Protocol.long("two_room", episodes=40)) > mean(Protocol.standard("two_room", episodes=40))


def test_what_was_chosen_of_a_protocol_comes_back_from_its_file(tmp_path: Path) -> None:
    for protocol in (Protocol.standard("two_room", episodes=2), Protocol.strict("two_room", episodes=2), SMALL):
        manifest = draw_manifest(protocol)
        manifest.save(tmp_path / "manifest.json")
        assert Manifest.load(tmp_path / "manifest.json") == manifest
    assert "offset" not in (tmp_path / "manifest.json").read_text(), "the file is what it was before there was a choice"


def test_passing_through_is_enough_where_the_protocol_says_so() -> None:
    scene = Scene(start=(10.0, 50.0), goal=(10.0, 30.0), layout={"wall": 32.0, "door": 24.0}, hard=False)
    protocol = Protocol(world="two_room", episodes=1, budget=20, hold=0)
    assert run(Manifest(protocol=protocol, scenes=(scene,)), Still((0.0, -2.4))).success.tolist() == [True]


def test_more_episodes_keep_the_first_ones_and_other_seeds_share_none() -> None:
    few, many, other = (draw_manifest(replace(SMALL, episodes=n, seed=s)) for n, s in ((5, 3), (12, 3), (12, 4)))
    assert many.scenes[:5] == few.scenes
    assert draw_manifest(SMALL) == many
    assert not {scene.start for scene in many.scenes} & {scene.start for scene in other.scenes}


def test_no_scene_is_in_a_recording_of_the_same_seed(tmp_path: Path) -> None:
    store = record(world("two_room"), tmp_path / "store", episodes=12, steps=1, seed=3)
    recorded = {tuple(episode.signals["position"][0].tolist()) for episode in store}
    scenes = {tuple(np.float32(scene.start).tolist()) for scene in draw_manifest(SMALL).scenes}
    assert not recorded & scenes


def test_recording_scenes_and_policies_draw_from_streams_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, list[tuple[Purpose, int, int]]] = {"record": [], "protocol": []}

    def spy(room: str) -> Callable[[Purpose, int, int], np.random.Generator]:
        def remembered(purpose: Purpose, seed: int, number: int) -> np.random.Generator:
            used[room].append((purpose, seed, number))
            return stream(purpose, seed, number)

        return remembered

    monkeypatch.setattr(sys.modules[record.__module__], "stream", spy("record"))
    monkeypatch.setattr("tacit.evaluation.protocol.stream", spy("protocol"))
    record(world("two_room"), tmp_path / "store", episodes=12, steps=1, seed=3)
    run(draw_manifest(SMALL), Still(), batch=5)
    assert len(set(used["record"])) == 12
    assert len(set(used["protocol"])) == len(used["protocol"]) == 12 + 3
    assert not set(used["record"]) & set(used["protocol"])


def test_a_manifest_comes_back_from_its_file(tmp_path: Path) -> None:
    manifest = draw_manifest(SMALL)
    manifest.save(tmp_path / "manifest.json")
    loaded = Manifest.load(tmp_path / "manifest.json")
    assert loaded == manifest
    assert loaded.digest == manifest.digest
    assert manifest.digest != draw_manifest(replace(SMALL, seed=4)).digest


TAMPERINGS = {
    "an easier budget": lambda v: v["protocol"].update(budget=7),
    "another world": lambda v: v["protocol"].update(world="two_room_fixed"),
    "a nearer start": lambda v: v["scenes"][0].update(start=v["scenes"][0]["goal"]),
    "a moved door": lambda v: v["scenes"][0]["layout"].update(door=30.0),
    "easy called hard": lambda v: v["scenes"][1].update(hard=not v["scenes"][1]["hard"]),
    "a scene left out": lambda v: v["scenes"].pop(),
    "a scene twice": lambda v: v["scenes"].append(v["scenes"][0]),
    "scenes in another order": lambda v: v["scenes"].reverse(),
    "the digest itself": lambda v: v.update(digest="0" * 64),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_changed_manifest_is_refused(tmp_path: Path, tamper: Any) -> None:
    path = tmp_path / "manifest.json"
    draw_manifest(SMALL).save(path)
    values = json.loads(path.read_text())
    tamper(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="has changed since it was saved"):
        Manifest.load(path)


def test_a_manifest_of_the_wrong_length_is_refused_whatever_its_digest(tmp_path: Path) -> None:
    manifest = draw_manifest(SMALL)
    replace(manifest, scenes=manifest.scenes[:-1]).save(tmp_path / "manifest.json")
    with pytest.raises(ManifestError):
        Manifest.load(tmp_path / "manifest.json")


HEAD = '{"format": "tacit-manifest", "version": '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a manifest"),
        ("[]", "is not a manifest"),
        ("{}", "is not a manifest"),
        ('{"format": "tacit-manifest", "version": 2, "digest": ""}', "version 2"),
        (
            '{"format": "tacit-manifest", "version": 1, "digest": "", "scenes": [], "protocol": {"world": "atlantis"}}',
            "no world 'atlantis'",
        ),
        (
            '{"format": "tacit-manifest", "version": 1, "digest": "", "scenes": [{"start": [0]}], "protocol": {"world": "two_room"}}',
            "scene",
        ),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=message):
        Manifest.load(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    "bad",
    [
        {"episodes": 0},
        {"budget": 0},
        {"seed": -1},
        {"hard_share": 1.1},
        {"hard_share": np.nan},
        {"world": "x"},
        {"offset": 0},
        {"hold": -1},
        {"hold": 7},
    ],
)
def test_a_bad_protocol_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|between 0 and|no world"):
        replace(SMALL, **bad)
