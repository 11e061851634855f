"""Importing: takes become episodes in their order, a bad one spoils no other, and a stopped import goes on to the same store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tacit.data import Episode, EpisodeError, EpisodeStore, EpisodeWriter, StoreError
from tacit.data.formats import FORMATS
from tacit.data.importing import LEDGER, Prepared, fill, parts_of, prepare, read_ledger, run
from tacit.data.mapping import LogMapping, MappingError
from tacit.data.streams import BadTake, Channel, Description, Piece, SourceError, Stream

PERIOD = 0.1
MAPPING = """
format = "lists"
period = 0.1
[episodes]
min_steps = 2
max_steps = 10
[signals.level]
source = "level"
role = "observation"
[signals.valve]
source = "valve"
role = "action"
"""


@dataclass
class Lists:
    """A source in memory: takes of 25 steps each, read in two pieces; those in `broken` end early."""

    takes: tuple[str, ...] = ("a", "b", "c")
    broken: dict[str, str] = field(default_factory=dict)
    stop_at: str | None = None
    read_takes: list[str] = field(default_factory=list)
    name: str = "lists"
    summary: str = "lists"
    extra: str | None = None

    def recognises(self, path: Path) -> bool:
        return True

    def describe(self, path: Path, options: Mapping[str, object]) -> Description:
        channels = (Channel(name="level"), Channel(name="valve"), Channel(name="other", unit="bar"))
        return Description(channels=channels, takes=self.takes, seconds=2.5 * len(self.takes))

    def read(self, path: Path, take: str, names: tuple[str, ...], options: Mapping[str, object]) -> Iterator[Piece]:
        self.read_takes.append(take)
        rng = np.random.default_rng([ord(c) for c in take])
        time = PERIOD * np.arange(26)
        streams = {name: (time, rng.normal(size=26)) for name in ("level", "valve")}
        for part, until in ((slice(0, 14), time[14]), (slice(14, 26), np.inf)):
            if part.start and take in self.broken:
                raise BadTake(self.broken[take])
            if part.start and take == self.stop_at:
                raise KeyboardInterrupt
            yield Piece(streams={n: Stream(time=t[part], values=v[part], where=take) for n, (t, v) in streams.items()}, until=until)


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    source = Lists()
    monkeypatch.setitem(FORMATS, "lists", source)
    return source


def prepared(tmp_path: Path, text: str = MAPPING) -> Prepared:
    return prepare(tmp_path, LogMapping.from_text(text))


def contents(store: EpisodeStore) -> list[list[np.ndarray]]:
    return [[episode.time, *episode.signals.values()] for episode in store]


def assert_same(one: Path, other: Path) -> None:
    for a, b in zip(contents(EpisodeStore(one)), contents(EpisodeStore(other)), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_takes_become_episodes_in_order(lists: Lists, tmp_path: Path) -> None:
    done = run(prepared(tmp_path), tmp_path / "out")
    store = EpisodeStore(tmp_path / "out")
    assert [(d.take, d.episodes, d.fault) for d in done] == [("a", 3, None), ("b", 3, None), ("c", 3, None)]
    assert store.lengths.tolist() == [10, 10, 5] * 3
    rng = np.random.default_rng([ord("b")])
    level, valve = rng.normal(size=26), rng.normal(size=26)
    np.testing.assert_array_equal(store[3].signals["level"], level[:11].astype(np.float32))
    np.testing.assert_array_equal(store[3].signals["valve"], valve[:10].astype(np.float32))
    assert store.source["imported"]["format"] == "lists"


def test_a_bad_take_keeps_what_came_before_and_spoils_no_other(lists: Lists, tmp_path: Path) -> None:
    lists.broken["b"] = "b.bin: broken at byte 7; copy it again"
    done = run(prepared(tmp_path), tmp_path / "out")
    assert [d.episodes for d in done] == [3, 2, 3]
    assert done[1].fault == "b.bin: broken at byte 7; copy it again"
    assert EpisodeStore(tmp_path / "out").lengths.tolist() == [10, 10, 5, 10, 3, 10, 10, 5]


def test_a_stopped_import_goes_on_to_the_same_store(lists: Lists, tmp_path: Path) -> None:
    run(prepared(tmp_path), tmp_path / "whole")
    lists.stop_at = "b"
    with pytest.raises(KeyboardInterrupt):
        run(prepared(tmp_path), tmp_path / "out")
    assert len(EpisodeStore(tmp_path / "out")) == 4, "one episode of the second take was closed"
    lists.stop_at = None
    lists.read_takes.clear()
    done = run(prepared(tmp_path), tmp_path / "out")
    assert lists.read_takes == ["b", "c"]
    assert [d.episodes for d in done] == [3, 3, 3]
    assert_same(tmp_path / "whole", tmp_path / "out")
    lists.read_takes.clear()
    run(prepared(tmp_path), tmp_path / "out")
    assert not lists.read_takes


def test_a_ledger_line_that_was_cut_short_does_not_count(lists: Lists, tmp_path: Path) -> None:
    run(prepared(tmp_path), tmp_path / "whole")
    run(prepared(tmp_path), tmp_path / "out")
    ledger = tmp_path / "out" / LEDGER
    ledger.write_bytes(ledger.read_bytes()[:-9])
    lists.read_takes.clear()
    run(prepared(tmp_path), tmp_path / "out")
    assert lists.read_takes == ["c"]
    assert_same(tmp_path / "whole", tmp_path / "out")
    assert [d.take for d in read_ledger(tmp_path / "out")] == ["a", "b", "c"]


def test_a_take_that_gave_nothing_is_tried_again(lists: Lists, tmp_path: Path) -> None:
    text = MAPPING.replace("max_steps = 10", "max_steps = 30").replace("min_steps = 2", "min_steps = 20")
    lists.broken["b"] = "b.bin is broken"
    assert [d.episodes for d in run(prepared(tmp_path, text), tmp_path / "out")] == [1, 0, 1]
    lists.broken.clear()
    lists.read_takes.clear()
    done = run(prepared(tmp_path, text), tmp_path / "out")
    assert lists.read_takes == ["b"]
    assert [(d.take, d.episodes, d.fault) for d in done] == [("a", 1, None), ("b", 1, None), ("c", 1, None)]


def test_an_import_that_was_stopped_before_its_first_episode_goes_on(lists: Lists, tmp_path: Path) -> None:
    text = MAPPING.replace("max_steps = 10", "max_steps = 30")
    lists.stop_at = "a"
    with pytest.raises(KeyboardInterrupt):
        run(prepared(tmp_path, text), tmp_path / "out")
    assert len(EpisodeStore(tmp_path / "out")) == 0
    lists.stop_at = None
    assert [d.episodes for d in run(prepared(tmp_path, text), tmp_path / "out")] == [1, 1, 1]


def test_what_a_stopped_take_has_given_is_its_own(lists: Lists, tmp_path: Path) -> None:
    """A take that comes before it in the next run must not be taken for it."""
    lists.takes, lists.stop_at = ("b", "c"), "b"
    with pytest.raises(KeyboardInterrupt):
        run(prepared(tmp_path), tmp_path / "out")
    lists.takes, lists.stop_at = ("a", "b", "c"), None
    assert [(d.take, d.episodes) for d in run(prepared(tmp_path), tmp_path / "out")] == [("a", 3), ("b", 3), ("c", 3)]
    lists.takes = ("b", "a", "c")
    run(prepared(tmp_path), tmp_path / "whole")
    assert_same(tmp_path / "whole", tmp_path / "out")


def test_a_stopped_take_that_is_gone_is_named(lists: Lists, tmp_path: Path) -> None:
    lists.stop_at = "a"
    with pytest.raises(KeyboardInterrupt):
        run(prepared(tmp_path), tmp_path / "out")
    lists.takes, lists.stop_at = ("b", "c"), None
    with pytest.raises(StoreError, match="was stopped in take 'a', which the source no longer has"):
        run(prepared(tmp_path), tmp_path / "out")


def test_an_episode_that_the_store_refuses_is_not_counted(lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = EpisodeWriter.add

    def refusing(self: EpisodeWriter, episode: Episode) -> int:
        if len(self) == 1:
            raise EpisodeError("signal 'level' row 3 is inf")
        return real(self, episode)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeWriter, "add", refusing)
        done = run(prepared(tmp_path), tmp_path / "out")
    assert [(d.episodes, d.fault) for d in done] == [
        (1, "signal 'level' row 3 is inf"),
        (0, "signal 'level' row 3 is inf"),
        (0, "signal 'level' row 3 is inf"),
    ]
    assert [d.episodes for d in run(prepared(tmp_path), tmp_path / "out")] == [1, 3, 3]


def test_another_mapping_is_not_mixed_in(lists: Lists, tmp_path: Path) -> None:
    run(prepared(tmp_path), tmp_path / "out")
    with pytest.raises(StoreError, match="another import"):
        run(prepared(tmp_path, MAPPING.replace('source = "level"', 'source = "level"\nscale = 2.0')), tmp_path / "out")


def test_too_little_room_is_said_before_anything_is_read(lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(tmp_path)
    assert ready.estimate(tmp_path / "out").moments == 78
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(StoreError, match="make room"):
        run(ready, tmp_path / "out")
    assert not lists.read_takes
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_refused(lists: Lists, tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"mapping.toml:\d+: signals: no signal has role = \"action\""):
        prepared(tmp_path, MAPPING.replace('role = "action"', 'role = "disturbance"'))
    with pytest.raises(MappingError, match=r"no channel 'levle'; did you mean 'level'"):
        prepared(tmp_path, MAPPING.replace('source = "level"', 'source = "levle"'))
    with pytest.raises(SourceError, match="does not exist"):
        prepare(tmp_path / "nowhere", LogMapping.from_text(MAPPING))
    lists.takes = ()
    with pytest.raises(SourceError, match="no take"):
        prepared(tmp_path)


def test_progress_ends_at_all(lists: Lists, tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    run(prepared(tmp_path), tmp_path / "out", progress=lambda share, words: seen.append((share, words)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert seen[-1] == (1.0, "take 3 of 3, 9 episodes")


def test_several_processes_make_the_same_store(tmp_path: Path) -> None:
    source = tmp_path / "takes"
    source.mkdir()
    for number in range(5):
        rng = np.random.default_rng(number)
        arrays = {"level": rng.normal(size=26), "valve": rng.normal(size=26), "time": PERIOD * np.arange(26)}
        np.savez(source / f"{number}.npz", **arrays)
    (source / "3.npz").write_bytes(b"not a zip")
    mapping = LogMapping.from_text(MAPPING.replace("lists", "npz"))
    alone = run(prepare(source, mapping), tmp_path / "alone")
    together = run(prepare(source, mapping), tmp_path / "together", jobs=2)
    assert [(d.take, d.episodes) for d in together] == [(d.take, d.episodes) for d in alone]
    assert [d.take for d in alone if d.fault] == ["3.npz"]
    assert_same(tmp_path / "alone", tmp_path / "together")
    assert not (tmp_path / "together.parts").exists()
    assert json.loads((tmp_path / "together" / LEDGER).read_text().splitlines()[0]) == {"take": "0.npz", "begun": True}


def test_another_number_of_processes_begins_parts_of_its_own(tmp_path: Path) -> None:
    source = tmp_path / "takes"
    source.mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        np.savez(source / f"{number}.npz", level=rng.normal(size=26), valve=rng.normal(size=26), time=PERIOD * np.arange(26))
    ready = prepare(source, LogMapping.from_text(MAPPING.replace("lists", "npz")))
    run(ready, tmp_path / "alone")
    fill(ready, parts_of(tmp_path / "together") / "0-of-2", ready.found.takes[0:1], ready.episodes)
    run(ready, tmp_path / "together", jobs=3)
    assert_same(tmp_path / "alone", tmp_path / "together")
    assert not parts_of(tmp_path / "together").exists()


def test_every_format_is_registered_under_its_name() -> None:
    assert all(name == known.name and known.summary for name, known in FORMATS.items())


def test_episodes_are_values(lists: Lists, tmp_path: Path) -> None:
    made = [item for item in prepared(tmp_path).episodes("a") if isinstance(item, Episode)]
    assert [e.steps for e in made] == [10, 10, 5]
    np.testing.assert_array_equal(made[0].signals["level"][-1], made[1].signals["level"][0])
