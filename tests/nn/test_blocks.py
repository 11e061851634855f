"""Blocks: what a layer stack holds, and statistics that travel with the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tacit.nn.blocks import ResidualMLP, Standardizer, linear_layers, mlp, zero_last


def test_mlp_has_a_relu_between_linear_layers_and_none_at_the_end() -> None:
    network = mlp((3, 5, 7, 2))
    assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [(layer.in_features, layer.out_features) for layer in network if isinstance(layer, nn.Linear)] == [(3, 5), (5, 7), (7, 2)]


def test_zero_last_gives_zero_and_still_learns() -> None:
    network = zero_last(mlp((3, 5, 2)))
    output = network(torch.randn(4, 3))
    assert torch.equal(output, torch.zeros(4, 2))
    (output - 1).square().sum().backward()
    assert network[-1].weight.grad.abs().max() > 0


def test_residual_blocks_add_to_what_came_before_of_normalised_features() -> None:
    torch.manual_seed(0)
    network = ResidualMLP(3, 8, 2, 4)
    first, before, after, *others, last = linear_layers(network)
    for layer in others:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    u = torch.randn(5, 3)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

    x = first(u)
    x = x + after(before(norm(x)).clamp(min=0))
    torch.testing.assert_close(network(u), last(norm(x)))


def test_residual_blocks_keep_their_sum_in_float32_when_products_are_not() -> None:
    torch.manual_seed(0)
    exact = ResidualMLP(3, 32, 3, 4).requires_grad_(False)
    u = torch.randn(64, 3)
    found = copy.deepcopy(exact).to(torch.bfloat16)(u.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact(u)).square().mean().sqrt() < 0.01 * exact(u).std()


def test_standardizer_gives_zero_mean_and_unit_deviation_and_can_be_undone() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 3) * torch.tensor([0.01, 1.0, 300.0]) + torch.tensor([5.0, 0.0, -1e4])
    standardize = Standardizer((3,))
    standardize.set(x.mean(0), x.std(0))
    standard = standardize(x)
    torch.testing.assert_close(standard.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(standardize.undo(standard), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e6])
def test_standardizer_only_centres_a_constant(value: float) -> None:
    x = torch.full((50, 1), value)
    standardize = Standardizer((1,))
    standardize.set(x.mean(0), x.std(0))
    assert torch.equal(standardize(x), torch.zeros(50, 1))
    assert torch.equal(standardize(x + 2), torch.full((50, 1), 2.0))


def test_standardizer_of_one_sample_is_finite() -> None:
    standardize = Standardizer((2,))
    standardize.set(torch.tensor([1.0, 2.0]), torch.full((2,), torch.nan))  # the deviation of one sample
    assert torch.equal(standardize(torch.tensor([1.0, 3.0])), torch.tensor([0.0, 1.0]))


def test_standardizer_statistics_travel_in_the_state() -> None:
    one, other = Standardizer((2,)), Standardizer((2,))
    one.set(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(torch.tensor([4.0, 6.0])), torch.tensor([1.0, 1.0]))
