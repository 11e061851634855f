"""What the planners share: noise, proposals, and the rounds before a deadline."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from linear_worlds import problem

from tacit.contracts import Spent
from tacit.planning import LatentDistance
from tacit.planning.search import Noise, Rounds, first_guess, resting, usable, with_proposals

CPU = torch.device("cpu")


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 12, 25])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_coloured_noise_has_variance_one_at_every_step(horizon: int, exponent: float) -> None:
    noise = Noise(0).coloured((2, 8000, horizon, 2), exponent, CPU)
    assert noise.shape == (2, 8000, horizon, 2)
    torch.testing.assert_close(noise.square().mean((0, 1, 3)), torch.ones(horizon), rtol=0.05, atol=0)
    assert noise.mean().abs() < 0.03


@pytest.mark.parametrize("horizon", [15, 16])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_power_of_coloured_noise_falls_with_frequency(horizon: int, exponent: float) -> None:
    noise = Noise(1).coloured((1, 20000, horizon, 1), exponent, CPU)
    power = torch.fft.rfft(noise[0, :, :, 0]).abs().square().mean(0)
    expected = torch.arange(horizon // 2 + 1).clamp(min=1.0) ** -exponent
    torch.testing.assert_close(power / power[1], expected, rtol=0.06, atol=0)


def test_coloured_noise_without_colour_is_white() -> None:
    noise = Noise(2).coloured((1, 20000, 8, 1), 0.0, CPU)[0, :, :, 0]
    torch.testing.assert_close(torch.corrcoef(noise.T), torch.eye(8), rtol=0, atol=0.03)


def test_elements_of_an_action_are_independent() -> None:
    noise = Noise(3)
    for drawn in (noise.coloured((1, 8000, 10, 2), 2.0, CPU), noise.smooth((1, 8000, 10, 2), 0.9, CPU)):
        assert torch.corrcoef(drawn[0, :, 4].T)[0, 1].abs() < 0.05


def test_resting_goes_from_never_moving_to_always_moving() -> None:
    assert resting(3, 8, CPU).sum(1).tolist() == [0, 2, 8]


def test_without_proposals_samples_stay_what_they_are() -> None:
    samples = torch.randn(2, 5, 3, 1)
    assert with_proposals(samples, None) is samples
    assert torch.equal(with_proposals(samples, samples[:, :0]), samples)
    assert torch.equal(with_proposals(samples[:, :1], samples), samples[:, :1])


def test_proposals_do_not_write_into_the_samples() -> None:
    samples = torch.zeros(1, 4, 3, 1)
    filled = with_proposals(samples, torch.ones(1, 2, 3, 1))
    assert filled[0, :, 0, 0].tolist() == [0, 1, 1, 0]
    assert not samples.any()


def test_one_number_that_is_not_finite_spoils_a_proposal() -> None:
    given = torch.ones(1, 3, 2, 2)
    given[0, 1, 1, 0] = torch.nan
    assert usable(given, torch.full((1, 1, 2, 2), 5.0))[0, :, 0, 0].tolist() == [1, 5, 1]


def test_the_first_guess_is_inside_the_limits() -> None:
    asked = problem(torch.zeros(1, 1, 2), LatentDistance(goal=torch.zeros(1, 2)), horizon=2)
    assert torch.equal(first_guess(asked, None), torch.zeros(1, 2, 2))
    assert torch.equal(first_guess(asked, torch.full((1, 2, 2), 7.0)), torch.ones(1, 2, 2))
    told = replace(asked, previous=torch.full((1, 2), 0.5))
    assert torch.equal(first_guess(told, torch.full((1, 2, 2), torch.nan)), torch.full((1, 2, 2), 0.5))


def rounds(monkeypatch: pytest.MonkeyPatch, limit: int, deadline: float | None, *durations: float) -> tuple[int, Rounds]:
    """How many rounds of these durations are begun, the clock being theirs alone."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    counted = Rounds(limit, deadline, CPU)
    for number, seconds in enumerate(durations, 1):
        assert counted.is_last == (number == limit)
        clock[0] += seconds
        if not counted.another(10):
            return number, counted
    raise AssertionError("the search goes on for longer than the test")


def test_rounds_end_at_their_number_without_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    number, counted = rounds(monkeypatch, 3, None, 1.0, 1.0, 1.0)
    assert number == 3
    assert counted.has_time()
    spent = counted.spent(further=2)
    assert (spent.seconds, spent.iterations, spent.candidates, spent.cut_by_deadline) == (3.0, 3, 32, False)


def test_a_round_that_would_end_too_late_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by the last round, which was the long one."""
    number, counted = rounds(monkeypatch, 9, 5.5, 1.0, 3.0)
    assert number == 2
    assert counted.spent().cut_by_deadline
    number, counted = rounds(monkeypatch, 9, 4.5, 2.0, 1.0, 1.0)
    assert number == 3


def test_what_follows_the_last_round_needs_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _, counted = rounds(monkeypatch, 2, 2.5, 1.0, 1.0)
    assert not counted.spent().cut_by_deadline
    assert not counted.has_time()
    assert counted.spent().cut_by_deadline


def test_a_search_that_is_repeated_ends_where_it_did() -> None:
    device = torch.device("cpu")
    for cut, rounds in ((True, 3), (True, 1), (False, 5)):
        again = Rounds(5, Spent(seconds=9.0, iterations=rounds, candidates=0, cut_by_deadline=cut), device)
        made = 1
        while again.another(10):
            made += 1
        assert made == rounds
        spent = again.spent()
        assert (spent.iterations, spent.candidates, spent.cut_by_deadline) == (rounds, 10 * rounds, cut)
