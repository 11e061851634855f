"""The JEPA at its seam: shapes, units, and what it cannot see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from point_world import LABELLED_MACHINE, model_config
from tacit.contracts import WorldModel
from tacit.models.jepa import JEPA, before_each
from tacit.objectives.contrast import contrast_loss
from tacit.objectives.covariance import covariance_loss
from tacit.objectives.inverse import inverse_loss
from tacit.objectives.prediction import rollout_loss
from tacit.objectives.sigreg import sigreg, unit_directions
from tacit.signals import Schema, SchemaError

B, T, K, H, S, D = 4, 6, 3, 4, 6, 8


def observations(batch: int = B, frames: int = T) -> dict[str, torch.Tensor]:
    return {
        "camera": torch.randint(0, 256, (batch, frames, 8, 12, 3), dtype=torch.uint8),
        "gauge": 300 + 20 * torch.randn(batch, frames),
    }


@pytest.fixture
def model() -> JEPA:
    """With statistics of its own and random weights everywhere, as after training."""
    torch.manual_seed(0)
    made = JEPA(LABELLED_MACHINE, model_config(latent=D))
    for parameter in made.predictor.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    seen = {name: value.flatten(0, 1) for name, value in observations(16, 4).items()}
    made.standardize(seen, torch.tensor([5.0, 300.0, 0.5]) + torch.randn(64, 3) * torch.tensor([2.0, 40.0, 0.5]))
    return made


def test_satisfies_the_contract_and_its_shapes(model: JEPA) -> None:
    assert isinstance(model, WorldModel)
    latents = model.encode(observations())
    assert (latents.shape, latents.dtype) == ((B, T, D), torch.float32)
    history, actions = latents[:, : model.history], torch.randn(B, K, H, 3)
    assert model.rollout(history, actions).shape == (B, K, H, D)
    assert model.step(history, actions[:, 0, 0]).shape == (B, D)
    torch.testing.assert_close(model.step(history, actions[:, 0, 0]), model.rollout(history, actions)[:, 0, 0])


def test_frames_are_encoded_on_their_own(model: JEPA) -> None:
    seen = observations()
    latents = model.encode(seen)
    one = model.encode({name: value[1:, 3:4] for name, value in seen.items()})
    torch.testing.assert_close(one[0, 0], latents[1, 3], rtol=1e-4, atol=1e-5)


def test_actions_are_physical_outside_and_standardised_inside(model: JEPA) -> None:
    history = torch.randn(B, model.history, D)
    standard = torch.randn(B, K, H, 3)
    physical = standard * model.actions.std + model.actions.mean
    assert model.actions.std[1] > 10, "the units differ enough to matter"
    torch.testing.assert_close(model.rollout(history, physical), model.predictor.unroll(history, standard), rtol=1e-4, atol=1e-4)
    one_kelvin = physical + torch.tensor([0.0, 1.0, 0.0])
    small = (model.rollout(history, one_kelvin) - model.rollout(history, physical)).abs().max()
    one_volt = physical + torch.tensor([1.0, 0.0, 0.0])
    assert (model.rollout(history, one_volt) - model.rollout(history, physical)).abs().max() > 3 * small


def test_losses_are_those_of_the_objectives(model: JEPA) -> None:
    seen, actions = observations(), torch.randn(B, T - 1, 3)
    config = model.config
    directions = unit_directions(S, 32, torch.Generator().manual_seed(0))
    losses = model(seen, actions, directions)
    latents, standard = model.encode(seen), model.actions(actions)
    state, context = latents[..., :S], latents[..., S:]
    torch.testing.assert_close(losses.prediction, rollout_loss(model.predictor, latents, standard, history=2, steps=2, state=S))
    torch.testing.assert_close(losses.sigreg, sigreg(state.transpose(0, 1), directions, config.sigreg))
    torch.testing.assert_close(losses.covariance, covariance_loss(state.flatten(0, 1)))
    moved = inverse_loss(model.inverse_of_moves, state, standard, (1, 2))
    pushed = inverse_loss(model.inverse_of_pushes, state, standard, (1,), before=True)
    torch.testing.assert_close(losses.inverse, moved + pushed)
    torch.testing.assert_close(losses.contrast, contrast_loss(context[:2, 0], context[2:, -1]))
    total = losses.prediction + 0.03 * losses.sigreg + 0.1 * losses.covariance + 0.25 * losses.inverse + 0.1 * losses.contrast
    torch.testing.assert_close(losses.total, total)


@pytest.mark.parametrize(("share", "joined"), [(0.0, 0.0), (0.2, 0.0), (0.25, 0.5), (0.3, 1.0), (1.0, 1.0)])
def test_contrast_joins_late(model: JEPA, share: float, joined: float) -> None:
    batch = observations(), torch.randn(B, T - 1, 3), unit_directions(S, 32, torch.Generator().manual_seed(0))
    late, now = model(*batch), model(*batch, joined=model.config.joined(share))
    torch.testing.assert_close(now.contrast, late.contrast)
    torch.testing.assert_close(late.total - now.total, (1 - joined) * model.config.contrast_weight * late.contrast)


def test_shapes_come_alone_and_then_beside_the_others() -> None:
    torch.manual_seed(0)
    model = JEPA(LABELLED_MACHINE, replace(model_config(latent=D), shape_weight=2.0, shape_alone=0.25))
    views = {name: value[0] for name, value in observations(1, 16).items()}
    batch = observations(), torch.randn(B, T - 1, 3), unit_directions(S, 32, torch.Generator().manual_seed(0))
    assert model.recognised_by is not None

    def recognised(seen: dict[str, torch.Tensor]) -> torch.Tensor:
        by = model.recognised_by(model.encode({name: value[None] for name, value in seen.items()})[0, :, :S])
        return contrast_loss(by[: len(by) // 2], by[len(by) // 2 :])

    assert [model.config.is_alone(share) for share in (0.0, 0.2, 0.25, 1.0)] == [True, True, False, False]
    alone, beside, without = model(*batch, views=views, alone=True), model(*batch, views=views), model(*batch)
    torch.testing.assert_close(alone.shape, recognised(views))
    torch.testing.assert_close(alone.total, 2.0 * alone.shape)
    torch.testing.assert_close(beside.shape, recognised({name: value[::2] for name, value in views.items()}))
    torch.testing.assert_close(beside.total, without.total + 2.0 * beside.shape)


def test_every_weight_learns(model: JEPA) -> None:
    model(observations(), torch.randn(B, T - 1, 3), unit_directions(S, 32, torch.Generator().manual_seed(0))).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_knows_no_label(model: JEPA) -> None:
    """By construction: the schema has none, and the encoder looks up nothing but the observations of that schema."""
    assert LABELLED_MACHINE.labels
    assert not model.schema.labels
    seen = observations()
    pose = torch.randn(B, T, 2)
    assert torch.equal(model.encode(seen | {"pose": pose}), model.encode(seen | {"pose": -pose}))
    assert torch.equal(model.encode(seen | {"pose": pose}), model.encode(seen))


def test_a_schema_without_actions_or_observations_is_refused() -> None:
    signals = LABELLED_MACHINE.signals
    with pytest.raises(SchemaError, match="no action"):
        JEPA(Schema(signals=tuple(s for s in signals if s.role != "action")), model_config())
    with pytest.raises(SchemaError, match="no observation"):
        JEPA(Schema(signals=tuple(s for s in signals if s.role != "observation")), model_config())


def test_a_model_that_sees_the_action_knows_what_was_done() -> None:
    torch.manual_seed(0)
    model = JEPA(LABELLED_MACHINE, replace(model_config(latent=D), sees_action=True, context=0, contrast_weight=0.0))
    seen, actions = observations(), torch.randn(B, T - 1, 3)
    before = before_each(actions)
    assert before.shape == (B, T, 3)
    assert torch.equal(before[:, 1:], actions)
    assert torch.equal(before[:, 0], actions[:, 0]), "the first one stands for the one before it"
    latents, other = model.encode(seen, before), model.encode(seen, before.flip(0))
    assert not torch.allclose(latents, other)
    losses = model(seen, actions, unit_directions(model.config.state, 32, torch.Generator().manual_seed(0)))
    assert losses.total.isfinite()
    assert losses.contrast == 0, "there is no context"
    blind = JEPA(LABELLED_MACHINE, model_config(latent=D))
    assert torch.equal(blind.encode(seen, before), blind.encode(seen))
