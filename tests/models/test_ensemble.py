"""Models asked together: latents side by side, distances and policies as one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from point_world import SCHEMA, model_config
from tacit.contracts import WorldModel
from tacit.models.ensemble import Ensemble, MeanDistance, MeanPolicy, apart, beside, members_of
from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.models.jepa import JEPA

HEAD = HeadConfig(width=16, depth=1)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.fixture
def models() -> list[JEPA]:
    torch.manual_seed(0)
    found = [JEPA(SCHEMA, model_config()) for _ in range(3)]
    for model in found:
        torch.nn.init.normal_(model.predictor.network[-1].weight, std=0.1)  # a fresh predictor is the identity
        model.requires_grad_(False).eval()
    return found


def test_joint_latents_are_as_far_apart_as_those_of_the_members_on_average() -> None:
    here, there = [numbers(5, 4) for _ in range(3)], [numbers(5, 4, 1)[..., 0] for _ in range(3)]
    each = torch.stack([(a - b).square().sum(-1) for a, b in zip(here, there, strict=True)])
    torch.testing.assert_close((beside(here) - beside(there)).square().sum(-1), each.mean(0))
    for part, back in zip(here, apart(beside(here), 3), strict=True):
        torch.testing.assert_close(part, back)


def test_an_ensemble_says_what_its_members_say(models: list[JEPA]) -> None:
    ensemble = Ensemble(models)
    assert isinstance(ensemble, WorldModel)
    assert ensemble.latent_size == 3 * models[0].latent_size
    seen, actions = {"sensors": numbers(2, 5, 6)}, numbers(2, 4, 3, 2)
    latents = [model.encode(seen) for model in models]
    torch.testing.assert_close(ensemble.encode(seen), beside(latents))
    history = ensemble.encode(seen)[:, -2:]
    expected = beside([model.rollout(latent[:, -2:], actions) for model, latent in zip(models, latents, strict=True)])
    torch.testing.assert_close(ensemble.rollout(history, actions), expected)
    torch.testing.assert_close(ensemble.step(history, actions[:, 0, 0]), expected[:, 0, 0])
    assert not torch.allclose(apart(expected, 3)[0], apart(expected, 3)[1])
    assert members_of(ensemble) == tuple(models)
    assert members_of(models[0]) == (models[0],)


def test_what_is_predicted_of_joint_latents_is_what_moves(models: list[JEPA]) -> None:
    ensemble, history = Ensemble(models), numbers(1, 2, 24)
    moved = ensemble.rollout(history, numbers(1, 1, 3, 2))[0, 0, -1] - history[0, -1]
    assert (ensemble.predicted_part(moved).abs() > 1e-4).all()
    assert ensemble.predicted_part(moved).numel() == 3 * models[0].config.state
    assert moved.abs().sum().item() == pytest.approx(ensemble.predicted_part(moved).abs().sum().item(), rel=1e-5)


def test_other_machines_or_settings_and_single_models_make_no_ensemble(models: list[JEPA]) -> None:
    with pytest.raises(ValueError, match="at least two members, not 1"):
        Ensemble(models[:1])
    with pytest.raises(ValueError, match="same signals, with the same settings"):
        Ensemble([models[0], JEPA(SCHEMA, model_config(latent=10))])


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_distance_is_the_mean_of_those_of_the_members(is_packed: bool) -> None:
    torch.manual_seed(1)
    heads = [TemporalDistance(4, HEAD).requires_grad_(False) for _ in range(2)]
    distance = MeanDistance(heads)
    latents, goal = [numbers(3, 7, 4), numbers(3, 7, 4) + 1], [numbers(3, 1, 4), numbers(3, 1, 4) - 1]
    expected = torch.stack([head(*pair) for head, *pair in zip(heads, latents, goal, strict=True)]).mean(0)
    if is_packed:
        distance.pack(torch.float32)
    with torch.no_grad():
        found = distance(beside(latents), beside(goal))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    embedded = distance.between(distance.embed(beside(latents)), distance.embed(beside(goal)))
    torch.testing.assert_close(embedded, expected, rtol=1e-4, atol=1e-4)
    assert (found > 0).all()
    copied = copy.deepcopy(distance).float()
    torch.testing.assert_close(copied(beside(latents), beside(goal)), expected, rtol=1e-4, atol=1e-4)


def test_a_policy_of_several_is_as_wide_as_their_disagreement() -> None:
    torch.manual_seed(2)
    policies = [GoalPolicy(4, 2, 2, HEAD).requires_grad_(False) for _ in range(2)]
    for policy in policies:
        policy.actions.set(torch.zeros(2), torch.ones(2))
    history, goal = [numbers(5, 2, 4), -numbers(5, 2, 4)], [numbers(5, 4), -numbers(5, 4)]
    means, spreads = (
        torch.stack(each) for each in zip(*(p.distribution(*of) for p, *of in zip(policies, history, goal, strict=True)), strict=True)
    )
    together = MeanPolicy(policies)
    mean, spread = together.distribution(beside(history), beside(goal))
    torch.testing.assert_close(mean, means.mean(0))
    torch.testing.assert_close(together(beside(history), beside(goal)), mean)
    # The moments of a sample of the mixture.
    rng = torch.Generator().manual_seed(0)
    drawn = means + spreads * torch.randn((20_000, *means.shape), generator=rng)
    torch.testing.assert_close(drawn.flatten(0, 1).std(0), spread, rtol=0.05, atol=0.01)
