"""The success table measures each policy once, and all of them anew when the planner plans otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.tables.success import NOTHING, PLANNER, RANDOM, Options, file_name, members, minutes, table, tried

from tacit.evaluation.baselines import NoOpPolicy, RandomPolicy
from tacit.evaluation.protocol import Policy, Protocol, draw_manifest
from tacit.worlds import world


def test_a_policy_is_measured_once_and_anew_when_the_plan_is_another() -> None:
    arena = world("two_room")
    manifest = draw_manifest(Protocol(world="two_room", episodes=3, budget=4))
    made: list[str] = []

    def policy(name: str) -> Policy:
        made.append(name)
        return NoOpPolicy(arena.schema) if name == NOTHING else RandomPolicy(arena)

    makers = {name: lambda name=name: policy(name) for name in (PLANNER, RANDOM, NOTHING)}
    found: dict[str, Any] = {"digest": manifest.digest}
    tried(manifest, makers, {"cost": "a"}, found, lambda: None)
    assert made == [PLANNER, RANDOM, NOTHING]
    assert "planner_ahead" in found[RANDOM]
    tried(manifest, makers, {"cost": "a"}, found, lambda: None)
    assert len(made) == 3
    tried(manifest, makers, {"cost": "b"}, found, lambda: None)
    assert made[3:] == [PLANNER, RANDOM, NOTHING]
    assert found[PLANNER]["plan"] == {"cost": "b"}
    assert found["digest"] == manifest.digest

    recording = {"episodes": 3, "steps": 100, "seconds": None}
    results = {"world": "two_room", "minutes": 1, "size": "s", "episodes": 3, "cpu": "one", "recording": recording}
    shown = table(results | {"seeds": {"0": {"protocols": {"standard": found}}}}, "two_room-m")
    assert "on one thread at size `s`" in shown
    seeds = {"seeds": {"0": {"protocols": {"standard": found}}}}
    assert "on one thread for each of 2 models" in table(results | {"members": 2} | seeds, "two_room-m")
    assert "on one H200 for all 2 models" in table(results | {"members": 2, "device": "one H200"} | seeds, "two_room-m")
    assert "(two_room-m.svg)" in shown
    assert shown.count("not measured") == 5 * 3 - 3
    several = table(results | {"members": 2, "seeds": {"0": {"protocols": {"standard": found}}}}, "two_room-m")
    assert "for each of 2 models that are asked together" in several


@pytest.mark.parametrize(
    ("options", "name", "models", "took"),
    [
        (Options(world="push_t"), "push_t", 2, 20.0),
        (Options(world="push_t", members=1), "push_t-s", 1, 30.0),
        (Options(world="push_t", members=1, residual=True), "push_t-s-residual", 1, 30.0),
        (Options(world="push_t", size="m", members=1, minutes=7.0), "push_t-m", 1, 7.0),
        (Options(world="reacher", minutes=10.0), "reacher", 1, 10.0),
        (Options(world="reacher", members=2), "reacher-s-2-members", 2, 20.0),
    ],
)
def test_every_kind_of_model_has_a_table_of_its_own(options: Options, name: str, models: int, took: float) -> None:
    assert (file_name(options), members(options), minutes(options)) == (name, models, took)
