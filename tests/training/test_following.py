"""Intervals that follow: how many measurements they hold of a plant that drifts away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.training.following import MOST, FollowedWidths, followed


def at_each_moment(widths: FollowedWidths, errors: torch.Tensor) -> torch.Tensor:
    """Half-widths, (B, H, N)."""
    return torch.from_numpy(np.stack(list(followed(widths, errors.numpy())))).float()


def drifting(moments: int, horizon: int = 5) -> torch.Tensor:
    """Errors of two channels: the one grows to three times its size, the other shrinks to a third; every third moment has no second one."""
    rng = np.random.default_rng(0)
    size = np.linspace(0.0, 1.0, moments)[:, None, None] * np.log([3.0, 1 / 3])
    errors = rng.normal(size=(moments, horizon, 2)) * np.exp(size)
    errors[::3, :, 1] = np.nan
    return torch.from_numpy(errors).float()


def test_intervals_hold_what_they_promise_although_errors_grow_or_shrink() -> None:
    errors = drifting(6000)
    first = torch.full((5, 2), 1.645)
    inside = torch.where(errors.isfinite(), (errors.abs() <= first).float(), torch.nan).nanmean(0)
    assert inside[:, 0].max() < 0.8
    assert inside[:, 1].min() > 0.96
    widths = at_each_moment(FollowedWidths(first), errors)
    inside = torch.where(errors.isfinite(), (errors.abs() <= widths).float(), torch.nan).nanmean(0)
    torch.testing.assert_close(inside, torch.full((5, 2), 0.9), atol=0.015, rtol=0)
    torch.testing.assert_close(widths[0], first)


def test_a_width_knows_only_what_was_measured_before() -> None:
    errors = 0.1 * drifting(40)
    later = errors.clone()
    later[20:] = 100.0
    first = torch.ones(5, 2)
    before, after = (at_each_moment(FollowedWidths(first), each) for each in (errors, later))
    # The forecast made at moment 20 tells of moment 21 first.
    torch.testing.assert_close(before[:21], after[:21])
    assert (after[21, 0] > before[21, 0]).all()
    torch.testing.assert_close(before[21, 1:], after[21, 1:])
    assert (after[25, 4] > before[25, 4]).all()


def test_widths_stay_within_bounds_and_go_on_in_the_next_episode() -> None:
    widths = FollowedWidths(torch.ones(3, 1))
    at_each_moment(widths, torch.zeros(2000, 3, 1))
    np.testing.assert_allclose(widths.now, 1 / MOST)
    at_each_moment(widths, torch.full((4000, 3, 1), 1e9))
    np.testing.assert_allclose(widths.now, MOST)
    kept = widths.now
    at_each_moment(widths, torch.full((10, 3, 1), torch.nan))
    np.testing.assert_array_equal(widths.now, kept)
    widths.begin()
    widths.step(np.full((3, 1), 0.0))
    assert (widths.now[0] < kept[0]).all()
    np.testing.assert_array_equal(widths.now[1:], kept[1:])  # of what was forecast before the episode nothing is known


def test_errors_are_taken_one_moment_at_a_time() -> None:
    """A year of logs does not fit into memory as often as it is forecast."""
    taken = []

    def endless() -> Iterator[NDArray[np.float32]]:
        while True:
            taken.append(np.zeros((5, 2), np.float32))
            yield taken[-1]

    widths = list(islice(followed(FollowedWidths(torch.ones(5, 2)), endless()), 3))
    assert len(taken) == 3
    assert (widths[2][0] < widths[0][0]).all()
    assert not list(followed(FollowedWidths(torch.ones(5, 2)), []))
