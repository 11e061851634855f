"""Whatever byte changes on disk, the episode it hits is named and every other one stays readable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_machine import MACHINE, assert_same, episode_of, make_store, plain_episodes

from tacit.data import DamagedEpisode, EpisodeStore, EpisodeWriter, WindowReader
from tacit.data.index import Entry, entry_of, line_of, read_index
from tacit.signals import Role

LENGTHS = [3, 8, 2, 15, 6, 9]


def entries_of(store: EpisodeStore) -> list[Entry]:
    lines = (store.path / "episodes.jsonl").read_bytes().splitlines()
    return [entry for line in lines if (entry := entry_of(line)) is not None]


def flip(path: Path, place: int, bit: int = 0) -> None:
    contents = bytearray(path.read_bytes())
    contents[place] ^= 1 << bit
    path.write_bytes(contents)


def assert_only_damaged(store: EpisodeStore, damaged: set[int]) -> None:
    """Reports exactly `damaged`, and reads everything else."""
    assert {d.episode for d in store.verify() if d.episode is not None} == damaged
    np.testing.assert_array_equal(store.healthy(), [i for i in range(len(LENGTHS)) if i not in damaged])
    for number in store.healthy():
        assert_same(store[number], episode_of(number, LENGTHS[number]))
    for number in damaged:
        with pytest.raises(DamagedEpisode, match=rf"episode {number} in .*(arrow|jsonl) is damaged: .*healthy\(\)"):
            store[number]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_an_episode_is_found_and_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = make_store(tmp_path_factory.mktemp("flip"), LENGTHS, shard_bytes=8_000)
    entry = data.draw(st.sampled_from(entries_of(store)))
    flip(store.path / f"{entry.shard:05d}.arrow", entry.offset + data.draw(st.integers(0, entry.nbytes - 1)), data.draw(st.integers(0, 7)))
    assert_only_damaged(EpisodeStore(store.path), {entry.episode})


@pytest.mark.parametrize("line", range(len(LENGTHS)))
def test_a_damaged_index_line_is_named_and_moves_no_other_episode(tmp_path: Path, line: int) -> None:
    store = make_store(tmp_path, LENGTHS)
    index = store.path / "episodes.jsonl"
    whole = index.read_bytes()
    starts = np.cumsum([0, *(len(text) for text in whole.splitlines(keepends=True))])
    for place in range(starts[line], starts[line + 1] - 1, 7):
        index.write_bytes(whole)
        flip(index, place, bit=place % 7)
        found = EpisodeStore(store.path)
        assert_only_damaged(found, {line})
        assert f"line {line + 1} of the index" in found.damage[0].reason
    if line + 1 < len(LENGTHS):
        index.write_bytes(whole)
        flip(index, int(starts[line + 1]) - 1)  # the newline: two lines become one
        assert_only_damaged(EpisodeStore(store.path), {line})


def test_a_lost_last_index_line_is_reported_by_its_shard(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=1 << 20)
    lines = (store.path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (store.path / "episodes.jsonl").write_bytes(b"".join(lines[:-1]))
    (damage,) = EpisodeStore(store.path).verify()
    assert (damage.episode, damage.shard) == (None, "00000.arrow")
    assert "holds 6 episodes and the index names 5" in damage.reason
    EpisodeWriter.append(store.path).close()
    assert plain_episodes(store.path) == 6, "the writer leaves the nameless episode where it is"


def test_the_index_round_trips_and_ignores_a_torn_end(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS)
    whole = (store.path / "episodes.jsonl").read_bytes()
    entries = entries_of(store)
    assert b"".join(line_of(entry) for entry in entries) == whole
    for cut in range(len(whole) + 1):
        index = read_index(whole[:cut])
        assert index.entries == tuple(entries[: whole[:cut].count(b"\n")])
        assert index.damaged_lines == {}
        assert index.nbytes == whole.rfind(b"\n", 0, cut) + 1


@pytest.mark.parametrize("part", ["magic", "schema", "footer", "end"])
def test_a_changed_frame_hits_no_episode_and_is_reported(tmp_path: Path, part: str) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=1 << 20)
    shard = store.path / "00000.arrow"
    whole, entries = shard.read_bytes(), entries_of(store)
    end = entries[-1].offset + entries[-1].nbytes
    places = {
        "magic": range(6),
        "schema": [whole.index(b"pressure"), whole.index(b"[4, 5, 3]"), 9],
        "footer": [whole.index(b"pressure", end), len(whole) - 10, len(whole) - 7],
        "end": range(len(whole) - 6, len(whole)),
    }
    for place in places[part]:
        shard.write_bytes(whole)
        flip(shard, place, bit=2)
        found = EpisodeStore(store.path)
        (damage,) = found.verify()
        assert (damage.episode, damage.shard) == (None, "00000.arrow")
        assert ("schema" if part in ("magic", "schema") else "footer") in damage.reason
        for number, steps in enumerate(LENGTHS):
            assert_same(found[number], episode_of(number, steps))
        if part == "end":
            EpisodeWriter.append(store.path).close()
            assert shard.read_bytes() == whole, "the writer writes the footer anew"


def test_a_truncated_shard_keeps_what_lies_before_the_cut(tmp_path: Path) -> None:
    store = make_store(tmp_path / "whole", LENGTHS, shard_bytes=5_000)
    entries = entries_of(store)
    rng = np.random.default_rng(0)
    for attempt, shard in enumerate(sorted(store.path.glob("*.arrow")) * 6):
        path = tmp_path / str(attempt)
        shutil.copytree(store.path, path)
        size = int(rng.integers(0, shard.stat().st_size))
        with (path / shard.name).open("r+b") as file:
            file.truncate(size)
        lost = {e.episode for e in entries if e.shard == int(shard.stem) and e.offset + e.nbytes > size}
        assert_only_damaged(EpisodeStore(path), lost)
        with EpisodeWriter.append(path) as writer:
            assert writer.add(episode_of(99, 4)) == len(LENGTHS)
        after = EpisodeStore(path)
        assert {d.episode for d in after.damage} == lost, "the writer neither hides nor spreads the damage"
        assert_same(after[len(LENGTHS)], episode_of(99, 4))


def test_a_missing_shard_is_damage(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=5_000)
    lost = {e.episode for e in entries_of(store) if e.shard == 0}
    (store.path / "00000.arrow").unlink()
    found = EpisodeStore(store.path)
    assert "the file is missing" in found.damage[0].reason
    assert_only_damaged(found, lost)


def test_a_damaged_index_keeps_the_writer_from_touching_older_shards(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=5_000)
    before = {file.name: file.read_bytes() for file in store.path.glob("*.arrow")}
    flip(store.path / "episodes.jsonl", 5)
    with EpisodeWriter.append(store.path) as writer:
        assert writer.add(episode_of(6, 4)) == 6
    assert {name: (store.path / name).read_bytes() for name in before} == before
    assert_same(EpisodeStore(store.path)[6], episode_of(6, 4))


def test_damaged_labels_do_not_reach_a_view_without_them(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=1 << 20)
    view = store.without_labels()
    starts = np.array([[0, 0], [3, 5], [5, 2]])
    before = WindowReader(view, length=3).read(starts)
    shard = store.path / "00000.arrow"
    contents = bytearray(shard.read_bytes())
    for number, steps in enumerate(LENGTHS):
        for signal in MACHINE.having(Role.LABEL):
            place = bytes(contents).index(episode_of(number, steps).signals[signal.name].tobytes())
            contents[place : place + signal.nbytes * (steps + 1)] = bytes(
                b ^ 0xFF for b in contents[place : place + signal.nbytes * (steps + 1)]
            )
    shard.write_bytes(contents)

    found = EpisodeStore(store.path)
    seen = found.without_labels()
    after = WindowReader(seen, length=3).read(starts)
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
    assert seen.verify() == ()
    assert {d.episode for d in found.verify()} == set(range(len(LENGTHS)))
    assert "pose, count have changed" in found.damage[0].reason
    assert found.without_labels().damage == (), "also a view taken after the store has found the damage"


def test_verify_counts_what_it_has_done(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_store(tmp_path, LENGTHS).verify(lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(LENGTHS)) for i in range(len(LENGTHS))]


def test_a_reader_of_windows_refuses_damaged_episodes(tmp_path: Path) -> None:
    store = make_store(tmp_path, LENGTHS, shard_bytes=5_000)
    (store.path / "00000.arrow").unlink()
    found = EpisodeStore(store.path)
    with pytest.raises(DamagedEpisode, match="episode 0"):
        WindowReader(found, length=3, episodes=range(len(LENGTHS)))
    assert set(WindowReader(found, length=3).episodes) <= set(found.healthy())
