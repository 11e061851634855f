"""The table of the heater: errors of hours with intervals, and how far each reading is behind that of camera and sensors together."""

from __future__ import annotations

import numpy as np
from benchmarks.tables.heater import AHEAD, BOTH, IMAGE, MEAN, scores, table


def test_errors_are_of_all_seeds_and_gaps_are_paired_by_hour() -> None:
    hours = np.linspace(1.0, 9.0, 24)[:, None] * np.ones(len(AHEAD))
    errors = {BOTH: {"0": hours, "1": 3 * hours}, IMAGE: {"0": 8 * hours}, MEAN: {"0": 32 * hours}}
    results = {
        "errors": {name: {seed: values.tolist() for seed, values in seeds.items()} for name, seeds in errors.items()},
        "variance": [160.0] * len(AHEAD),
        "judged": [4, 5, 6],
        "steps": 300,
        "size": "s",
        "cpu": "one",
    }
    results["scores"] = found = scores(results)
    assert found[BOTH]["rmse"]["value"] == [round(np.sqrt(10.0), 3)] * len(AHEAD), "mean square of both seeds, then its root"
    assert found[MEAN]["r2"] == [0.0] * len(AHEAD)
    behind = found[IMAGE]["behind"]
    assert behind["value"] == [round(np.sqrt(40.0) - np.sqrt(10.0), 3)] * len(AHEAD)
    rmse = found[IMAGE]["rmse"]
    assert 0 < behind["high"][0] - behind["low"][0] < rmse["high"][0] - rmse["low"][0], "hours are the same for both"
    assert "| image and sensors | 3.2 (" in table(results)
    assert "behind" not in found[BOTH]
