"""Windows are the slices of their episodes, and reading ahead changes nothing but the waiting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_machine import MACHINE, episode_of, make_store

from tacit.data import EpisodeStore, EpisodeWriter, Prefetcher, StoreError, WindowReader, WindowSampler, split
from tacit.signals import Role, SchemaError

LENGTHS = [3, 8, 1, 15, 6, 2, 9]


def assert_windows(batch: Any, starts: np.ndarray[Any, Any], episodes: Any, length: int) -> None:
    """Compare with plain slices of what was recorded."""
    for place, (episode, first) in enumerate(starts.tolist()):
        number = int(episodes[episode])
        recorded = episode_of(number, LENGTHS[number]).signals
        for name, values in batch.items():
            frames = length - (MACHINE.by_name[name].role is Role.ACTION)
            np.testing.assert_array_equal(values[place], recorded[name][first : first + frames], err_msg=name)


@pytest.mark.parametrize("length", [1, 2, 4, 9])
def test_windows_are_slices_of_their_episodes(tmp_path: Path, length: int) -> None:
    reader = WindowReader(make_store(tmp_path, LENGTHS), length=length)
    assert reader.schema == MACHINE.without_labels()
    assert reader.skipped == sum(steps + 1 < length for steps in LENGTHS)
    np.testing.assert_array_equal(reader.lengths, [steps for steps in LENGTHS if steps + 1 >= length])
    np.testing.assert_array_equal(np.array(LENGTHS)[reader.episodes], reader.lengths)
    sampler = WindowSampler(reader.lengths, window=length, batch=5, seed=0)
    out = reader.buffers(5)
    for step in range(sampler.steps_per_epoch):
        starts = sampler.batch_at(step)
        fresh, reused = reader.read(starts), reader.read(starts, out)
        assert list(fresh) == [s.name for s in reader.schema.signals]
        assert fresh["camera"].shape == (5, length, 4, 5, 3)
        assert fresh["motor"].shape == (5, length - 1, 2)
        assert fresh["valve"].dtype == np.bool_
        assert reused["camera"] is out["camera"]
        assert_windows(fresh, starts, reader.episodes, length)
        assert_windows(reused, starts, reader.episodes, length)


def test_a_reader_reads_the_episodes_and_signals_it_is_given(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    reader = WindowReader(store, length=3, episodes=[6, 2, 1], names=["pose", "motor"])
    np.testing.assert_array_equal(reader.episodes, [6, 1])
    assert reader.skipped == 1
    starts = np.array([[0, 7], [1, 0]])
    batch = reader.read(starts)
    assert list(batch) == ["motor", "pose"]
    assert_windows(batch, starts, [6, 1], 3)
    with pytest.raises(SchemaError, match="'pose'"):
        WindowReader(store.without_labels(), length=3, names=["pose"])
    train, held = split(store, held_out=0.4, seed=0)
    assert set(WindowReader(store, length=2, episodes=train).episodes).isdisjoint(WindowReader(store, length=2, episodes=held).episodes)


@pytest.mark.parametrize("start", [(0, -1), (0, 2), (1, 100), (-1, 0), (7, 0), (3, 14)])
def test_a_window_never_crosses_its_episode(tmp_path: Path, start: tuple[int, int]) -> None:
    reader = WindowReader(make_store(tmp_path, LENGTHS), length=3, episodes=[0, 1, 3, 4])
    reader.read(np.array([[0, 1], [2, 13]]))
    with pytest.raises(IndexError, match=rf"window 1 starts at frame {start[1]} of episode {start[0]}: 3 frames"):
        reader.read(np.array([[0, 0], start]))


def test_no_window_at_all_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    with pytest.raises(StoreError, match="window of 17 frames: the longest of 7 has 16 frames; shorten"):
        WindowReader(store, length=17)
    with pytest.raises(ValueError, match="at least one frame"):
        WindowReader(store, length=0)
    with pytest.raises(IndexError, match="episode 7 of 7"):
        WindowReader(store, length=2, episodes=[7])
    EpisodeWriter.create(tmp_path / "empty", MACHINE).close()
    with pytest.raises(StoreError, match="there are no episodes"):
        WindowReader(EpisodeStore(tmp_path / "empty"), length=2)


@pytest.fixture
def reader(tmp_path: Path) -> WindowReader:
    return WindowReader(make_store(tmp_path, LENGTHS), length=3)


def test_reading_ahead_yields_the_same_batches_untouched_while_used(reader: WindowReader) -> None:
    sampler = WindowSampler(reader.lengths, window=3, batch=4, seed=1)
    steps = range(3, 60)
    with Prefetcher(reader, sampler.batch_at, steps, ahead=2) as ahead:
        count = 0
        for step, batch in zip(steps, ahead, strict=True):
            if step % 7 == 0:
                time.sleep(0.002)  # let the thread run into whatever it must not overwrite
            assert_windows(batch, sampler.batch_at(step), reader.episodes, 3)
            count += 1
        assert count == len(steps)
        assert list(ahead) == [], "one pass only, and no hang when asked again"


def test_reading_ahead_is_bounded(reader: WindowReader) -> None:
    asked: list[int] = []

    def batch_at(step: int) -> np.ndarray[Any, Any]:
        asked.append(step)
        return np.array([[0, 0]])

    with Prefetcher(reader, batch_at, range(100), ahead=3) as ahead:
        next(batches := iter(ahead))
        time.sleep(0.05)
        assert asked == [0, 1, 2, 3], "one in use and three ready"
        next(batches)
    assert len(asked) <= 5


@pytest.mark.parametrize("broken", ["batch_at", "window"])
def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for(reader: WindowReader, broken: str) -> None:
    def batch_at(step: int) -> np.ndarray[Any, Any]:
        if step < 3:
            return np.array([[0, 0]])
        if broken == "batch_at":
            raise ZeroDivisionError("step 3")
        return np.array([[0, 99]])

    got = []
    with Prefetcher(reader, batch_at, range(9)) as ahead:
        with pytest.raises(ZeroDivisionError if broken == "batch_at" else IndexError):
            got.extend(len(batch["motor"]) for batch in ahead)
        assert got == [1, 1, 1] or got == []
        assert list(ahead) == []


def test_leaving_early_stops_the_thread(reader: WindowReader) -> None:
    def consume() -> None:
        with Prefetcher(reader, lambda _: np.array([[0, 0]]), range(10**9)) as ahead:
            for _ in range(5):  # breaking out again and again uses up no buffer
                for _ in ahead:
                    break
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert "tacit-prefetch" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ValueError, match="ahead 0"):
        Prefetcher(reader, lambda _: np.array([[0, 0]]), range(3), ahead=0)
