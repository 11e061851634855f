"""The collapse watch against spectra and actions that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tacit.training.watch import Health, effective_rank, health


def with_spectrum(values: list[float], n: int = 200) -> Tensor:
    """Latents whose centred singular values are exactly `values`."""
    torch.manual_seed(0)
    samples = torch.randn(n, len(values), dtype=torch.float64)
    left, _ = torch.linalg.qr(samples - samples.mean(0))
    right, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))
    return left * torch.tensor(values, dtype=torch.float64) @ right + 3.0


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_equal_singular_values_count_themselves(rank: int) -> None:
    assert effective_rank(with_spectrum([2.0] * rank + [0.0] * (8 - rank))) == pytest.approx(rank, rel=1e-6)


def test_unequal_singular_values_count_by_their_entropy() -> None:
    shares = [0.7, 0.2, 0.1]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert effective_rank(with_spectrum([7.0, 2.0, 1.0])) == pytest.approx(expected, rel=1e-6)
    assert effective_rank(with_spectrum([70.0, 20.0, 10.0])) == pytest.approx(expected, rel=1e-6), "the scale does not matter"


def test_latents_that_do_not_vary_have_rank_one() -> None:
    assert effective_rank(torch.full((20, 4), 3.0)) == pytest.approx(1.0)


def test_deviations_are_those_of_the_dimensions() -> None:
    torch.manual_seed(1)
    latents = torch.randn(50, 10, 3) * torch.tensor([0.1, 1.0, 1.9])
    found = health(latents, torch.randn(50, 9, 2))
    std = latents.flatten(0, 1).std(0)
    assert found.min_std == pytest.approx(float(std[0]))
    assert found.mean_std == pytest.approx(float(std.mean()))


def test_actions_that_a_line_reads_have_r2_of_one() -> None:
    """Latents that add up what the actions push, with a constant dimension and another scale beside them."""
    torch.manual_seed(2)
    actions = torch.randn(60, 7, 2) + 300
    push = (actions - 300) @ torch.randn(2, 3)
    moved = torch.nn.functional.pad(push.cumsum(1), (0, 0, 1, 0))
    latents = torch.cat((1e-3 * moved, torch.full((60, 8, 1), 5.0)), dim=-1)
    assert health(latents, actions).action_r2 > 0.98
    assert abs(health(latents, torch.randn(60, 7, 2)).action_r2) < 0.2, "actions that have nothing to do with the latents"


def test_r2_is_measured_on_windows_it_was_not_fitted_on() -> None:
    """More inputs than samples fit any action in sight, and none out of it."""
    torch.manual_seed(3)
    assert health(torch.randn(4, 5, 40), torch.randn(4, 4, 2)).action_r2 < 0.3


def test_two_windows_are_enough_for_a_finite_answer() -> None:
    assert math.isfinite(health(torch.randn(2, 2, 3), torch.randn(2, 1, 2)).action_r2)


@pytest.mark.parametrize(
    ("rank", "std", "words"), [(5.0, 0.01, "no longer vary"), (1.2, 0.9, "one direction only"), (5.0, 0.9, None), (1.6, 0.03, None)]
)
def test_collapse_in_words(rank: float, std: float, words: str | None) -> None:
    reason = Health(effective_rank=rank, min_std=0.0, mean_std=std, action_r2=0.0).collapse()
    assert reason is None if words is None else words in reason
