"""SIGReg against a version that integrates with a cosine and a sine at every knot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tacit.objectives.sigreg import SIGRegConfig, _CharacteristicSums, sigreg, unit_directions

CONFIG = SIGRegConfig(directions=64, knots=16, reach=3.0)


def directions_of(latent: int, config: SIGRegConfig = CONFIG, seed: int = 0) -> Tensor:
    return unit_directions(latent, config.directions, torch.Generator().manual_seed(seed))


def naive(latents: Tensor, directions: Tensor, config: SIGRegConfig) -> Tensor:
    """The statistic as it is written down: the trapezoid rule over every knot from 0 on, by autograd, in float64."""
    t = torch.linspace(0, config.reach, config.knots + 1, dtype=torch.float64)
    angle = (latents.double() @ directions.double())[..., None] * t
    normal = torch.exp(-t.square() / 2)
    gap = (torch.cos(angle).mean(1) - normal).square() + torch.sin(angle).mean(1).square()
    return latents.shape[1] * torch.trapezoid(gap * normal, t, dim=-1).mean()


@pytest.mark.parametrize(("groups", "samples", "latent", "knots", "reach"), [(1, 40, 8, 16, 3.0), (5, 33, 6, 9, 4.0), (3, 2, 4, 1, 2.0)])
def test_equals_the_naive_version_in_value_and_gradient(groups: int, samples: int, latent: int, knots: int, reach: float) -> None:
    config = SIGRegConfig(directions=32, knots=knots, reach=reach)
    torch.manual_seed(groups)
    latents = (torch.randn(groups, samples, latent) * 1.3 + 0.4).requires_grad_()
    directions = directions_of(latent, config)
    ours, theirs = sigreg(latents, directions, config), naive(latents, directions, config)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)
    (mine,) = torch.autograd.grad(3 * ours, latents)
    (reference,) = torch.autograd.grad(3 * theirs, latents)
    torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_sums_have_the_gradient_of_their_values() -> None:
    torch.manual_seed(0)
    projected = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _CharacteristicSums.apply(x, 7, 0.4), (projected,))


def test_two_processes_have_the_value_and_gradient_of_one() -> None:
    torch.manual_seed(0)
    whole = torch.randn(3, 20, 6, requires_grad=True)
    directions = directions_of(6)
    expected = sigreg(whole, directions, CONFIG)
    (gradient,) = torch.autograd.grad(expected, whole)

    sums: list[Tensor] = []
    halves = [half.detach().clone().requires_grad_() for half in whole.split(10, dim=1)]
    for half in halves:
        sigreg(half, directions, CONFIG, all_reduce=lambda x: sums.append(x.detach()) or x, world_size=2)
    for i, half in enumerate(halves):
        value = sigreg(half, directions, CONFIG, all_reduce=lambda x, other=sums[1 - i]: x + other, world_size=2)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, half)[0], gradient[:, 10 * i : 10 * (i + 1)], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("samples", [4, 64])
def test_expectation_for_standard_normals_is_the_closed_form(samples: int) -> None:
    """E|mean exp(itx) - φ|² = (1 - φ²) / N, so N times the integral is Σ w (1 - φ²), whatever N is."""
    t = torch.arange(1, CONFIG.knots + 1) * CONFIG.reach / CONFIG.knots
    weights = torch.exp(-t.square() / 2) * CONFIG.reach / CONFIG.knots
    weights[-1] /= 2
    expected = float((weights * (1 - torch.exp(-t.square()))).sum())
    assert expected == pytest.approx(0.52, abs=0.01), "the number in the docstring"
    torch.manual_seed(1)
    latents = torch.randn(800, samples, 16)
    assert float(sigreg(latents, directions_of(16), CONFIG)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("fault", ["collapsed", "low variance", "high variance", "bimodal", "shifted"])
def test_anything_else_than_a_standard_normal_costs_more(fault: str) -> None:
    torch.manual_seed(2)
    normal = torch.randn(4, 128, 8)
    side = torch.sign(torch.randn(4, 128, 1))
    latents = {
        "collapsed": torch.zeros_like(normal) + 0.3,
        "low variance": 0.3 * normal,
        "high variance": 3.0 * normal,
        "bimodal": 0.3 * normal + 2.0 * side,
        "shifted": normal + 1.0,
    }[fault]
    directions = directions_of(8)
    assert sigreg(latents, directions, CONFIG) > 5 * sigreg(normal, directions, CONFIG)


def test_groups_are_tested_on_their_own() -> None:
    """Two groups that are wrong in opposite ways do not make a right one together."""
    torch.manual_seed(3)
    latents = torch.cat((torch.randn(1, 64, 4) + 2, torch.randn(1, 64, 4) - 2))
    directions = directions_of(4)
    alone = torch.stack([sigreg(group[None], directions, CONFIG) for group in latents]).mean()
    torch.testing.assert_close(sigreg(latents, directions, CONFIG), alone)


def test_stays_in_float32_under_bfloat16_autocast() -> None:
    torch.manual_seed(4)
    latents, directions = torch.randn(2, 32, 8), directions_of(8)
    expected = sigreg(latents, directions, CONFIG)
    with torch.autocast("cpu", torch.bfloat16):
        value = sigreg(latents, directions, CONFIG)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert sigreg(latents.bfloat16(), directions, CONFIG).dtype == torch.float32


def test_directions_are_unit_columns_that_follow_from_the_generator() -> None:
    one, same, other = directions_of(8), directions_of(8), directions_of(8, seed=1)
    torch.testing.assert_close(one.norm(dim=0), torch.ones(CONFIG.directions))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
