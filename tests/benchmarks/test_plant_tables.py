"""The table of a plant in closed loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.plants.scenes import KINDS, scenes
from benchmarks.tables.plants import TACIT, code, pooled, ratio, table

from tacit.worlds.plants import SimulatedPlant
from tacit.worlds.plants.four_tank import FOUR_TANK


def test_more_scenes_begin_with_the_same_ones() -> None:
    made = SimulatedPlant(FOUR_TANK)
    few, many = (scenes(made, episodes=n, steps=60, seed=4) for n in (5, 10))
    named = {scenario.name: scenario for _, scenario in many}
    assert len(named) == 10
    assert {kind for kind, _ in few} == set(KINDS)
    for _, scenario in few:
        assert scenario == named[scenario.name]


def test_ratio_pairs_scenarios() -> None:
    theirs = {"a": 1.0, "b": 10.0, "c": 100.0, "e": 3.0}
    found = ratio({name: 0.5 * value for name, value in theirs.items()}, theirs)
    assert found == pytest.approx((0.5, 0.5, 0.5))
    assert ratio({"d": 1.0}, theirs) is None


def test_table_says_what_was_not_measured() -> None:
    row = {"tracking": 2.0, "offset": 0.01, "broken": 0, "moves": 0.02, "fallbacks": 0, "ms_p50": 1.0, "ms_p99": 2.0}
    worse = row | {"tracking": 4.0}
    results = {
        "plant": "four_tank",
        "minutes": 3.0,
        "size": "s",
        "seeds": [0, 1],
        "scenario_minutes": 30.0,
        "horizon": 30,
        "filter": 0.95,
        "step_seconds": 5.0,
        "lead": 90,
        "cpu": "a processor",
        "scenes": {"s1": KINDS[0], "u1": KINDS[1]},
        "policies": {
            "Tacit 0": {"s1": row, "u1": row},
            "Tacit 1": {"s1": row | {"tracking": 4.0}},
            "PI control": {"s1": worse, "u1": worse},
        },
    }
    text = table(results)
    assert "| Tacit | 3 | 0.75 | not measured |" in text  # the second seed has not met u1
    assert "| NMPC, true model | not measured |" in text
    assert "sensors alone" not in text
    results["policies"]["Tacit, sensors alone 0"] = results["policies"]["Tacit, sensors alone 1"] = {"s1": row}
    assert "| Tacit, sensors alone | 2 | 0.50 | not measured |" in table(results)


def test_seeds_that_the_table_does_not_tell_of_are_not_in_its_numbers() -> None:
    rows = {f"{TACIT} {seed}": {"s1": {"ms_p99": value}} for seed, value in ((0, 1.0), (1, 2.0), (2, 90.0))}
    results = {"seeds": [0, 1], "scenes": {"s1": KINDS[0]}, "policies": rows}
    assert pooled(results, TACIT, None, "ms_p99") == {"s1": 1.5}
    assert pooled(results, TACIT, KINDS[0], "ms_p99", max) == {"s1": 2.0}, "of times the worst"


def test_numbers_of_other_code_are_other_numbers(tmp_path: Path) -> None:
    plant, page = tmp_path / "src" / "tacit" / "worlds" / "plants" / "plant.py", tmp_path / "src" / "tacit" / "serve" / "page.py"
    for file in (plant, page):
        file.parent.mkdir(parents=True)
        file.write_text("x = 1\n")
    before = code(tmp_path)
    page.write_text("x = 2\n")
    assert code(tmp_path) == before, "what nothing follows from"
    plant.write_text("x = 2\n")
    assert code(tmp_path) != before
    assert len(code()) == len(before) == 12
    after = code(tmp_path)
    (plant.parent / "fast.c").write_text("int x;")
    assert code(tmp_path) != after, "what is written in C counts as well"
