"""A step decides its windows, whatever happened before and however many processes share them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.data import WindowSampler, split, split_by_time

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**64 - 1)


def all_windows(lengths: list[int], window: int) -> set[tuple[int, int]]:
    """Naively: every (episode, first frame) whose frames exist; T actions make T + 1 frames."""
    return {(e, t) for e, steps in enumerate(lengths) for t in range(steps + 1) if t + window <= steps + 1}


@given(lengths=LENGTHS, window=st.integers(1, 8), batch=st.integers(1, 6), seed=SEEDS)
def test_an_epoch_visits_every_window_once(lengths: list[int], window: int, batch: int, seed: int) -> None:
    windows = all_windows(lengths, window)
    if len(windows) < batch:
        with pytest.raises(ValueError, match="do not fill one batch"):
            WindowSampler(lengths, window=window, batch=batch, seed=seed)
        return
    sampler = WindowSampler(lengths, window=window, batch=batch, seed=seed)
    assert sampler.windows == len(windows)
    assert sampler.steps_per_epoch == len(windows) // batch
    for epoch in range(2):
        steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
        seen = Counter(tuple(row) for step in steps for row in sampler.batch_at(step).tolist())
        assert set(seen) <= windows, "no window leaves its episode"
        assert set(seen.values()) == {1}
        assert len(windows) - seen.total() < batch, "only a remainder smaller than a batch is left out"


@given(lengths=LENGTHS, seed=SEEDS, part=st.integers(1, 3), world_size=st.integers(1, 4), step=st.integers(0, 50))
def test_the_ranks_together_are_the_single_process(lengths: list[int], seed: int, part: int, world_size: int, step: int) -> None:
    lengths = [*lengths, 15]
    whole = WindowSampler(lengths, window=2, batch=part * world_size, seed=seed).batch_at(step)
    ranks = [
        WindowSampler(lengths, window=2, batch=part * world_size, seed=seed, rank=rank, world_size=world_size).batch_at(step)
        for rank in range(world_size)
    ]
    assert whole.dtype == np.int64
    assert whole.shape == (part * world_size, 2)
    assert all(len(rank) == part for rank in ranks)
    np.testing.assert_array_equal(np.concatenate(ranks), whole)


@given(lengths=LENGTHS, seed=SEEDS, resumed=st.integers(0, 30))
def test_resuming_changes_nothing(lengths: list[int], seed: int, resumed: int) -> None:
    through = WindowSampler([*lengths, 5], window=3, batch=2, seed=seed)
    expected = [through.batch_at(step) for step in range(resumed + 5)][resumed:]
    fresh = WindowSampler([*lengths, 5], window=3, batch=2, seed=seed)
    for step, batch in reversed(list(enumerate(expected, start=resumed))):
        np.testing.assert_array_equal(fresh.batch_at(step), batch)


def test_epochs_and_seeds_differ_and_the_order_is_uniform() -> None:
    samplers = [WindowSampler([50], window=2, batch=50, seed=seed) for seed in range(2)]
    orders = [tuple(s.batch_at(epoch)[:, 1]) for s in samplers for epoch in range(3)]
    assert len(set(orders)) == 6
    sampler = WindowSampler([4], window=2, batch=1, seed=7)
    firsts = Counter(int(sampler.batch_at(4 * epoch)[0, 1]) for epoch in range(2_000))
    assert all(abs(firsts[t] - 500) < 5 * (2_000 * 0.25 * 0.75) ** 0.5 for t in range(4)), firsts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"seed": -1}, "seed -1"),
        ({"rank": 2, "world_size": 2}, "rank 2 is not one of the 2"),
        ({"world_size": 3}, "take a multiple of 3"),
        ({"window": 40}, "0 windows of 40 frames do not fill one batch of 4"),
    ],
)
def test_a_wrong_argument_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowSampler([30], **{"window": 4, "batch": 4, "seed": 0, **wrong})


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match="step -1"):
        WindowSampler([30], window=4, batch=4, seed=0).batch_at(-1)


@given(count=st.integers(60, 150), more=st.integers(0, 50), seed=st.integers(0, 5))
def test_a_split_stays_when_episodes_are_added(count: int, more: int, seed: int) -> None:
    train, held = split(range(count), held_out=0.3, seed=seed)
    assert sorted([*train, *held]) == list(range(count))
    later_train, later_held = split(range(count + more), held_out=0.3, seed=seed)
    assert set(train) <= set(later_train)
    assert set(held) <= set(later_held)


def test_a_split_holds_out_its_share() -> None:
    _, held = split(range(10_000), held_out=0.1, seed=1)
    assert abs(len(held) - 1_000) < 5 * (10_000 * 0.1 * 0.9) ** 0.5
    assert not np.array_equal(held, split(range(10_000), held_out=0.1, seed=2)[1])
    assert [len(side) for side in split(range(5), held_out=0.0)] == [5, 0]
    assert [len(side) for side in split(range(5), held_out=1.0)] == [0, 5]
    with pytest.raises(ValueError, match="leaves nothing to evaluate on"):
        split([], held_out=0.1)
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        split(range(5), held_out=10)


def test_partners_are_windows_of_the_same_episode() -> None:
    lengths = np.array([3, 30, 8, 50])
    sampler = WindowSampler(lengths, window=4, batch=8, seed=3)
    firsts: dict[int, set[int]] = {}
    for step in range(400):
        pairs = sampler.pairs_at(step)
        np.testing.assert_array_equal(pairs[:8], sampler.batch_at(step))
        np.testing.assert_array_equal(pairs[8:, 0], pairs[:8, 0])
        for episode, first in pairs[8:].tolist():
            firsts.setdefault(episode, set()).add(first)
    assert firsts == {e: set(range(lengths[e] - 2)) for e in range(4)}, "every window is somebody's partner, and none leaves its episode"


def test_near_partners_are_another_frame_of_the_same_episode_nearby() -> None:
    lengths = np.array([3, 30, 50])
    sampler = WindowSampler(lengths, window=1, batch=8, seed=3)
    gaps: set[int] = set()
    for step in range(400):
        pairs = sampler.near_at(step, 5)
        np.testing.assert_array_equal(pairs[:8], sampler.batch_at(step))
        np.testing.assert_array_equal(pairs[8:, 0], pairs[:8, 0])
        assert ((pairs[8:, 1] >= 0) & (pairs[8:, 1] <= lengths[pairs[8:, 0]])).all(), "none leaves its episode"
        inside = (pairs[:8, 1] >= 5) & (pairs[:8, 1] <= lengths[pairs[:8, 0]] - 5)
        gaps |= set((pairs[8:, 1] - pairs[:8, 1])[inside].tolist())
    assert gaps == {-5, -4, -3, -2, -1, 1, 2, 3, 4, 5}
    halves = [WindowSampler(lengths, window=1, batch=8, seed=3, rank=rank, world_size=2).near_at(11, 5) for rank in (0, 1)]
    joined = np.concatenate([half.reshape(2, 4, 2) for half in halves], axis=1)
    np.testing.assert_array_equal(joined, sampler.near_at(11, 5).reshape(2, 8, 2))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_pairs_do_not_depend_on_how_often_or_where_they_are_drawn(world_size: int) -> None:
    whole = WindowSampler([20, 9, 30], window=3, batch=8, seed=1).pairs_at(11).reshape(2, 8, 2)
    ranks = [WindowSampler([20, 9, 30], window=3, batch=8, seed=1, rank=r, world_size=world_size).pairs_at(11) for r in range(world_size)]
    joined = np.concatenate([part.reshape(2, 8 // world_size, 2) for part in ranks], axis=1)
    np.testing.assert_array_equal(joined, whole)


def test_split_by_time_holds_out_the_last_ones() -> None:
    kept, apart = split_by_time(range(10), held_out=0.2)
    assert (kept.tolist(), apart.tolist()) == (list(range(8)), [8, 9])
    assert split_by_time(range(3), held_out=0.1)[1].tolist() == [2], "at least one"
    assert split_by_time(range(3), held_out=0.0)[1].tolist() == []
    with pytest.raises(ValueError, match="leaves nothing to train on"):
        split_by_time(range(1), held_out=0.5)
    with pytest.raises(ValueError, match="must be a share"):
        split_by_time(range(3), held_out=1.5)
