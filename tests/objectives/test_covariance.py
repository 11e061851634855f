"""The covariance loss against torch.cov, closed forms and itself in two parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tacit.objectives.covariance import covariance_loss


def naive(latents: Tensor) -> Tensor:
    size = latents.shape[1]
    return (torch.cov(latents.T, correction=0) - torch.eye(size, dtype=latents.dtype)).square().sum() / size


def test_equals_the_naive_version_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    latents = (torch.randn(50, 6) @ torch.randn(6, 6) + torch.randn(6)).requires_grad_()
    ours, theirs = covariance_loss(latents), naive(latents.double())
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)
    (mine,) = torch.autograd.grad(ours, latents)
    (reference,) = torch.autograd.grad(theirs, latents)
    torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-4)


def test_two_processes_have_the_value_and_gradient_of_one() -> None:
    torch.manual_seed(1)
    whole = (torch.randn(40, 5) * 2 + 1).requires_grad_()
    expected = covariance_loss(whole)
    (gradient,) = torch.autograd.grad(expected, whole)
    moments: list[Tensor] = []
    halves = [half.detach().clone().requires_grad_() for half in whole.split(20)]
    for half in halves:
        covariance_loss(half, all_reduce=lambda x: moments.append(x.detach()) or x, world_size=2)
    for i, half in enumerate(halves):
        value = covariance_loss(half, all_reduce=lambda x, other=moments[1 - i]: x + other, world_size=2)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, half)[0], gradient[20 * i : 20 * (i + 1)], rtol=1e-4, atol=1e-6)


def test_standard_normals_cost_what_their_sample_covariance_strays() -> None:
    """N C is Wishart(N - 1, I), so E|C - I|² / D = ((D + 1) (N - 1) + 1) / N²: about (D + 1) / N."""
    torch.manual_seed(2)
    n, d = 100, 8
    expected = ((d + 1) * (n - 1) + 1) / n**2
    mean = torch.stack([covariance_loss(torch.randn(n, d)) for _ in range(1000)]).mean()
    assert float(mean) == pytest.approx(expected, rel=0.03)
    assert expected == pytest.approx((d + 1) / n, rel=0.02), "the docstring's approximation"


def whitened(n: int, d: int) -> Tensor:
    """Samples whose covariance is exactly the identity."""
    samples = torch.randn(n, d, dtype=torch.float64)
    q, _ = torch.linalg.qr(samples - samples.mean(0))
    return (q * n**0.5).float()


def test_closed_forms() -> None:
    torch.manual_seed(3)
    white = whitened(64, 5)
    assert float(covariance_loss(white)) == pytest.approx(0.0, abs=1e-6)
    assert float(covariance_loss(white + 3)) == pytest.approx(0.0, abs=1e-4), "the mean does not matter"
    assert float(covariance_loss(2 * white)) == pytest.approx(9.0, rel=1e-4), "(2² - 1)²"
    assert float(covariance_loss(white[:, :1].expand(-1, 5))) == pytest.approx(4.0, rel=1e-4), "one dimension repeated: D - 1"
    assert float(covariance_loss(torch.full((64, 5), 0.7))) == pytest.approx(1.0, rel=1e-4), "collapsed"


def test_stays_in_float32_under_bfloat16_autocast() -> None:
    torch.manual_seed(4)
    latents = torch.randn(32, 8)
    with torch.autocast("cpu", torch.bfloat16):
        value = covariance_loss(latents)
    assert value.dtype == torch.float32
    assert torch.equal(value, covariance_loss(latents))
