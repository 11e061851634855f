"""The table of forecasts: seeds together, and where another forecaster is better or nobody can say."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.tables.forecasts import behind, cells, draw, over_seeds, table, unclear

AHEAD = (1, 50)
NAMES = ("level", "flow")


def estimate(value: float, spread: float = 0.1, channels: int = 2) -> dict[str, list[list[float]]]:
    ends = {"value": value, "low": value - spread, "high": value + spread}
    return {name: np.full((len(AHEAD), channels), number).tolist() for name, number in ends.items()}


def found(skill: float, lead: float) -> dict[str, Any]:
    """What `validate` says of a run that takes `lead` of the others' error away."""
    method = {"about": "as it is", "skill": estimate(skill), "mean": estimate(skill, channels=1), "lead": estimate(lead)}
    return {
        "steps_ahead": list(AHEAD),
        "period_seconds": 5.0,
        "names": list(NAMES),
        "moments": 4000,
        "confidence": 0.9,
        "coverage": estimate(0.9),
        "mean_coverage": estimate(0.9, channels=1),
        "followed": estimate(0.8),
        "mean_followed": estimate(0.8, channels=1),
        "methods": dict.fromkeys(("tacit", "persistence", "ARX", "LSTM"), method),
    }


def test_seeds_are_told_by_their_mean_and_their_outer_ends() -> None:
    seeds = {"0": found(0.5, 0.2), "1": found(0.7, 0.3)}
    assert cells(over_seeds(seeds, "methods", "tacit", "skill"), 1) == "0.60 (0.40 to 0.80) | 0.60 (0.40 to 0.80)"
    assert cells(over_seeds(seeds, "coverage"), 0, 100) == "90.0 (80.0 to 100.0) | 90.0 (80.0 to 100.0)"


def test_where_another_one_is_better_is_said_when_every_seed_says_so() -> None:
    worse, better = found(0.5, -0.2), found(0.5, 0.2)
    worse["methods"] = worse["methods"] | {name: better["methods"][name] for name in ("persistence", "ARX")}
    assert list(behind({"0": worse, "1": worse})) == [
        "`level`, 1, 50 steps ahead: LSTM is better",
        "`flow`, 1, 50 steps ahead: LSTM is better",
    ]
    assert list(behind({"0": worse, "1": better})) == []
    assert unclear({"0": worse, "1": better}) == (4, 12)
    results = {"plants": {"tank": {"0": worse}}, "minutes": 3.0, "size": "s", "cpu": "one"}
    text = table(results)
    assert "- `level`, 1, 50 steps ahead: LSTM is better." in text
    assert "In 4 of 12 comparisons" in text
    assert "| mean | Tacit | 0.50 (0.40 to 0.60) | 0.50 (0.40 to 0.60) |" in text
    assert "| flow | following | 80.0 (70.0 to 90.0) | 80.0 (70.0 to 90.0) |" in text
    assert "| mean | as trained | 90.0 (80.0 to 100.0) | 90.0 (80.0 to 100.0) |" in text
    assert "- nowhere." in table(results | {"plants": {"tank": {"0": better}}})
    assert len(draw(results).axes) == 1
