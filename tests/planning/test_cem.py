"""What is special to the cross-entropy method."""

from __future__ import annotations

import pytest
import torch
from linear_worlds import Altered, LinearWorld, problem

from tacit.planning import CEM, CEMConfig, LatentDistance


def proposed(config: CEMConfig) -> torch.Tensor:
    """Candidates (K, H, A) of the first iteration, within +-100."""
    world = LinearWorld()
    CEM(world, config).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), bound=100.0, horizon=6))
    return world.rolled[0][0]


def test_the_first_standard_deviation_is_a_fraction_of_half_the_range() -> None:
    actions = proposed(CEMConfig(candidates=4000, initial_std=0.2, iterations=1))
    torch.testing.assert_close(actions.std(0), torch.full((6, 2), 20.0), rtol=0.06, atol=0)
    assert (actions[0] == 0).all(), "the mean is the first candidate"


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_noise_is_correlated_in_time_as_an_ar1_process(rho: float) -> None:
    actions = proposed(CEMConfig(candidates=8000, initial_std=0.2, iterations=1, noise_correlation=rho))[1:, :, 0]
    steps = torch.arange(6.0)
    torch.testing.assert_close(torch.corrcoef(actions.T), rho ** (steps[:, None] - steps).abs(), rtol=0, atol=0.05)
    torch.testing.assert_close(actions.std(0), torch.full((6,), 20.0), rtol=0.06, atol=0)


def test_the_second_iteration_is_fitted_to_the_elites() -> None:
    world, goal = LinearWorld(), torch.tensor([[0.1, 0.1]])
    CEM(world, CEMConfig(candidates=4000, elites=40, iterations=2, min_std=0.0)).plan(
        problem(torch.zeros(1, 1, 2), LatentDistance(goal=goal), horizon=1)
    )
    first, second = world.rolled[0][0, :, 0], world.rolled[1][0, :, 0]
    elites = first[(first - 1).square().sum(-1).argsort()[:40]]
    torch.testing.assert_close(second[0], elites.mean(0))
    # The upper half is cut off at the bound: what lies below the mean still shows the standard deviation.
    spread = (second - second[0]).clamp(max=0).square().mean(0).mul(2).sqrt()
    torch.testing.assert_close(spread, elites.std(0, correction=0), rtol=0.1, atol=0)


@pytest.mark.parametrize("any_finite", [True, False])
def test_what_is_not_finite_is_no_elite(any_finite: bool) -> None:
    """Only the mean itself, or nothing, has a finite prediction: the mean stays where it is."""

    def breaks(trajectory: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        is_finite = any_finite & (actions == 0.25).all(-1).all(-1)
        return torch.where(is_finite[..., None, None], trajectory, torch.nan)

    world = Altered(change=breaks)
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)), horizon=3)
    CEM(world, CEMConfig(iterations=2)).plan(asked, warm_start=torch.full((1, 3, 2), 0.25))
    assert (world.rolled[1][0, 0] == 0.25).all()


def test_momentum_keeps_its_share_of_the_mean() -> None:
    def second_mean(momentum: float) -> torch.Tensor:
        world = LinearWorld()
        CEM(world, CEMConfig(iterations=2, momentum=momentum)).plan(
            problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.ones(1, 2)), horizon=3)
        )
        return world.rolled[1][0, 0]

    torch.testing.assert_close(second_mean(0.4), 0.6 * second_mean(0.0))


def test_the_standard_deviation_does_not_collapse() -> None:
    world = LinearWorld()
    CEM(world, CEMConfig(candidates=500, iterations=12, min_std=0.05)).plan(
        problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), bound=10.0, horizon=1)
    )
    torch.testing.assert_close(world.rolled[-1][0, :, 0].std(0), torch.full((2,), 0.5), rtol=0.15, atol=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("elites", 0),
        ("elites", 129),
        ("iterations", 0),
        ("initial_std", 0.0),
        ("min_std", 0.6),
        ("min_std", -0.1),
        ("momentum", 1.0),
        ("noise_correlation", 1.0),
        ("noise_correlation", -0.1),
        ("soft_weight", -1.0),
        ("initial_std", float("nan")),
    ],
)
def test_settings_out_of_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        CEMConfig(**{field: value})  # type: ignore[arg-type]


def test_local_candidates_move_and_then_rest_in_the_middle_whatever_the_warm_start() -> None:
    world = LinearWorld()
    config = CEMConfig(candidates=2000, initial_std=0.2, iterations=1, local_share=0.5)
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), bound=100.0, horizon=6)
    CEM(world, config).plan(asked, warm_start=torch.full((1, 6, 2), 50.0))
    wide, local = world.rolled[0][0][:1000], world.rolled[0][0][1000:]
    assert (wide[0] == 50.0).all(), "the mean is still the first candidate"
    assert wide.mean() > 45.0
    assert (local[0] == 0.0).all(), "the first local one does not move at all"
    assert (local[-1] != 0.0).all(), "the last one never rests"
    assert local.mean().abs() < 1.0
    moves = (local != 0.0).all(-1)
    assert (moves[:, 1:] <= moves[:, :-1]).all(), "what rests stays at rest"
    assert moves.sum(1).diff().min() == 0
    assert set(moves.sum(1).tolist()) == set(range(7)), "every number of moves"
    torch.testing.assert_close(local[-80:].std(), torch.tensor(0.2 * 100.0), rtol=0.1, atol=0)
