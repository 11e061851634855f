"""The ablation: nothing that the house has is left out, and its table says what was measured."""

from __future__ import annotations

from benchmarks.tables.planners import BOTH, COSTS, FOURFOLD, ROWS, table

from tacit.evaluation.suites import REACH
from tacit.planning.plan_settings import PLANNERS


def test_every_planner_has_two_budgets_and_every_cost_and_kind_of_proposal_its_row() -> None:
    budgets: dict[str, set[int]] = {name: set() for name in PLANNERS}
    for row in ROWS.values():
        if row.part == "planners" and row.settings is not None:
            budgets[row.settings.planner].add(row.settings.candidates * row.settings.iterations)
    assert all(max(spent) == 4 * min(spent) for spent in budgets.values()), budgets
    assert {row.cost for row in ROWS.values() if row.part == "costs"} == set(COSTS)
    assert {row.proposals for row in ROWS.values()} == {"inverse model", "retrieval", "half of each", "detours"}
    assert ROWS["propose-verify"].settings == REACH
    assert ROWS["propose-verify"].cost == BOTH
    assert FOURFOLD["candidates"] * FOURFOLD["iterations"] == 4 * REACH.candidates * REACH.iterations


def test_the_table_has_a_row_for_each_that_was_measured_under_its_question() -> None:
    numbers = {"rate": 0.97, "low": 0.92, "high": 0.99, "cpu_seconds_per_decision": 0.0017}
    results = {
        "world": "w",
        "protocol": "long",
        "episodes": 100,
        "seed": 1,
        "cpu": "X",
        "rows": {"CEM": numbers, "retrieval alone": numbers},
    }
    lines = table(results).splitlines()
    assert lines.index("## Planners") < lines.index("| CEM | 97 (92–99) | 1.70 |") < lines.index("## Proposals")
    assert lines[-1] == "| retrieval alone | 97 (92–99) | 1.70 |"
