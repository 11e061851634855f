"""Heads fitted on logs whose true distances are known, and what they may draw."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacit.models.heads import GoalPolicy, HeadConfig, TemporalDistance
from tacit.training.heads import _drawn, fit_distance, fit_policy
from tacit.training.latents import LatentLog
from tacit.training.settings import HeadTraining

HEAD = HeadConfig(width=64, depth=2)
PLACES = 12


def training(steps: int = 300, **changed: float) -> HeadTraining:
    given_values = {
        "steps": steps,
        "batch": 256,
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "expectile": 0.98,
        "spans": (1, 2, 3),
        "near": 0.3,
        "near_steps": 4,
        "follow": 0.03,
    }
    return HeadTraining(**given_values | changed)


def ring_log(episodes: int = 40, steps: int = 40) -> LatentLog:
    """A walk that turns round at random on a ring of twelve places: it gets anywhere, hardly ever the short way."""
    generator = torch.Generator().manual_seed(0)
    moves = torch.randint(0, 2, (episodes, steps), generator=generator) * 2 - 1
    start = torch.randint(0, PLACES, (episodes, 1), generator=generator)
    place = torch.cat((start, start + moves.cumsum(1)), dim=1) % PLACES
    return LatentLog(
        latents=torch.nn.functional.one_hot(place.flatten(), PLACES).float() * 3,
        actions=torch.nn.functional.pad(moves.float(), (0, 1)).reshape(-1, 1),
        first=torch.arange(episodes) * (steps + 1),
        steps=torch.full((episodes,), steps),
    )


def all_pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Every place with every goal, (P², P) each, and the true steps between them, (P²,)."""
    places = torch.eye(PLACES) * 3
    here, goal = places.repeat_interleave(PLACES, 0), places.repeat(PLACES, 1)
    gap = (torch.arange(PLACES)[:, None] - torch.arange(PLACES)).abs().flatten()
    return here, goal, torch.minimum(gap, PLACES - gap).float()


def test_distance_finds_the_shortest_way_that_nobody_walked() -> None:
    log = ring_log()
    here, goal, truth = all_pairs()
    fitted = fit_distance(log, HEAD, training(1500), seed=0, bfloat16=False)
    average = fit_distance(log, HEAD, training(600, expectile=0.5), seed=0, bfloat16=False)
    error = (fitted(here, goal) - truth).detach()
    assert error.abs().mean() < 0.3, "steps"
    assert error.abs().max() < 1.5
    longer = (average(here, goal) - truth).detach()[truth == 6]
    assert longer.mean() > 4.0, "the average way is much longer, so the expectile is what finds the short one"


def test_policy_does_what_the_logs_did_on_the_way() -> None:
    """To the goal one step ahead only one action leads."""
    policy = fit_policy(ring_log(), HEAD, training(300), seed=0, bfloat16=False)
    here, goal, truth = all_pairs()
    place, target = here.argmax(-1), goal.argmax(-1)
    next_to = truth == 1
    direction = torch.where((target - place) % PLACES == 1, 1.0, -1.0)
    with torch.no_grad():
        decided = policy(here[:, None].expand(-1, 2, -1), goal)[:, 0]
    assert ((decided * direction)[next_to] > 0).all()
    assert (decided * direction)[next_to].mean() > 0.3


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), near=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 1000))
def test_draws_stay_inside_their_episode(lengths: list[int], near: float, seed: int) -> None:
    steps = torch.tensor(lengths)
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    rows = int((steps + 1).sum())
    log = LatentLog(latents=torch.zeros(rows, 2), actions=torch.zeros(rows, 1), first=first, steps=steps)
    pairs = _drawn(log, training(near=near), torch.Generator().manual_seed(seed))
    limit = steps[pairs.episode]
    assert ((pairs.t >= 0) & (pairs.t < limit)).all(), "the last frame has no action"
    assert ((pairs.goal >= 0) & (pairs.goal <= limit)).all()
    if near == 1.0:
        assert ((pairs.goal >= pairs.t) & (pairs.goal <= pairs.t + 4)).all()


def marked_log() -> LatentLog:
    """Episodes of different lengths whose latents say which one they are of; the action rows that mean nothing are NaN."""
    steps = torch.tensor([1, 5, 2, 9])
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    episode = torch.repeat_interleave(torch.arange(4), steps + 1)
    actions = torch.randn(len(episode), 2, generator=torch.Generator().manual_seed(0)) * 5 + 100
    actions[first + steps] = math.nan
    return LatentLog(latents=torch.stack((episode.float(), torch.arange(len(episode)) / 10), -1), actions=actions, first=first, steps=steps)


@pytest.mark.parametrize("kind", [TemporalDistance, GoalPolicy])
def test_fitting_never_crosses_episodes_and_never_uses_an_action_that_means_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: type[torch.nn.Module]
) -> None:
    name = "standardized" if kind is GoalPolicy else "forward"
    original, seen = getattr(kind, name), []

    def forward(self: torch.nn.Module, given: Tensor, goal: Tensor) -> Tensor:
        latent = given[:, -1] if kind is GoalPolicy else given
        assert torch.equal(latent[:, 0], goal[:, 0]), "a goal of another episode"
        seen.append(goal[:, 1] - latent[:, 1])
        return original(self, given, goal)

    monkeypatch.setattr(kind, name, forward)
    log, config = marked_log(), training(20, near=0.2)
    if kind is GoalPolicy:
        head = fit_policy(log, HEAD, config, seed=0, bfloat16=False)
        inside = log.actions[log.actions.isfinite().all(-1)]
        torch.testing.assert_close(head.actions.mean, inside.mean(0))
        assert torch.cat(seen).min() > 0.05, "a policy is shown goals that come after"
    else:
        head = fit_distance(log, HEAD, config, seed=0, bfloat16=False)
        assert torch.cat(seen).min() < -0.5, "a distance also learns the way back"
    assert len(seen) >= 20
    assert all(parameter.isfinite().all() for parameter in head.parameters())


def test_fitting_follows_from_the_seed_and_leaves_the_global_one_alone() -> None:
    log, config = marked_log(), training(5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (fit_distance(log, HEAD, config, seed=seed, bfloat16=True) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [head.embedding[0].weight for head in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_minutes_end_by_the_clock_and_progress_is_told() -> None:
    told: list[tuple[float, float]] = []
    config = HeadTraining(minutes=0.2 / 60, batch=32, spans=(1,))
    fit_distance(marked_log(), HEAD, config, seed=0, bfloat16=False, progress=lambda done, loss: told.append((done, loss)))
    shares = [done for done, _ in told]
    assert shares
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1


@pytest.mark.parametrize("lengths", [{}, {"steps": 3, "minutes": 1.0}])
def test_the_length_of_fitting_is_given_once(lengths: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either steps or minutes"):
        HeadTraining(**lengths)
