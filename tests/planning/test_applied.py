"""What was really applied, as somebody tells it: whose word counts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacit.planning.applied import told_before, told_first, told_since

NAN = float("nan")


@pytest.mark.parametrize("shape", [(3, 2), (3, 0, 2), (3, 3, 2), (3, 1, 1)])
def test_what_was_applied_before_an_episode_is_one_or_two_actions_per_machine(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"instead of \(B, 1 or 2, 2\)"):
        told_before(np.zeros(shape), 2)
    with pytest.raises(ValueError, match="not finite"):
        told_before([[[0.0, NAN]]], 2)
    assert told_before([[[1, 2], [3, 4]]], 2).dtype == np.float32


def test_what_comes_with_the_first_observations_counts_where_it_is_finite() -> None:
    before = told_before([[[1.0], [2.0]], [[3.0], [4.0]]], 1)
    at_once = np.array([[5.0], [NAN]], np.float32)
    found = told_first(before, at_once)
    assert found is not None
    assert found.tolist() == [[[1.0], [5.0]], [[3.0], [4.0]]]
    assert told_first(None, at_once) is None, "of one machine nobody says"
    assert told_first(None, None) is None
    assert told_first(before, None) is before
    alone = told_first(None, at_once[:1])
    assert alone is not None
    assert alone.tolist() == [[[5.0]]]


def test_where_nothing_finite_was_told_what_was_decided_counts() -> None:
    decided = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found, is_told = told_since(np.array([[9.0, 8.0], [7.0, NAN]], np.float32), decided)
    assert found.tolist() == [[9.0, 8.0], [3.0, 4.0]]
    assert is_told.tolist() == [True, False]
    found, is_told = told_since(None, decided)
    assert found.tolist() == decided.tolist()
    assert is_told.all()
