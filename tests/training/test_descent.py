"""The descent that heads and predictors share: it goes down, by steps or by the clock, and a recording of it is the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tacit.nn.blocks import mlp
from tacit.training.descent import Loss, gradients_of, optimized
from tacit.training.seed import generator
from tacit.training.settings import HeadTraining


def network() -> nn.Module:
    torch.manual_seed(0)
    return mlp((3, 16, 1))


def draw(step: int, done: float, device: str = "cpu") -> tuple[Tensor, ...]:
    x = torch.randn(64 if done < 0.5 else 32, 3, generator=generator(0, "descent", step)).to(device)
    return x, x[:, :1] - x[:, 1:2].relu()


def loss_of(module: nn.Module) -> Loss:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        error: Tensor = (module(x) - y).square().mean()
        return error

    return loss


def test_it_goes_down_and_tells() -> None:
    module, told = network(), list[tuple[float, float]]()
    steps = optimized(module, HeadTraining(steps=400, learning_rate=1e-2), draw, loss_of(module), lambda *said: told.append(said))
    assert steps == 400
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][1] < 0.1 * told[0][1]


def test_the_clock_ends_it() -> None:
    module = network()
    assert optimized(module, HeadTraining(minutes=0.01), draw, loss_of(module), None) > 0


def test_gradients_are_cut_to_a_norm_of_one() -> None:
    module = network()
    x, y = draw(0, 0.0)
    value = gradients_of(module, loss_of(module))((x, 1000 * y))
    assert value == loss_of(module)(x, 1000 * y)
    assert not value.requires_grad
    norm = torch.stack([p.grad.square().sum() for p in module.parameters() if p.grad is not None]).sum().sqrt()
    assert norm == pytest.approx(1.0, rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_what_is_recorded_goes_the_same_way() -> None:
    """Batches change their shape half way, and so it is recorded twice."""
    one = network()
    other = copy.deepcopy(one).to("cuda")
    config, losses = HeadTraining(steps=100, learning_rate=1e-3), list[float]()
    optimized(one, config, draw, loss_of(one), lambda done, loss: losses.append(loss))
    told: list[float] = []
    optimized(other, config, lambda step, done: draw(step, done, "cuda"), loss_of(other), lambda done, loss: told.append(loss))
    torch.testing.assert_close(torch.tensor(told), torch.tensor(losses), rtol=1e-3, atol=1e-5)
    for mine, its in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its.cpu(), rtol=1e-2, atol=1e-4)
