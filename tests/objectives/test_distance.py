"""Temporal distance: the target of a backup, and what an expectile finds."""

from __future__ import annotations

import math

import pytest
import torch

from tacit.objectives.distance import expectile_loss, steps_to_go_target


def test_target_is_the_shorter_of_what_the_log_did_and_the_backup() -> None:
    ahead = torch.tensor([3.0, 9.0, math.inf, 0.0])
    target = steps_to_go_target(ahead, torch.tensor([2.0, 2.0, 1.0, 1.0]), torch.tensor([5.0, 1.0, 4.0, 7.0]))
    assert target.tolist() == [3.0, 3.0, 5.0, 0.0]


@pytest.mark.parametrize("expectile", [0.5, 0.9])
def test_loss_weighs_the_side_and_is_linear_far_away(expectile: float) -> None:
    beta = 2.0
    for gap in (-5.0, -1.0, 0.0, 1.0, 5.0):
        huber = gap**2 / (2 * beta) if abs(gap) < beta else abs(gap) - beta / 2
        weight = expectile if gap < 0 else 1 - expectile
        loss = expectile_loss(torch.tensor([10.0]), torch.tensor([10.0 + gap]), expectile, beta)
        assert float(loss) == pytest.approx(weight * huber)


@pytest.mark.parametrize("expectile", [0.5, 0.8, 0.95])
def test_minimum_is_the_closed_form_of_two_targets(expectile: float) -> None:
    """Targets 4 and 5 equally often, both within beta: τ (m - 4) = (1 - τ) (5 - m), so m = 5 - τ."""
    predicted = torch.tensor([4.5], requires_grad=True)
    optimizer = torch.optim.SGD([predicted], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        expectile_loss(predicted.expand(2), torch.tensor([4.0, 5.0]), expectile, beta=2.0).backward()
        optimizer.step()
    assert predicted.item() == pytest.approx(5 - expectile, abs=1e-3)
