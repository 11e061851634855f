"""What is special to propose and verify."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_worlds import Altered, LinearWorld, problem
from torch import Tensor

from tacit.planning import CEM, CEMConfig, LatentDistance, ProposeVerify, ProposeVerifyConfig

GOAL = LatentDistance(goal=torch.tensor([[0.5, -0.5]]))
ASKED = problem(torch.zeros(1, 1, 2), GOAL)


def proposals(count: int, value: float = 0.5) -> Tensor:
    return torch.full((1, count, 8, 2), value)


@pytest.mark.parametrize(
    "make", [lambda w: CEM(w, CEMConfig(candidates=16, elites=4)), lambda w: ProposeVerify(w, ProposeVerifyConfig(candidates=16))]
)
@pytest.mark.parametrize("count", [3, 15, 40])
def test_proposals_are_tried_first_after_the_last_plan(make: object, count: int) -> None:
    world, last = LinearWorld(), torch.full((1, 8, 2), -0.25)
    given = torch.linspace(0.1, 0.9, count)[None, :, None, None].expand(1, count, 8, 2)
    make(world).plan(replace(ASKED, proposals=given), warm_start=last)  # type: ignore[operator]
    first = world.rolled[0]
    assert first.shape[1] == 16
    assert torch.equal(first[:, 0], last)
    assert torch.equal(first[:, 1 : 1 + count], given[:, :15])
    assert not any((rolled[:, 1 : 1 + min(count, 15)] == given[:, :15]).all() for rolled in world.rolled[1:]), "in the first iteration only"


def test_a_perfect_proposal_is_found_at_once_and_a_bad_one_does_no_harm() -> None:
    def cost(given: Tensor | None) -> float:
        planner = ProposeVerify(LinearWorld(), ProposeVerifyConfig(candidates=32, iterations=1))
        return float(planner.plan(replace(ASKED, proposals=given)).cost)

    best = torch.zeros(1, 1, 8, 2)
    best[:, :, :5] = torch.tensor([1.0, -1.0])
    assert cost(best) == pytest.approx(float(GOAL(LinearWorld().rollout(ASKED.history, best), best)))
    assert cost(best) < cost(None)
    assert cost(torch.full((1, 4, 8, 2), -1.0)) < 1.5 * cost(None)
    assert cost(torch.full((1, 4, 8, 2), torch.nan)) < 1.5 * cost(None)


def test_what_is_proposed_is_moved_inside_the_limits() -> None:
    world = LinearWorld()
    plan = ProposeVerify(world, ProposeVerifyConfig(iterations=1)).plan(replace(ASKED, proposals=proposals(20, 7.0)))
    assert world.rolled[0].abs().max() <= 1
    assert (world.rolled[0][:, 1:21] == 1).all()
    assert plan.actions.abs().max() <= 1


def test_two_good_ways_are_both_refined() -> None:
    """The mean of both leads into a wall: a cost that only likes the far left and the far right."""
    world = LinearWorld()

    def edges(trajectory: Tensor, actions: Tensor) -> Tensor:
        return -trajectory[..., -1, 0].abs()

    config = ProposeVerifyConfig(candidates=64, elites=8, iterations=2, refine_std=0.05, noise_correlation=0.0)
    ProposeVerify(world, config).plan(problem(torch.zeros(1, 1, 2), edges))
    refined = world.rolled[1][0, :, :, 0].mean(1)
    assert (refined > 0.2).any()
    assert (refined < -0.2).any()
    assert refined.abs().min() > 0.1, "nothing is refined between them"


def test_refinement_stays_near_and_comes_nearer() -> None:
    world = LinearWorld()
    config = ProposeVerifyConfig(candidates=400, elites=1, iterations=3, refine_std=0.1, shrink=0.5, noise_correlation=0.0)
    ProposeVerify(world, config).plan(problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), bound=10.0))
    second, third = (rolled[0] - rolled[0].mean(0) for rolled in world.rolled[1:])
    assert second.std() == pytest.approx(1.0, rel=0.1)
    assert third.std() == pytest.approx(0.5, rel=0.1)


def test_half_of_its_own_samples_come_to_rest() -> None:
    world = LinearWorld()
    ProposeVerify(world, ProposeVerifyConfig(candidates=41, iterations=1)).plan(replace(ASKED, proposals=proposals(20)))
    still = world.rolled[0][0, 31:]
    assert (still[0] == 0).all()
    assert (still[:, -1] == 0).all(-1).float().mean() > 0.7
    assert (still[-1] != 0).all()


def test_a_prediction_that_is_not_finite_has_no_children() -> None:
    def breaks(trajectory: Tensor, actions: Tensor) -> Tensor:
        return torch.where((actions == 0.5).all(-1).all(-1)[..., None, None], torch.nan, trajectory)

    world = Altered(change=breaks)
    plan = ProposeVerify(world, ProposeVerifyConfig(candidates=64, refine_std=1e-4)).plan(replace(ASKED, proposals=proposals(20)))
    assert plan.feasible.all()
    assert ((world.rolled[1] - 0.5).abs().amax((2, 3)) > 0.01).all()


def test_proposals_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"proposals have shape \(1, 3, 7, 2\).*\(1, P, 8, 2\)"):
        ProposeVerify(LinearWorld(), ProposeVerifyConfig()).plan(replace(ASKED, proposals=torch.zeros(1, 3, 7, 2)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("elites", 0),
        ("elites", 97),
        ("iterations", 0),
        ("initial_std", 0.0),
        ("refine_std", 0.0),
        ("shrink", 0.0),
        ("shrink", 1.1),
        ("noise_correlation", 1.0),
        ("soft_weight", -1.0),
    ],
)
def test_settings_out_of_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field.removesuffix("s")):
        ProposeVerifyConfig(**{field: value})  # type: ignore[arg-type]
