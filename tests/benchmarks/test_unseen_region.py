"""Logs without a region, and scenes that start or end in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.unseen_region import EDGE, KINDS, LEAST, cut, is_of, scenes, stretches

from tacit.data import Episode
from tacit.worlds import TwoRoomWorld, record, world


def test_what_is_left_was_never_in_the_region_and_is_as_it_was(tmp_path: Path) -> None:
    logs = record(TwoRoomWorld(name="two_room"), tmp_path / "logs", episodes=12, steps=100)
    left = cut(logs, tmp_path / "left")
    parts = [part for episode in logs for part in stretches(episode, logs.schema)]
    assert 0 < len(left) == len(parts)
    assert cut(logs, tmp_path / "left").path == left.path, "made once"
    starts = {episode.signals["position"][t].tobytes(): (episode, t) for episode in logs for t in range(episode.steps + 1)}
    for part in left:
        assert part.steps >= LEAST
        assert part.signals["position"][:, 1].max() <= EDGE
        episode, t = starts[np.asarray(part.signals["position"][0]).tobytes()]
        for name, length in (("position", part.steps + 1), ("image", part.steps + 1), ("move", part.steps)):
            assert np.array_equal(part.signals[name], episode.signals[name][t : t + length]), name
        assert np.array_equal(part.time, episode.time[t : t + part.steps + 1])


def test_an_episode_that_is_always_in_the_region_leaves_nothing() -> None:
    schema = world("two_room").schema
    signals = {s.name: np.full((61 - (s.name == "move"), *s.shape), 50, s.dtype) for s in schema.signals}
    assert not list(stretches(Episode(signals=signals, time=np.arange(61) / 10), schema))


def test_scenes_are_of_their_kind_and_no_other() -> None:
    for kind in KINDS:
        drawn = scenes(kind, 20, seed=3)
        assert len(drawn.scenes) == drawn.protocol.episodes == 20
        for scene in drawn.scenes:
            assert [other for other in KINDS if is_of(other, scene)] == [kind]
            assert scene.layout["door"] < EDGE
