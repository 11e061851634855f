"""Bad input and bad luck never lose data that was good."""

from __future__ import annotations

import dataclasses
import errno
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_machine import MACHINE, assert_same, episode_of, make_store, plain_episodes

from tacit.data import Episode, EpisodeError, EpisodeStore, EpisodeWriter, StoreBusy, StoreError, StoreFull
from tacit.signals import Role, Schema, SchemaError, Signal


def changed(name: str, values: object) -> Episode:
    episode = episode_of(0, 5)
    return dataclasses.replace(episode, signals={**episode.signals, name: values})  # type: ignore[dict-item]


def spoilt(name: str, place: int | tuple[int, ...], value: float) -> Episode:
    values = episode_of(0, 5).signals[name].copy()
    values[place] = value  # type: ignore[index]
    return changed(name, values)


def at(*time: float) -> Episode:
    return dataclasses.replace(episode_of(0, 5), time=np.array(time, np.float64))


REFUSED = {
    "missing": (dataclasses.replace(episode_of(0, 5), signals={"camera": np.zeros((6, 4, 5, 3), np.uint8)}), "'pressure' is missing"),
    "unknown": (changed("torque", np.zeros(6)), "'torque' is not in the schema"),
    "dtype": (changed("pressure", np.zeros(6)), "'pressure' has dtype float64, the schema says float32"),
    "list": (changed("pressure", [0.0] * 6), "'pressure' is a list"),
    "rows": (changed("pressure", np.zeros(5, np.float32)), r"'pressure' has shape \(5,\).*\(6,\): one row per timestamp"),
    "action rows": (changed("motor", np.zeros((6, 2), np.float32)), r"'motor' has shape \(6, 2\).*\(5, 2\): one row per action"),
    "shape": (changed("camera", np.zeros((6, 5, 4, 3), np.uint8)), "'camera' has shape"),
    "nan": (spoilt("motor", (3, 1), np.nan), "'motor' row 3 is nan; .*cut the episode"),
    "inf": (spoilt("pressure", 2, -np.inf), "'pressure' row 2 is -inf"),
    "backwards": (at(0, 1, 2, 1.5, 3, 4), r"time row 3 is 1\.5 s, not after row 2 at 2\.0 s"),
    "standstill": (at(0, 1, 2, 3, 4, 4), r"time row 5 is 4\.0 s"),
    "no time": (at(0, 1, 2, np.nan, 4, 5), "time row 3 is nan"),
    "one row": (at(0), "1 moments; it takes two"),
    "time dtype": (dataclasses.replace(episode_of(0, 5), time=np.arange(6)), "time is int64"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("episode", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_episode_is_refused_and_the_store_is_unharmed(tmp_path: Path, episode: Episode, message: str) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        with pytest.raises(EpisodeError, match=message):
            writer.add(episode)
        assert writer.add(episode_of(1, 4)) == 1
    store = EpisodeStore(tmp_path / "store")
    assert len(store) == 2
    assert store.verify() == ()
    assert_same(store[1], episode_of(1, 4))


def test_an_exception_keeps_what_was_added(tmp_path: Path) -> None:
    def recorder_that_fails() -> None:
        with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
            writer.add(episode_of(0, 3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recorder_that_fails()
    store = EpisodeStore(tmp_path / "store")
    assert_same(store[0], episode_of(0, 3))
    assert plain_episodes(store.path) == 1


def test_a_reader_sees_what_is_closed_while_the_writer_goes_on(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        store = EpisodeStore(tmp_path / "store")
        writer.add(episode_of(1, 6))
        assert len(store) == 1
        assert_same(store[0], episode_of(0, 3))
        assert_same(EpisodeStore(tmp_path / "store")[1], episode_of(1, 6))
        assert EpisodeStore(tmp_path / "store").verify() == (), "a shard in the making is no damage"


def test_appending_goes_on_in_a_new_shard(tmp_path: Path) -> None:
    store = make_store(tmp_path, [3, 4], shard_bytes=1 << 20)
    before = (store.path / "00000.arrow").read_bytes()
    with EpisodeWriter.append(store.path) as writer:
        assert len(writer) == 2
        assert writer.add(episode_of(2, 5)) == 2
    assert (store.path / "00000.arrow").read_bytes() == before
    assert_same(EpisodeStore(store.path)[2], episode_of(2, 5))
    assert EpisodeStore(store.path).verify() == ()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE), pytest.raises(StoreBusy, match="another writer"):
        EpisodeWriter.append(tmp_path / "store")
    EpisodeWriter.append(tmp_path / "store").close()


def test_create_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="already exists"):
        EpisodeWriter.create(tmp_path / "used", MACHINE)
    with pytest.raises(StoreError, match="JSON values only"):
        EpisodeWriter.create(tmp_path / "new", MACHINE, source={"when": object()})
    with pytest.raises(SchemaError, match="'time'"):
        EpisodeWriter.create(tmp_path / "new", Schema(signals=(Signal(name="time", role=Role.OBSERVATION),)))
    assert not (tmp_path / "new").exists()
    with pytest.raises(StoreError, match="not an episode store"):
        EpisodeWriter.append(tmp_path / "used")


class FullDisk:
    """A file that takes `room` more bytes and then raises."""

    def __init__(self, file: Any, room: int, code: int) -> None:
        self.file, self.room, self.code = file, room, code

    def write(self, data: Any) -> int:
        taken = self.file.write(data[: self.room])
        self.room -= taken
        if not taken:
            raise OSError(self.code, "No space left on device")
        return int(taken)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 500, 1_500])
@pytest.mark.parametrize("file", ["_shard", "_index"])
def test_a_full_disk_rolls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, room: int) -> None:
    room = min(room, 100) if file == "_index" else room
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        sizes = [f.stat().st_size for f in sorted(writer.path.glob("*[0-9l]*"))]
        with monkeypatch.context() as patch:
            patch.setattr(writer, file, FullDisk(getattr(writer, file), room, errno.ENOSPC))
            with pytest.raises(StoreFull, match=r"episode 1 needs [\d,]+ bytes, [\d,]+ are free. The 1 episodes before it are safe"):
                writer.add(episode_of(1, 30))
        assert len(writer) == 1
        assert_same(EpisodeStore(writer.path)[0], episode_of(0, 3))
        if file == "_shard":
            assert [f.stat().st_size for f in sorted(writer.path.glob("*[0-9l]*"))] == sizes
        assert writer.add(episode_of(1, 4)) == 1, "once there is room the writer goes on"
    assert EpisodeStore(tmp_path / "store").verify() == ()
    assert_same(EpisodeStore(tmp_path / "store")[1], episode_of(1, 4))
    assert plain_episodes(tmp_path / "store") == 2


def test_another_disk_error_is_itself_and_rolls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        with monkeypatch.context() as patch:
            patch.setattr(writer, "_shard", FullDisk(writer._shard, 700, errno.EIO))
            with pytest.raises(OSError, match="Errno 5"):
                writer.add(episode_of(1, 30))
    assert len(EpisodeStore(tmp_path / "store")) == plain_episodes(tmp_path / "store") == 1


def add_many(writer: EpisodeWriter) -> None:
    for number in range(100):
        writer.add(episode_of(number, 4))


def test_a_real_limit_on_file_size_rolls_back(tmp_path: Path) -> None:
    """The kernel takes a part of the write and refuses the rest, as on a full disk; the first write may already be too much."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        for limit in (100, 4_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                with pytest.raises(StoreFull, match=r"is out of room \(File too large\)"):
                    add_many(writer)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        kept = len(writer)
        assert 0 < kept < 100
        assert writer.add(episode_of(kept, 4)) == kept
    store = EpisodeStore(tmp_path / "store")
    assert store.verify() == ()
    assert len(store) == plain_episodes(store.path) == kept + 1
    for number, episode in enumerate(store):
        assert_same(episode, episode_of(number, 4))


def test_no_room_for_the_footer_loses_nothing(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        writer._shard = FullDisk(writer._shard, 100, errno.ENOSPC)  # type: ignore[assignment]
    assert_same(EpisodeStore(tmp_path / "store")[0], episode_of(0, 3))
    assert plain_episodes(tmp_path / "store") == 0
    EpisodeWriter.append(tmp_path / "store").close()
    assert plain_episodes(tmp_path / "store") == 1


@pytest.mark.parametrize("after", ["_shard", "_index"])
def test_an_interrupt_between_two_writes_leaves_a_whole_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 3))
        write, interrupted = EpisodeWriter._write, getattr(writer, after)

        def interrupt(self: EpisodeWriter, file: Any, *rest: Any) -> None:
            write(self, file, *rest)
            if file is interrupted:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EpisodeWriter, "_write", interrupt)
            with pytest.raises(KeyboardInterrupt):
                writer.add(episode_of(1, 30))
        if after == "_shard":
            assert writer.add(episode_of(1, 2)) == 1
    store = EpisodeStore(tmp_path / "store")
    assert store.verify() == ()
    assert len(store) == plain_episodes(store.path) == len(writer)
    for number, steps in zip(range(len(store)), (3, 2), strict=False):
        assert_same(store[number], episode_of(number, steps))


RECORDER = """
import sys
sys.path.insert(0, sys.argv[2])
from recorded_machine import MACHINE, episode_of
from tacit.data import EpisodeWriter
with EpisodeWriter.append(sys.argv[1], shard_bytes=60_000) as writer:
    while True:
        number = len(writer)
        writer.add(episode_of(number, 1 + number % 50))
        print(len(writer), flush=True)
"""


def test_a_killed_writer_loses_at_most_the_open_episode(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "store"
    EpisodeWriter.create(path, MACHINE).close()
    for _ in range(5):
        recorder = subprocess.Popen([sys.executable, "-c", RECORDER, path, Path(__file__).parent], stdout=subprocess.PIPE, text=True)
        assert recorder.stdout is not None
        closed = int(recorder.stdout.readline())
        time.sleep(rng.random() * 0.15)
        recorder.send_signal(signal.SIGKILL)
        closed = max([closed, *(int(line) for line in recorder.stdout if line.endswith("\n"))])
        recorder.stdout.close()
        recorder.wait()
        store = EpisodeStore(path)
        assert closed <= len(store) <= closed + 1
        assert store.verify() == ()
        for number in range(max(0, closed - 100), len(store)):
            assert_same(store[number], episode_of(number, 1 + number % 50))
    EpisodeWriter.append(path).close()
    assert len(EpisodeStore(path)) == plain_episodes(path)
    assert EpisodeStore(path).verify() == ()


def test_every_way_to_tear_the_last_write_is_repaired(tmp_path: Path) -> None:
    """Cut an unsealed shard and the index where a kill could: behind the last closed episode."""
    with EpisodeWriter.create(tmp_path / "whole", MACHINE) as writer:
        for number in range(3):
            writer.add(episode_of(number, 2 + number))
            sizes = (writer._shard_end, writer._index_end)
            if number == 1:
                closed = sizes
        files = {
            name: (tmp_path / "whole" / name).read_bytes()[:size]
            for name, size in zip(("00000.arrow", "episodes.jsonl"), sizes, strict=True)
        }
    footer = (tmp_path / "whole" / "00000.arrow").stat().st_size
    files["store.json"] = (tmp_path / "whole" / "store.json").read_bytes()
    places = [(shard, closed[1]) for shard in range(closed[0], sizes[0] + 1, 37)]
    places += [(sizes[0], line) for line in range(closed[1], sizes[1], 11)]
    assert footer > sizes[0]
    for attempt, (shard, line) in enumerate(places):
        path = tmp_path / f"torn{attempt}"
        path.mkdir()
        for name, contents in files.items():
            (path / name).write_bytes(contents[: {"00000.arrow": shard, "episodes.jsonl": line}.get(name)])
        assert len(EpisodeStore(path)) == 2
        assert EpisodeStore(path).verify() == ()
        with EpisodeWriter.append(path) as writer:
            assert writer.add(episode_of(9, 4)) == 2
        store = EpisodeStore(path)
        assert store.verify() == ()
        assert plain_episodes(path) == len(store) == 3
        assert_same(store[1], episode_of(1, 3))
        assert_same(store[2], episode_of(9, 4))


def test_a_shard_without_any_closed_episode_is_cleared_away(tmp_path: Path) -> None:
    with EpisodeWriter.create(tmp_path / "store", MACHINE) as writer:
        writer.add(episode_of(0, 2))
    (tmp_path / "store" / "00001.arrow").write_bytes((tmp_path / "store" / "00000.arrow").read_bytes()[:900])
    with EpisodeWriter.append(tmp_path / "store") as writer:
        writer.add(episode_of(1, 2))
    assert plain_episodes(tmp_path / "store") == len(EpisodeStore(tmp_path / "store")) == 2
