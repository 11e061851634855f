"""Moments of a run in a world and of its logs, and what a warning is worth."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.evaluation.monitoring import Warned, auroc, matrix_row


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[positive] for b in values[~positive]]
    assert auroc(values, positive) == pytest.approx(np.mean(pairs))
    assert auroc(values, np.ones(40, np.bool_)) is None


def test_the_matrix_counts_how_episodes_ended() -> None:
    statistic = np.zeros((10, 20), np.float32)
    statistic[:4, 15] = 2.0  # a warning five steps before the end
    success = np.array([False, False, True, True, False, True, True, True, True, True])
    warned = Warned(success=success, statistic=statistic, singles=statistic[..., None], level=1.0)
    row = matrix_row(warned)
    assert row["failed"]["rate"] == 0.3
    assert row["abstained"]["rate"] == 0.4
    assert row["abstained_though_it_went_well"]["rate"] == 0.2
    assert row["silent_failure"]["episodes"] == 1
    assert row["success"]["rate"] == 0.5
    assert row["silent_failure"]["low"] < 0.1 < row["silent_failure"]["high"]
    assert row["lead_steps"]["p50"] == 5
    assert warned.lead.tolist() == [5] * 4 + [-1] * 6
