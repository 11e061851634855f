"""Contrast: partners find each other by what stays, over the whole global batch."""

from __future__ import annotations

import math

import pytest
import torch

from tacit.objectives.contrast import ANCHOR, TEMPERATURE, contrast_loss

N, C = 6, 3


def naive(here: torch.Tensor, there: torch.Tensor) -> float:
    """The definition, one row at a time."""
    total = 0.0
    for a, b in ((here, there), (there, here)):
        for i in range(len(a)):
            energies = [float((a[i] - b[j]).square().sum()) / TEMPERATURE for j in range(len(b))]
            total += energies[i] + math.log(sum(math.exp(-e) for e in energies))
    return total / (2 * len(here)) + ANCHOR * float(torch.stack((here, there)).square().mean())


def test_is_the_cross_entropy_of_the_definition() -> None:
    torch.manual_seed(0)
    here, there = 0.3 * torch.randn(N, C), 0.3 * torch.randn(N, C)
    assert float(contrast_loss(here, there)) == pytest.approx(naive(here, there), rel=1e-5)


def test_nothing_to_tell_apart_costs_the_logarithm_of_the_batch() -> None:
    assert float(contrast_loss(torch.zeros(N, C), torch.zeros(N, C))) == pytest.approx(math.log(N))


def test_recognised_partners_cost_nothing_and_wrong_ones_much() -> None:
    far_apart = 10.0 * torch.eye(N)
    assert float(contrast_loss(far_apart, far_apart)) == pytest.approx(ANCHOR * 100 / N)
    assert float(contrast_loss(far_apart, far_apart.roll(1, 0))) > 100


def test_the_origin_is_not_left_to_rounding_errors() -> None:
    """A shift of all contexts together is pulled back, however well partners are recognised."""
    shift = torch.full((C,), 3.0, requires_grad=True)
    far_apart = 100.0 * torch.randn(N, C, generator=torch.Generator().manual_seed(0))
    far_apart = far_apart - far_apart.mean(0)
    contrast_loss(far_apart + shift, far_apart + shift).backward()
    assert shift.grad is not None
    assert (shift.grad > 0).all()


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_see_the_global_batch(world_size: int) -> None:
    """The sum over processes is made by hand; each process then holds the loss of the whole batch."""
    torch.manual_seed(0)
    here, there = torch.randn(2, N, C).unbind()
    parts = list(zip(here.chunk(world_size), there.chunk(world_size), strict=True))
    laid: list[torch.Tensor] = []
    for rank, (a, b) in enumerate(parts):
        contrast_loss(a, b, all_reduce=lambda x: laid.append(x) or x, rank=rank, world_size=world_size)
    whole = sum(laid)
    assert isinstance(whole, torch.Tensor)
    for rank, (a, b) in enumerate(parts):
        together = contrast_loss(a, b, all_reduce=lambda x: whole, rank=rank, world_size=world_size)
        torch.testing.assert_close(together, contrast_loss(here, there))


def test_stays_in_float32_under_bfloat16_autocast() -> None:
    torch.manual_seed(0)
    here, there = torch.randn(N, C), torch.randn(N, C)
    with torch.autocast("cpu", torch.bfloat16):
        rough = contrast_loss(here, there)
    assert torch.equal(rough, contrast_loss(here, there))
