"""The state-space model: what its parts say, put together by hand, and what it is better at than predicting in latents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tacit.models.encoders import EncoderConfig
from tacit.models.jepa import JEPA, JEPAConfig
from tacit.models.state_space import StateSpace, StateSpaceConfig
from tacit.nn import native
from tacit.signals import Role, Schema, Signal
from tacit.training.dynamics import fit_dynamics
from tacit.training.heads import HeadTraining
from tacit.training.latents import LatentLog

B, K, H, S, C, A, E, X = 3, 5, 7, 6, 2, 2, 2, 7
D = S + C
SIZES = StateSpaceConfig(inferred=X - E, width=24, blocks=2, reading=20)


def space(exact: int = E, context: int = C, history: int = 2) -> StateSpace:
    """With random weights everywhere, as after training."""
    torch.manual_seed(0)
    made = StateSpace(S, context, A, history=history, exact=exact, config=SIZES)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made.requires_grad_(False)


@pytest.fixture(params=[True, False], ids=["training", "planning"])
def _mode(request: pytest.FixtureRequest) -> Iterator[None]:
    """With and without gradients the rollout takes different ways through memory."""
    with torch.set_grad_enabled(request.param):
        yield


@pytest.mark.usefixtures("_mode")
@pytest.mark.parametrize(("exact", "context", "history"), [(0, C, 1), (E, C, 2), (E, 0, 3)])
def test_a_rollout_is_inferred_once_moved_step_by_step_and_shown(exact: int, context: int, history: int) -> None:
    model, past, actions = space(exact, context, history), torch.randn(B, history, S + context), torch.randn(B, K, H, A)
    found = model.unroll(past, actions)
    assert found.shape == (B, K, H, S + context)
    newest = past[:, -1]
    seen = torch.cat((past[..., :S].flatten(1), newest[:, S:]), dim=1)
    state = first = torch.cat((newest[:, :exact], model.inference(seen)), dim=1)
    for t in range(H):
        state = state + model.transition.network(torch.cat((state, actions[:, 0, t]), dim=1))
        moved = torch.cat((state[:, :exact] - first[:, :exact], model.emission(state) - model.emission(first)), dim=1)
        torch.testing.assert_close(found[:, 0, t, :S], newest[:, :S] + moved, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[..., S:], newest[:, None, None, S:].expand(-1, K, H, -1)), "the context stays"


@pytest.mark.usefixtures("_mode")
def test_before_training_nothing_changes() -> None:
    past = torch.randn(B, 2, D)
    fresh = StateSpace(S, C, A, history=2, exact=E, config=SIZES)
    found = fresh.unroll(past, torch.randn(B, K, H, A))
    torch.testing.assert_close(found, past[:, None, -1:].expand(-1, K, H, -1))


def test_gradients_reach_all_of_it_and_the_actions() -> None:
    model, actions = space().requires_grad_(True), torch.randn(B, K, H, A, requires_grad=True)
    model.unroll(torch.randn(B, 2, D), actions).square().sum().backward()  # type: ignore[no-untyped-call]
    assert actions.grad is not None
    assert actions.grad.abs().sum() > 0
    still = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert still <= {"emission.2.bias"}, "but for what is the same before and after"


def test_exact_numbers_must_leave_room_for_what_is_only_seen() -> None:
    with pytest.raises(ValueError, match="a state of 6 has no room beside 6 exact numbers"):
        StateSpace(S, C, A, history=2, exact=S, config=SIZES)


@torch.no_grad()
def test_steps_in_lower_precision_leave_what_is_read_and_shown_as_it_was() -> None:
    model, past, actions = space(), torch.randn(B, 2, D), torch.randn(B, K, H, A)
    before = model.unroll(past, actions)
    model.products_in(torch.bfloat16)
    assert model.products == torch.bfloat16
    assert model.inference[0].weight.dtype == model.emission[0].weight.dtype == torch.float32
    after = model.unroll(past, actions)
    assert after.dtype == torch.float32
    assert 0 < (after - before).square().mean().sqrt() < 0.05 * (before - past[:, None, -1:]).square().mean().sqrt()


@pytest.mark.skipif(native.name(torch.float32) == "torch", reason="there is no C compiler")
@torch.no_grad()
def test_a_rollout_in_c_is_that_of_torch() -> None:
    model, past, actions = space(), torch.randn(B, 2, D), torch.randn(B, 13, H, A)
    expected = model.unroll(past, actions)
    model.pack(torch.float32)
    assert model.packed is not None
    assert model.emitted is not None
    found = model.unroll(past, actions)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(found, expected), "or it was not done in C"


def crooked(episodes: int, steps: int, seed: int) -> LatentLog:
    """A point that is moved about in a box, seen as random features of where it is; the first two numbers are its place itself."""
    rng = torch.Generator().manual_seed(seed)
    actions = torch.randn(episodes, steps, A, generator=rng)
    places = [torch.rand(episodes, 2, generator=rng) * 2 - 1]
    for t in range(steps):
        places.append((places[-1] + 0.15 * actions[:, t]).clamp(-1.0, 1.0))
    place = torch.stack(places, dim=1)
    features = torch.Generator().manual_seed(99)
    directions, phases = torch.randn(2, 14, generator=features) * 1.5, torch.rand(14, generator=features) * 6
    latents = torch.cat((place, torch.sin(place @ directions + phases)), dim=-1)
    given = nn.functional.pad(actions, (0, 0, 0, 1))
    first = torch.arange(episodes) * (steps + 1)
    return LatentLog(latents=latents.flatten(0, 1), actions=given.flatten(0, 1), first=first, steps=torch.full((episodes,), steps))


def error(model: JEPA, log: LatentLog, horizon: int) -> float:
    """Mean squared error after so many steps."""
    episode = torch.arange(len(log))
    rows = log.first[:, None] + 3 + torch.arange(horizon)
    with torch.no_grad():
        predicted = model.rollout(log.history(episode, torch.full_like(episode, 3), model.history), log.actions[rows][:, None])[:, 0]
    return float((predicted[:, -1] - log.latents[rows[:, -1] + 1]).square().mean())


def test_what_moves_is_found_behind_crooked_latents_and_predicted_far_ahead() -> None:
    seen, unseen = crooked(200, 20, 0), crooked(60, 20, 1)
    place = Signal(name="place", role=Role.OBSERVATION, shape=(2,))
    shown = Signal(name="shown", role=Role.OBSERVATION, shape=(4, 4, 1), dtype="uint8")
    push = Signal(name="push", role=Role.ACTION, shape=(A,))
    encoder = EncoderConfig(linear=True, exact=True, channels=(4,))
    space = StateSpaceConfig(inferred=6, width=48, blocks=2, reading=128)
    torch.manual_seed(0)
    model = JEPA(Schema(signals=(shown, place, push)), JEPAConfig(state=16, context=0, encoder=encoder, state_space=space))
    unmoved = error(model, unseen, 15)
    fit_dynamics(model, seen, HeadTraining(steps=600, batch=64, learning_rate=3e-3, rollout=10, averaged=50), seed=0)
    assert error(model, unseen, 15) < 0.2 * unmoved
    untrained = JEPA(model.schema, model.config)
    assert error(model, unseen, 3) < 0.2 * error(untrained, unseen, 3)
