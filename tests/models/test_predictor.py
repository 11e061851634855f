"""The predictor: one network, rolled out in two ways that must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from tacit.models.predictor import PredictorConfig, ResidualPredictor
from tacit.nn import native

B, K, H, S, C, A = 3, 5, 7, 4, 2, 2
D = S + C


def predictor(history: int, depth: int = 2, *, residual: bool = False) -> ResidualPredictor:
    """With random weights everywhere, as after training."""
    torch.manual_seed(0)
    made = ResidualPredictor(S, C, A, PredictorConfig(history=history, width=16, depth=depth, residual=residual))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.requires_grad_(False)


@pytest.fixture(params=[True, False], ids=["training", "planning"])
def _mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """With and without gradients the rollout takes different ways through memory."""
    with torch.set_grad_enabled(request.param):
        yield


@pytest.mark.parametrize("residual", [False, True])
def test_is_the_identity_before_training(residual: bool) -> None:
    history = torch.randn(B, 2, D)
    fresh = ResidualPredictor(S, C, A, PredictorConfig(history=2, width=16, depth=2, residual=residual))
    assert torch.equal(fresh(history, torch.randn(B, A)), history[:, -1])


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize("history", [1, 2, 4])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_unroll_equals_forward_step_by_step(history: int, depth: int, residual: bool) -> None:
    model = predictor(history, depth, residual=residual)
    past, actions = torch.randn(B, history, D), torch.randn(B, K, H, A)
    found = model.unroll(past, actions)
    assert found.shape == (B, K, H, D)
    for k in range(K):
        window = past
        for t in range(H):
            latent = model(window, actions[:, k, t])
            torch.testing.assert_close(found[:, k, t], latent, rtol=1e-5, atol=1e-5)
            window = torch.cat((window[:, 1:], latent[:, None]), dim=1)


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize("depth", [1, 2])
def test_unroll_with_a_linear_map_equals_forward_step_by_step(depth: int) -> None:
    torch.manual_seed(1)
    model = ResidualPredictor(S, C, A, PredictorConfig(history=3, width=16, depth=depth, leading=5)).requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    assert model.straight is not None
    model.straight.spread.copy_(torch.rand(S))
    past, actions = torch.randn(B, 3, D), torch.randn(B, K, H, A)
    found, window = model.unroll(past, actions), past[:, None].expand(-1, K, -1, -1)
    for t in range(H):
        latent = model(window, actions[:, :, t])
        torch.testing.assert_close(found[:, :, t], latent, rtol=1e-5, atol=1e-5)
        window = torch.cat((window[:, :, 1:], latent[:, :, None]), dim=2)


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize("context", [0, C])
def test_the_context_is_held_and_has_its_say(context: int) -> None:
    torch.manual_seed(0)
    model = ResidualPredictor(D - context, context, A, PredictorConfig(history=2, width=16, depth=1)).requires_grad_(False)
    torch.nn.init.normal_(model.network[-1].weight)
    past, actions = torch.randn(B, 2, D), torch.randn(B, K, H, A)
    found = model.unroll(past, actions)
    assert torch.equal(found[..., D - context :], past[:, None, None, -1, D - context :].expand(-1, K, H, -1))
    other = past.clone()
    other[:, 0, D - context :] += 1.0
    assert torch.equal(model.unroll(other, actions), found), "the newest context counts alone"
    other[:, 1, D - context :] += 1.0
    changed = (model.unroll(other, actions) - found)[..., : D - context].abs().amax((1, 2, 3)) > 0
    assert changed.all() == (context > 0)


def test_unroll_takes_any_layout_in_memory_and_gives_gradients() -> None:
    model = predictor(2)
    past = torch.randn(D, B, 2).permute(1, 2, 0)
    actions = torch.randn(H, K, B, A).permute(2, 1, 0, 3).requires_grad_()
    torch.testing.assert_close(model.unroll(past, actions), model.unroll(past.contiguous(), actions.contiguous()))
    first_of_second = model.unroll(past, actions)[1, 2, 3].sum()
    (gradient,) = torch.autograd.grad(first_of_second, actions)
    assert gradient[1, 2, :4].abs().min() > 0
    gradient[1, 2, :4] = 0
    assert not gradient.any(), "later actions, other candidates and other machines have no say"


@pytest.mark.usefixtures("_mode")
def test_unroll_in_bfloat16_keeps_the_latent_in_float32() -> None:
    model = predictor(2)
    past, actions = torch.randn(B, 2, D), torch.randn(B, K, H, A)
    exact = model.unroll(past, actions)
    rough = model.to(torch.bfloat16).unroll(past, actions)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


def linear_first() -> ResidualPredictor:
    """A predictor with a linear map, a lens and three components for its network, with random weights everywhere."""
    torch.manual_seed(0)
    made = ResidualPredictor(S, C, A, PredictorConfig(history=3, width=16, depth=1, leading=3))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert made.straight is not None
    made.straight.spread.copy_(torch.rand(S) + 0.5)
    return made.requires_grad_(False)


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["near", "beyond the reach of the network"])
def test_a_linear_predictor_unrolls_as_it_steps(scale: float) -> None:
    model = linear_first()
    past, actions = scale * torch.randn(B, 3, D), torch.randn(B, K, H, A)
    found = model.unroll(past, actions)
    for k in range(K):
        window = past
        for t in range(H):
            latent = model(window, actions[:, k, t])
            torch.testing.assert_close(found[:, k, t], latent, rtol=1e-4, atol=1e-5)
            window = torch.cat((window[:, 1:], latent[:, None]), dim=1)


@torch.no_grad()
@pytest.mark.parametrize("products", [nullcontext, native.without], ids=["in C", "in torch"])
def test_a_packed_linear_predictor_plans_with_the_present_weights(products: Callable[[], AbstractContextManager[None]]) -> None:
    model = linear_first()
    past, actions = torch.randn(B, 3, D), torch.randn(B, K, H, A)
    with products():
        fresh = model.unroll(past, actions)
        model.pack(torch.float32)
        torch.testing.assert_close(model.unroll(past, actions), fresh, rtol=1e-5, atol=1e-6)
        model.network[-1].weight.zero_()
        changed = model.unroll(past, actions)
        assert (changed - fresh).abs().max() > 1e-3, "what was packed is no longer true"
        model.pack(torch.float32)
        torch.testing.assert_close(model.unroll(past, actions), changed, rtol=1e-5, atol=1e-6)


def test_far_from_the_logs_the_linear_map_goes_on_alone() -> None:
    model = linear_first()
    straight = model.straight
    assert straight is not None
    torch.nn.init.eye_(straight.lens.weight)
    torch.nn.init.zeros_(straight.lens.bias)
    inputs = torch.zeros(3, 3 * S + C + A)
    inputs[:, 1] = torch.tensor([2.0, 5.0, 50.0])
    near, far, farther = model.change(inputs) - straight.spread * straight(inputs)
    assert not torch.allclose(near, far), "inside its reach the network has its say"
    torch.testing.assert_close(far, farther, rtol=1e-4, atol=1e-5)


def test_a_linear_predictor_begins_as_the_identity_and_sees_the_leading_components() -> None:
    fresh = ResidualPredictor(S, C, A, PredictorConfig(history=3, width=16, depth=1, leading=3))
    history, action = torch.randn(B, 3, D), torch.randn(B, A)
    assert torch.equal(fresh(history, action), history[:, -1])
    assert fresh.fresh(7)[0].in_features == 3
    assert ResidualPredictor(S, C, A, PredictorConfig(history=3, width=16, depth=1)).straight is None
