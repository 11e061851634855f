"""Planners by their names: what a task sets reaches the planner that it names, and nothing else does."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from linear_worlds import LinearWorld

from tacit.contracts import Planner
from tacit.planning import PlanSettings, planner_for
from tacit.planning.planner_kinds import KINDS, OF_SEARCHES

UNUSUAL: dict[str, Any] = {"candidates": 88, "iterations": 7, "initial_std": 0.7, "noise_correlation": 0.3, "local_share": 0.2}


@pytest.mark.parametrize("name", KINDS)
def test_what_a_task_sets_reaches_the_planner_that_it_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, told = KINDS[name], {}

    def make(model: object, config: Any, seed: int) -> Planner:
        told.update(asdict(config), seed=seed)
        return kind.make(model, config, seed=seed)

    monkeypatch.setitem(KINDS, name, replace(kind, make=make))  # type: ignore[arg-type]
    settings = PlanSettings(planner=name, **{s: UNUSUAL[s] for s in kind.takes}, proposals=0 if kind.ways is None else 88)
    assert isinstance(planner_for(LinearWorld(), settings, seed=3), Planner)
    config = asdict(kind.config())
    expected = config | {s: UNUSUAL[s] for s in kind.takes if s in config} | {"seed": 3}
    assert told == expected | ({"elites": 8} if "elites" in expected else {})


def test_what_planners_lack_are_settings_of_tasks() -> None:
    assert set(OF_SEARCHES) <= set(asdict(PlanSettings()))
    assert all(set(kind.lacks) <= set(OF_SEARCHES) for kind in KINDS.values())
