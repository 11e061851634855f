"""What is special to iCEM."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_worlds import LinearWorld, problem
from torch import Tensor

from tacit.planning import ICEM, ICEMConfig, LatentDistance

GOAL = LatentDistance(goal=torch.tensor([[0.5, -0.5]]))
ASKED = problem(torch.zeros(1, 1, 2), GOAL)


def rolled(config: ICEMConfig, *, bound: float = 1.0, horizon: int = 8) -> list[Tensor]:
    """Candidates (K, H, A) of every iteration."""
    world = LinearWorld()
    ICEM(world, config).plan(problem(torch.zeros(1, 1, 2), GOAL, bound=bound, horizon=horizon))
    return [actions[0] for actions in world.rolled]


def test_the_population_decays_to_two_candidates_per_elite() -> None:
    world = LinearWorld()
    config = ICEMConfig(candidates=100, elites=20, iterations=6, decay=1.25)
    plan = ICEM(world, config).plan(ASKED)
    counts = [actions.shape[1] for actions in world.rolled]
    assert counts == [100, 80, 64, 51, 40, 40]
    assert plan.spent.candidates == sum(counts)


def test_few_candidates_never_become_more() -> None:
    assert [len(actions) for actions in rolled(ICEMConfig(candidates=5, elites=4, iterations=3))] == [5, 5, 5]


@pytest.mark.parametrize("exponent", [0.0, 2.0, 4.0])
def test_a_larger_exponent_is_smoother(exponent: float) -> None:
    config = ICEMConfig(candidates=4000, iterations=1, initial_std=0.2, noise_exponent=exponent)
    (actions,) = rolled(config, bound=100.0, horizon=16)
    assert (actions[0] == 0).all(), "the mean is the first candidate"
    torch.testing.assert_close(actions.std(0), torch.full((16, 2), 20.0), rtol=0.08, atol=0)
    frequency = torch.arange(-8.0, 8.0) / 16
    power = frequency.abs().clamp(min=1 / 16) ** -exponent
    next_to_it = (power * torch.cos(2 * torch.pi * frequency)).sum() / power.sum()
    turns = actions[1:].diff(dim=1).square().mean() / actions[1:].square().mean()
    torch.testing.assert_close(turns, 2 * (1 - next_to_it), rtol=0.05, atol=0)


def test_kept_elites_still_pull_on_the_mean() -> None:
    """A proposal that no sample comes near is fitted to in the first two iterations if it is kept, and only in the first if not."""
    best = torch.zeros(1, 1, 8, 2)
    best[:, :, :5] = torch.tensor([1.0, -1.0])
    far = []
    for share in (0.0, 1.0):
        world = LinearWorld()
        config = ICEMConfig(candidates=64, elites=2, iterations=3, initial_std=0.02, min_std=0.0, momentum=0.0, kept_share=share)
        ICEM(world, config).plan(replace(ASKED, proposals=best))
        far.append((world.rolled[2][0, 0] - best[0, 0]).abs().mean())
    assert far[1] < 0.7 * far[0]


def test_the_mean_is_tried_but_no_elite_after_the_first_iteration() -> None:
    """With one candidate, the mean, there is nothing to fit to but the first guess: the mean stays."""
    config = ICEMConfig(candidates=1, elites=1, iterations=4, kept_share=0.0)
    for actions in rolled(config):
        assert torch.equal(actions, torch.zeros(1, 8, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("elites", 0),
        ("elites", 129),
        ("iterations", 0),
        ("initial_std", 0.0),
        ("initial_std", float("nan")),
        ("min_std", 0.6),
        ("momentum", 1.0),
        ("noise_exponent", -0.1),
        ("noise_exponent", float("nan")),
        ("decay", 0.9),
        ("kept_share", 1.1),
        ("soft_weight", -1.0),
    ],
)
def test_settings_out_of_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        ICEMConfig(**{field: value})  # type: ignore[arg-type]
