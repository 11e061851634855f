"""A recorder keeps what a machine did, never stands in its way, and loses little when it is killed."""

from __future__ import annotations

import dataclasses
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_machine import MACHINE, assert_same, episode_of, plain_episodes

from tacit.data import Episode, EpisodeError, EpisodeStore, EpisodeWriter, StoreBusy, StoreError, StoreFull
from tacit.data.recording.journal import OPEN, JournalFile
from tacit.data.recording.recorder import Recorder, RecordingWarning, recover
from tacit.signals import Role, Schema, SchemaError, Signal

RIG = Schema(signals=(Signal(name="count", role=Role.OBSERVATION, dtype="int64"), Signal(name="move", role=Role.ACTION)), period=60.0)


def seen(episode: Episode, row: int) -> dict[str, Any]:
    return {s.name: episode.signals[s.name][row] for s in MACHINE.signals if s.role is not Role.ACTION}


def action(episode: Episode, row: int) -> dict[str, Any]:
    return {s.name: episode.signals[s.name][row] for s in MACHINE.actions}


def begin(recorder: Recorder, episode: Episode) -> None:
    assert recorder.begin(seen(episode, 0), time=episode.time[0])


def steps(recorder: Recorder, episode: Episode, first: int = 0, last: int | None = None) -> None:
    for row in range(first, episode.steps if last is None else last):
        assert recorder.step(action=action(episode, row), then=seen(episode, row + 1), time=episode.time[row + 1])


def part(episode: Episode, first: int, last: int) -> Episode:
    """Steps `first` to `last` of an episode and the moments around them."""
    signals = {s.name: episode.signals[s.name][first : last + (s.role is not Role.ACTION)] for s in MACHINE.signals}
    return Episode(signals=signals, time=episode.time[first : last + 1])


def journals(store: Path) -> list[str]:
    return sorted(path.name for path in store.glob("*.journal"))


def test_it_keeps_what_an_episode_writer_would(tmp_path: Path) -> None:
    with Recorder(MACHINE, tmp_path / "live", source={"line": 3}) as recorder, EpisodeWriter.create(tmp_path / "plain", MACHINE) as writer:
        for number, length in enumerate((7, 1, 30)):
            episode = episode_of(number, length)
            writer.add(episode)
            begin(recorder, episode)
            steps(recorder, episode)
            recorder.end()
            assert len(recorder) == number + 1
            assert_same(EpisodeStore(tmp_path / "live")[number], episode)
    live, plain = EpisodeStore(tmp_path / "live"), EpisodeStore(tmp_path / "plain")
    assert live.source == {"line": 3}
    assert live.verify() == ()
    for ours, theirs in zip(live, plain, strict=True):
        assert_same(ours, theirs)
    assert plain_episodes(live.path) == 3
    assert (recorder.dropped, recorder.warnings, recorder.fault, journals(live.path)) == (0, (), None, [])


def test_samples_are_copied_when_they_are_given(tmp_path: Path) -> None:
    episode = episode_of(0, 1)
    first, last = ({name: np.array(value) for name, value in seen(episode, row).items()} for row in (0, 1))
    with Recorder(MACHINE, tmp_path / "store") as recorder:
        recorder.begin(first, time=episode.time[0])
        for value in first.values():
            value[...] = 1
        recorder.step(action=action(episode, 0), then=last, time=episode.time[1])
        for value in last.values():
            value[...] = 1
    assert_same(EpisodeStore(tmp_path / "store")[0], episode)


def test_plain_numbers_are_converted(tmp_path: Path) -> None:
    schema = Schema(
        signals=(
            Signal(name="level", role=Role.OBSERVATION),
            Signal(name="place", role=Role.OBSERVATION, shape=(2,), dtype="float64"),
            Signal(name="parts", role=Role.OBSERVATION, dtype="uint8"),
            Signal(name="open", role=Role.ACTION, dtype="bool"),
        )
    )
    with Recorder(schema, tmp_path / "store") as recorder:
        recorder.begin({"level": 0.1, "place": (1, 2.5), "parts": 255})
        recorder.step(action={"open": True}, then={"level": 3, "place": [0, 0], "parts": np.int64(7)})
    kept = EpisodeStore(tmp_path / "store")[0].signals
    assert kept["level"].tolist() == [np.float32(0.1), 3.0]
    assert kept["place"].tolist() == [[1.0, 2.5], [0.0, 0.0]]
    assert kept["parts"].tolist() == [255, 7]
    assert kept["open"].tolist() == [True]


GOOD = seen(episode_of(0, 5), 3)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({n: v for n, v in GOOD.items() if n != "pose"}, "'pose' is missing; a moment brings a sample of each of camera, pressure"),
    "unknown": ({**GOOD, "torque": 1.0}, "'torque' is not in the schema; leave it out"),
    "action": ({**GOOD, "motor": np.zeros(2, np.float32)}, r"'motor' is an action: give it to step\(action=...\)"),
    "dtype": ({**GOOD, "weather": np.zeros(3, np.float32)}, r"'weather' has dtype float32, the schema says float64; .*\.astype"),
    "shape": ({**GOOD, "camera": np.zeros((5, 4, 3), np.uint8)}, r"'camera' has shape \(5, 4, 3\), the schema says \(4, 5, 3\)"),
    "row axis": ({**GOOD, "camera": np.zeros((1, 4, 5, 3), np.uint8)}, "'camera' has shape .* give one sample, without a row axis"),
    "nan": ({**GOOD, "weather": np.array([0, np.nan, 0])}, "'weather' is nan at 1; .*finite float64 numbers only"),
    "both infinities": ({**GOOD, "weather": np.array([np.inf, 0, -np.inf])}, "'weather' is inf at 0"),
    "nan in an image": ({**GOOD, "pose": np.full((2, 2), np.nan, np.float32)}, "'pose' is nan at 0, 0"),
    "plain nan": ({**GOOD, "pressure": math.nan}, "'pressure' is nan"),
    "too large": ({**GOOD, "pressure": 1e39}, r"'pressure' is 1e\+39; .*float32"),
    "too large in a list": ({**GOOD, "pose": [[0, 0], [0, 1e39]]}, "'pose' is inf at 1, 1"),
    "fraction": ({**GOOD, "count": 0.5}, "'count' is made of float64, the schema says int64"),
    "none": ({**GOOD, "count": None}, "'count' is a NoneType; give a numpy array, or plain numbers"),
    "text": ({**GOOD, "pressure": ["low"]}, "'pressure' is made of <U3"),
    "ragged": ({**GOOD, "pose": [[0], [0, 1]]}, "'pose' is a ragged list"),
    "list shape": ({**GOOD, "weather": [0, 1]}, r"'weather' has shape \(2,\), the schema says \(3,\)"),
    "no mapping": ([1, 2], "a moment is a list; give a mapping"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("sample", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_sample_is_refused_and_the_episode_is_as_it_was(tmp_path: Path, sample: dict[str, Any], message: str) -> None:
    episode = episode_of(0, 5)
    with Recorder(Schema(signals=MACHINE.signals, period=60.0), tmp_path / "store") as recorder:
        with pytest.raises(EpisodeError, match=message):
            recorder.begin(sample, time=0.0)
        begin(recorder, episode)
        steps(recorder, episode, 0, 2)
        with pytest.raises(EpisodeError, match=message):
            recorder.step(action=action(episode, 2), then=sample, time=episode.time[3])
        steps(recorder, episode, 2)
    store = EpisodeStore(tmp_path / "store")
    assert len(store) == 1
    assert_same(store[0], episode)


def test_an_action_out_of_range_or_place_is_refused(tmp_path: Path) -> None:
    schema = Schema(
        signals=(Signal(name="gear", role=Role.ACTION, dtype="uint8"), Signal(name="speed", role=Role.OBSERVATION)),
        period=60.0,
    )
    with Recorder(schema, tmp_path / "store") as recorder:
        recorder.begin({"speed": 0.0})
        with pytest.raises(EpisodeError, match="'gear' holds 300, which uint8 cannot"):
            recorder.step(action={"gear": 300}, then={"speed": 1.0})
        with pytest.raises(EpisodeError, match=r"'speed' is not an action: give it to step\(then=...\)"):
            recorder.step(action={"gear": 3, "speed": 1.0}, then={"speed": 1.0})
        assert recorder.step(action={"gear": 3}, then={"speed": 1.0})
    assert EpisodeStore(tmp_path / "store")[0].signals["gear"].tolist() == [3]


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (2.0, r"time 2\.0 s is not after the moment before, at 2\.0 s; .*end\(\) the episode"),
        (1.5, r"time 1\.5 s is not after"),
        (math.nan, "time is nan; give a finite number of seconds"),
        ("12:00", "time is '12:00'; give a finite number"),
        (None, "begun with a time, and goes on so"),
    ],
)
def test_a_time_that_does_not_increase_is_refused(tmp_path: Path, moment: Any, message: str) -> None:
    with Recorder(RIG, tmp_path / "store") as recorder:
        recorder.begin({"count": 0}, time=1.0)
        recorder.step(action={"move": 0.0}, then={"count": 1}, time=2.0)
        with pytest.raises(EpisodeError, match=message):
            recorder.step(action={"move": 1.0}, then={"count": 2}, time=moment)
        recorder.step(action={"move": 2.0}, then={"count": 3}, time=2.5)
    kept = EpisodeStore(tmp_path / "store")[0]
    assert kept.time.tolist() == [1.0, 2.0, 2.5]
    assert kept.signals["move"].tolist() == [0.0, 2.0]


def test_without_a_time_it_is_taken_now(tmp_path: Path) -> None:
    before = time.time()
    with Recorder(RIG, tmp_path / "store") as recorder:
        recorder.begin({"count": 0})
        for count in range(1, 50):
            recorder.step(action={"move": 0.0}, then={"count": count})
        with pytest.raises(EpisodeError, match="begun without a time"):
            recorder.step(action={"move": 0.0}, then={"count": 50}, time=1.0)
    kept = EpisodeStore(tmp_path / "store")[0].time
    assert len(kept) == 50
    assert before - 0.01 <= kept[0] < kept[-1] <= time.time() + 0.01


def test_calls_out_of_order_say_what_comes_first(tmp_path: Path) -> None:
    recorder = Recorder(RIG, tmp_path / "store")
    with pytest.raises(EpisodeError, match=r"no episode is open: call begin\(\)"):
        recorder.step(action={"move": 0.0}, then={"count": 1})
    with pytest.raises(EpisodeError, match=r"no episode is open: begin\(\) opens one"):
        recorder.end()
    recorder.close()
    recorder.close()
    with pytest.raises(EpisodeError, match="the recorder is closed"):
        recorder.begin({"count": 0})
    with pytest.raises(ValueError, match="max_steps 0"):
        Recorder(RIG, tmp_path / "store", max_steps=0)


def test_a_refused_step_that_is_not_given_again_cuts_the_episode(tmp_path: Path) -> None:
    schema = Schema(signals=RIG.signals, period=0.02)
    recorder = Recorder(schema, tmp_path / "store")
    recorder.begin({"count": 0})
    recorder.step(action={"move": 0.0}, then={"count": 1})
    with pytest.raises(EpisodeError):
        recorder.step(action={"move": 1.0}, then={"count": None})
    time.sleep(0.02)
    assert not recorder.step(action={"move": 2.0}, then={"count": 3})
    assert recorder.step(action={"move": 3.0}, then={"count": 4})
    assert recorder.dropped == 1
    with pytest.warns(RecordingWarning) as told:
        recorder.close()
    assert [episode.signals["count"].tolist() for episode in EpisodeStore(tmp_path / "store")] == [[0, 1], [3, 4]]
    assert [episode.signals["move"].tolist() for episode in EpisodeStore(tmp_path / "store")] == [[0.0], [3.0]]
    assert "a step was refused and not given again in time" in str(told[0].message)
    assert "steps that were not recorded: 1" in str(told[1].message)


def test_a_long_episode_goes_on_in_a_new_one_that_shares_the_moment(tmp_path: Path) -> None:
    episode = episode_of(0, 10)
    with Recorder(MACHINE, tmp_path / "store", max_steps=4) as recorder:
        begin(recorder, episode)
        steps(recorder, episode, 0, 8)
        recorder.end()
        assert len(recorder) == 2, "an end right at the limit leaves no empty episode"
        begin(recorder, episode)
        steps(recorder, episode)
    store = EpisodeStore(tmp_path / "store")
    expected = [(0, 4), (4, 8), (0, 4), (4, 8), (8, 10)]
    for found, (first, last) in zip(store, expected, strict=True):
        assert_same(found, part(episode, first, last))


def test_begin_ends_the_episode_before(tmp_path: Path) -> None:
    with Recorder(MACHINE, tmp_path / "store") as recorder:
        for number in range(3):
            begin(recorder, episode_of(number, 4))
            steps(recorder, episode_of(number, 4))
    for number, found in enumerate(EpisodeStore(tmp_path / "store")):
        assert_same(found, episode_of(number, 4))
    assert number == 2


def test_an_episode_without_a_step_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder(RIG, tmp_path / "store")
    recorder.begin({"count": 0})
    time.sleep(0.25)
    recorder.end()
    recorder.begin({"count": 0})
    recorder.step(action={"move": 0.0}, then={"count": 1})
    with pytest.warns(RecordingWarning, match="had no recorded step"):
        recorder.close()
    assert len(EpisodeStore(tmp_path / "store")) == 1
    assert journals(tmp_path / "store") == []


def test_an_exception_keeps_the_open_episode(tmp_path: Path) -> None:
    episode = episode_of(0, 6)

    def machine_that_fails() -> None:
        with Recorder(MACHINE, tmp_path / "store") as recorder:
            begin(recorder, episode)
            steps(recorder, episode, 0, 4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        machine_that_fails()
    assert_same(EpisodeStore(tmp_path / "store")[0], part(episode, 0, 4))


def test_recording_goes_on_in_the_store_it_fits(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
    with Recorder(MACHINE, tmp_path / "store") as recorder:
        begin(recorder, episode_of(1, 3))
        steps(recorder, episode_of(1, 3))
        with pytest.raises(StoreBusy, match="another writer"):
            Recorder(MACHINE, tmp_path / "store")
        with pytest.raises(StoreBusy, match="another writer"):
            recover(tmp_path / "store")
    assert_same(EpisodeStore(tmp_path / "store")[1], episode_of(1, 3))
    with pytest.raises(SchemaError, match=r"the schema to record into .* lacks the signal 'camera'"):
        Recorder(RIG, tmp_path / "store")
    unlabelled = Schema(signals=MACHINE.signals[:-1], period=MACHINE.period)
    with pytest.raises(SchemaError, match="other labels"):
        Recorder(unlabelled, tmp_path / "store")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="already exists"):
        Recorder(MACHINE, tmp_path / "notes")
    with pytest.raises(StoreError, match="not an episode store"):
        recover(tmp_path / "notes")
    Recorder(MACHINE, tmp_path / "store").close()


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    max_steps=st.integers(1, 12),
    waits=st.booleans(),
)
def test_every_recording_reads_back(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], max_steps: int, waits: bool) -> None:
    path = tmp_path_factory.mktemp("recorder") / "store"
    episodes = [episode_of(number, max(1, length)) for number, length in enumerate(lengths)]
    recorder = Recorder(MACHINE, path, max_steps=max_steps)
    for episode, length in zip(episodes, lengths, strict=True):
        begin(recorder, episode)
        steps(recorder, episode, 0, length)
        if waits:
            recorder.end()
    if 0 in lengths:
        with pytest.warns(RecordingWarning, match="no recorded step"):
            recorder.close()
    else:
        recorder.close()
    expected = [
        part(episode, first, min(first + max_steps, length))
        for episode, length in zip(episodes, lengths, strict=True)
        for first in range(0, length, max_steps)
    ]
    store = EpisodeStore(path)
    assert store.verify() == ()
    assert journals(path) == []
    for found, wanted in zip(store, expected, strict=True):
        assert_same(found, wanted)


@contextmanager
def stalled_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The journal's writes hang while the block runs."""
    append, on = JournalFile.append, threading.Event()

    def hang(self: JournalFile, records: memoryview) -> None:
        on.wait()
        append(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "append", hang)
        try:
            yield
        finally:
            on.set()


def until_resumed(recorder: Recorder, number: int) -> int:
    """Go on with `number` until a step is recorded, and return its number."""
    while not recorder.step(action={"move": number}, then={"count": number}, time=number):
        time.sleep(0.01)
        number += 1
    return number


def test_a_stalled_disk_cuts_the_episode_and_never_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(RIG, tmp_path / "store", ring_bytes=1_000)
    recorder.begin({"count": 0}, time=0.0)
    with stalled_disk(monkeypatch):
        kept = [recorder.step(action={"move": n}, then={"count": n}, time=n) for n in range(1, 200)]
        assert recorder.dropped == kept.count(False) > 100
        assert kept == sorted(kept, reverse=True), "nothing is taken after the first refusal"
    number = until_resumed(recorder, 200)
    recorder.step(action={"move": number + 1}, then={"count": number + 1}, time=number + 1)
    recorder.end()
    assert recorder.fault is None
    with pytest.warns(RecordingWarning):
        recorder.close()
    assert "the disk did not keep up; the episode was cut here and goes on as a new one" in recorder.warnings[0]
    assert f"not recorded: {recorder.dropped}" in recorder.warnings[1]
    first, second = EpisodeStore(tmp_path / "store")
    assert first.signals["count"].tolist() == list(range(kept.index(False) + 1))
    assert second.signals["count"].tolist() == [number - 1, number, number + 1]
    assert second.signals["move"].tolist() == [number, number + 1]


def test_a_stall_when_an_episode_begins_or_is_full_cuts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(RIG, tmp_path / "store", ring_bytes=1, max_steps=7)
    with stalled_disk(monkeypatch):
        recorder.begin({"count": 0}, time=0.0)
        assert [recorder.step(action={"move": n}, then={"count": n}, time=n) for n in range(1, 10)] == [True] * 7 + [False] * 2
        assert not recorder.begin({"count": 20}, time=20.0)
        assert "the episode begins later" in recorder.warnings[1]
    number = until_resumed(recorder, 21)
    with pytest.warns(RecordingWarning):
        recorder.close()
    kept = [episode.signals["count"].tolist() for episode in EpisodeStore(tmp_path / "store")]
    assert kept == [list(range(8)), [number - 1, number]]


@contextmanager
def file_limit(nbytes: int) -> Iterator[None]:
    """No file may grow beyond this: the kernel takes a part of a write and refuses the rest, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def until_written(recorder: Recorder) -> None:
    recorder._scribe.wake()
    while recorder._ring.taken < recorder._ring.committed:
        time.sleep(0.01)


def until_fault(recorder: Recorder) -> None:
    deadline = time.monotonic() + 5
    while recorder.fault is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_a_status_until_the_episode_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = episode_of(0, 60)
    recorder = Recorder(MACHINE, tmp_path / "store")
    begin(recorder, episode)
    steps(recorder, episode, 0, 5)
    until_written(recorder)
    with file_limit(4_000):
        with stalled_disk(monkeypatch):
            steps(recorder, episode, 5, 40)
        until_fault(recorder)
        assert not recorder.step(action=action(episode, 40), then=seen(episode, 41), time=episode.time[41])
        assert recorder.dropped == 1
        with pytest.raises(StoreFull, match=r"out of room \(File too large\), so recording has stopped.*make room, and the next Recorder"):
            recorder.end()
        assert not recorder.begin(seen(episode, 0), time=0.0)
    with pytest.warns(RecordingWarning), pytest.raises(StoreFull):
        recorder.close()
    assert journals(tmp_path / "store") == [OPEN]
    with pytest.warns(RecordingWarning, match=r"open-episode.journal was left .*: 5 steps, .* are now a closed episode$"):
        Recorder(MACHINE, tmp_path / "store").close()
    assert_same(EpisodeStore(tmp_path / "store")[0], part(episode, 0, 5))


def test_a_disk_too_full_to_close_an_episode_keeps_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [episode_of(number, 5) for number in range(2)]
    recorder = Recorder(MACHINE, tmp_path / "store")
    with file_limit(2_000):
        with stalled_disk(monkeypatch):
            for episode in episodes:
                begin(recorder, episode)
                steps(recorder, episode)
        with pytest.raises(StoreFull, match="episode 0 needs"):
            recorder.end()
        with pytest.raises(StoreFull, match="episode 0 needs"):
            recorder.close()
    assert journals(tmp_path / "store") == ["ended-000000.journal", "ended-000001.journal"]
    with file_limit(2_000), pytest.raises(StoreFull):
        Recorder(MACHINE, tmp_path / "store")
    assert [found.steps for found in recover(tmp_path / "store")] == [5, 5]
    for found, episode in zip(EpisodeStore(tmp_path / "store"), episodes, strict=True):
        assert_same(found, episode)
    assert journals(tmp_path / "store") == []


def test_a_fault_is_noted_on_the_error_that_ended_the_block(tmp_path: Path) -> None:
    def machine_that_fails() -> None:
        with file_limit(60), Recorder(RIG, tmp_path / "store") as recorder:
            recorder.begin({"count": 0})
            until_fault(recorder)
            raise ZeroDivisionError

    EpisodeWriter.create(tmp_path / "store", RIG).close()
    with pytest.warns(RecordingWarning), pytest.raises(ZeroDivisionError) as caught:
        machine_that_fails()
    assert "is out of room" in caught.value.__notes__[0]


def killed(tmp_path: Path, episode: Episode) -> Path:
    """A store as a recorder that is killed in the middle of `episode`, number 1, leaves it; the disk has all of it."""
    recorder = Recorder(MACHINE, tmp_path / "recording")
    begin(recorder, episode_of(9, 2))
    steps(recorder, episode_of(9, 2))
    begin(recorder, episode)
    for row in range(episode.steps):
        steps(recorder, episode, row, row + 1)
        if row % 10 == 9:
            until_written(recorder)
    until_written(recorder)
    while journals(recorder.path) != [OPEN]:
        time.sleep(0.01)
    shutil.copytree(tmp_path / "recording", tmp_path / "killed")
    recorder.close()
    return tmp_path / "killed"


def block(payload: bytes) -> bytes:
    length = len(payload).to_bytes(4, "little")
    return b"STEP" + length + zlib.crc32(length + payload).to_bytes(4, "little") + payload


def test_whatever_the_tail_of_a_journal_is_the_rest_becomes_an_episode(tmp_path: Path) -> None:
    episode = episode_of(0, 30)
    store = killed(tmp_path, episode)
    whole = (store / OPEN).read_bytes()
    marks = [i for i in range(len(whole)) if whole[i : i + 4] == b"STEP"]
    assert len(marks) >= 3
    flipped = bytearray(whole)
    flipped[marks[2] + 40] ^= 1
    harmed = {
        "whole": whole,
        "garbage": whole + bytes(np.random.default_rng(0).integers(0, 256, 999, np.uint8)),
        "zeros": whole + bytes(4096),
        "mark only": whole + b"STEP",
        "odd length": whole + block(bytes(7)),
        "nothing in it": whole + block(b"") + block(b""),
        "flipped": bytes(flipped),
        **{f"cut at {place}": whole[:place] for place in range(0, len(whole), 457)},
    }
    kept = {}
    for name, contents in harmed.items():
        copy = tmp_path / name
        shutil.copytree(store, copy)
        (copy / OPEN).write_bytes(contents)
        (found,) = recover(copy)
        stored = EpisodeStore(copy)
        assert stored.verify() == ()
        assert journals(copy) == []
        assert_same(stored[0], episode_of(9, 2))
        assert len(stored) == 1 + (found.steps > 0)
        if found.steps:
            assert_same(stored[1], part(episode, 0, found.steps))
        kept[name] = found.steps
        assert (found.lost_bytes == 0) == (name == "whole" or len(contents) in (0, *marks))
    assert {kept[name] for name in ("whole", "garbage", "zeros", "mark only", "odd length", "nothing in it")} == {30}
    assert 0 < kept["flipped"] < 30
    cuts = [steps for name, steps in kept.items() if name.startswith("cut")]
    assert cuts == sorted(cuts)
    assert cuts[0] == 0 < cuts[-1]


def test_an_episode_that_was_stored_before_the_kill_is_not_stored_twice(tmp_path: Path) -> None:
    episode = episode_of(0, 12)
    store = killed(tmp_path, episode)
    journal = (store / OPEN).read_bytes()
    recover(store)
    (store / "ended-000001.journal").write_bytes(journal)
    assert [found.steps for found in recover(store)] == [12]
    assert len(EpisodeStore(store)) == 2
    assert recover(store) == ()


def test_a_journal_is_not_mistaken_for_the_episode_that_has_its_number(tmp_path: Path) -> None:
    episode = episode_of(0, 12)
    store = killed(tmp_path, episode)
    with EpisodeWriter.append(store) as writer:
        writer.add(dataclasses.replace(episode_of(5, 12), time=episode.time))
    recover(store)
    found = EpisodeStore(store)
    assert len(found) == 3
    assert_same(found[2], episode)


def test_a_file_that_is_no_journal_is_kept_and_named(tmp_path: Path) -> None:
    store = killed(tmp_path, episode_of(0, 12))
    contents = bytearray((store / OPEN).read_bytes())
    contents[20] ^= 1
    (store / OPEN).write_bytes(contents)
    (store / "unreadable-000000.journal").write_bytes(b"an older one")
    with pytest.warns(
        RecordingWarning, match=r"open-episode.journal is not a journal of this store .*; it is kept as unreadable-000001.journal"
    ):
        Recorder(MACHINE, store).close()
    assert (store / "unreadable-000001.journal").read_bytes() == contents
    assert len(EpisodeStore(store)) == 1


def test_the_open_journal_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noting(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    with Recorder(RIG, tmp_path / "store") as recorder:
        recorder.begin({"count": 0})
        recorder.step(action={"move": 0.0}, then={"count": 1})
        until_written(recorder)
        wanted = {(tmp_path / "store" / OPEN).stat().st_ino, (tmp_path / "store").stat().st_ino}
        deadline = time.monotonic() + 5
        while not wanted <= synced:
            assert time.monotonic() < deadline
            time.sleep(0.02)


MACHINE_LOOP = """
import sys, time
import numpy as np
from tacit.data.recording.recorder import Recorder
from tacit.signals import Role, Schema, Signal

RIG = Schema(signals=(Signal(name="count", role=Role.OBSERVATION, dtype="int64"), Signal(name="move", role=Role.ACTION)), period=0.002)
recorder = Recorder(RIG, sys.argv[1])
for length in (3, 4, None):
    recorder.begin({"count": 0}, time=0.0)
    count, begun = 0, time.monotonic()
    while length is None or count < length:
        time.sleep(0.002)
        count += 1
        moment = time.monotonic() - begun
        recorder.step(action={"move": -count}, then={"count": count}, time=moment)
        print(count, moment, flush=True)
    recorder.end()
"""


def test_a_killed_recorder_loses_less_than_a_second_and_no_closed_episode(tmp_path: Path) -> None:
    for attempt, wait in enumerate((0.05, 0.6)):
        store = tmp_path / f"store{attempt}"
        machine = subprocess.Popen([sys.executable, "-c", MACHINE_LOOP, store], stdout=subprocess.PIPE, text=True)
        assert machine.stdout is not None
        lines = [machine.stdout.readline() for _ in range(3 + 4 + 1)]
        time.sleep(wait)
        os.kill(machine.pid, signal.SIGKILL)
        lines += [line for line in machine.stdout if line.endswith("\n")]
        machine.stdout.close()
        machine.wait()
        last, moment = (float(word) for word in lines[-1].split())
        found = recover(store)
        episodes = list(EpisodeStore(store))
        assert EpisodeStore(store).verify() == ()
        assert [episode.steps for episode in episodes[:2]] == [3, 4]
        assert moment - sum(f.seconds for f in found) < 1.0
        for episode in episodes:
            assert episode.signals["count"].tolist() == list(range(episode.steps + 1))
            assert episode.signals["move"].tolist() == [-n for n in range(1, episode.steps + 1)]
        if wait > 0.3:
            assert 0 < episodes[2].steps <= last + 1
            assert str(found[0]).startswith(f"open-episode.journal was left by a recorder that was killed: {episodes[2].steps} steps")


def test_a_step_that_was_refused_and_never_given_again_leaves_no_hole(tmp_path: Path) -> None:
    """Also where the caller's clock runs faster than the wall's, as in a replay."""
    schema = Schema(signals=(Signal(name="x", role=Role.OBSERVATION), Signal(name="u", role=Role.ACTION)), period=0.1)
    recorder = Recorder(schema, tmp_path / "live")
    recorder.begin({"x": 0.0}, time=0.0)
    for k in (1, 2, 3, 4):
        assert recorder.step(action={"u": float(k)}, then={"x": float(k)}, time=0.1 * k)
    with pytest.raises(EpisodeError):
        recorder.step(action={"u": 5.0}, then={"x": math.nan}, time=0.5)
    for k in (6, 7, 8, 9):
        recorder.step(action={"u": float(k)}, then={"x": float(k)}, time=0.1 * k)
    recorder.end()
    with pytest.warns(RecordingWarning) as said:
        recorder.close()
    assert any("refused and not given again" in str(warning.message) for warning in said)
    for episode in EpisodeStore(tmp_path / "live"):
        assert np.diff(episode.time).max() < 0.15, "an episode has no hole"
