"""The way of a plant's operation through its historian's files and `tacit import` into a store."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tacit.cli import main
from tacit.data import EpisodeStore, StoreError
from tacit.signals import MASK, Role
from tacit.worlds.plants import PLANTS, plant, record_plant
from tacit.worlds.plants.historian import SETPOINT
from tacit.worlds.world import Purpose, stream

QUICK = [name for name in PLANTS if name in ("four_tank", "reactor", "evaporator", "heater")]


def assert_same(one: EpisodeStore, two: EpisodeStore, count: int | None = None) -> None:
    assert one.schema == two.schema
    for number in range(count or len(two)):
        first, second = one[number], two[number]
        assert np.array_equal(first.time, second.time)
        for name in one.schema.by_name:
            assert np.array_equal(first.signals[name], second.signals[name]), name


@pytest.mark.parametrize("name", QUICK)
def test_a_store_holds_what_the_plant_showed_and_what_was_sent_bit_by_bit(name: str, tmp_path: Path) -> None:
    steps = 30
    store = record_plant(plant(name), tmp_path / "log", episodes=2, steps=steps, seed=4)
    made, rng = plant(name), stream(Purpose.RECORDING, 4, 0)
    samples, operator = made.reset(int(rng.integers(2**63))), made.operator(rng)
    assert store.schema.without_labels() == made.schema.without_labels()
    for signal in made.schema.signals:
        assert store.schema.by_name[signal.name] == signal
    assert store.lengths.tolist() == [steps, steps]
    for episode in store:
        assert np.diff(episode.time) == pytest.approx(np.full(steps, made.step_seconds), abs=1e-6)
        for t in range(steps + 1):
            if t < steps:
                action = operator.act(samples)
                for each, command in zip(made.schema.actions, action, strict=True):
                    assert episode.signals[each.name][t] == np.float32(command)
                for controlled, setpoint in operator.setpoints.items():
                    assert episode.signals[controlled + SETPOINT][t] == np.float32(setpoint)
            for signal in made.schema.signals:
                mask = episode.signals.get(signal.name + MASK)
                if signal.role is not Role.ACTION and (mask is None or mask[: t + 1].any()):  # nothing stands in for the first sample
                    assert np.array_equal(episode.signals[signal.name][t], samples[signal.name]), (signal.name, t)
            if t < steps:
                samples = made.apply(action)
    assert store[1].time[0] == store[0].time[-1], "the operation goes on"


def test_a_slow_sensor_leaves_empty_cells_and_a_mask(tmp_path: Path) -> None:
    store = record_plant(plant("evaporator"), tmp_path / "log", episodes=1, steps=12)
    with (tmp_path / "log-historian" / "0000.csv").open() as file:
        cells = [row["composition.PV"] for row in csv.DictReader(file)]
    assert [cell != "" for cell in cells] == [t % 6 == 0 for t in range(13)]
    assert np.array_equal(store[0].signals["composition" + MASK], np.arange(13) % 6 == 0)


def test_the_files_can_be_imported_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = record_plant(plant("reactor"), Path("log"), episodes=2, steps=15)
    assert main(["import", "log-historian", "--mapping", "log-historian/mapping.toml", "--out", "again"]) == 0
    assert_same(store, EpisodeStore("again"))


def test_episode_i_does_not_depend_on_how_many_there_are_and_a_recording_goes_on(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_plant(plant("reactor"), tmp_path / "log", episodes=4, steps=15, seed=1, progress=interrupt)
    assert sorted(file.name for file in (tmp_path / "log-historian").glob("*.csv")) == ["0000.csv", "0001.csv"]
    few = record_plant(plant("reactor"), tmp_path / "log", episodes=3, steps=15, seed=1)
    assert len(few) == 3
    more = record_plant(plant("reactor"), tmp_path / "log", episodes=4, steps=15, seed=1)
    whole = record_plant(plant("reactor"), tmp_path / "whole", episodes=4, steps=15, seed=1)
    assert len(more) == 4
    assert_same(more, whole)
    other = record_plant(plant("reactor"), tmp_path / "other", episodes=1, steps=15, seed=2)
    assert not np.array_equal(other[0].signals["coolant"], whole[0].signals["coolant"])


def test_where_a_store_is_from_is_told(tmp_path: Path) -> None:
    store = record_plant(plant("reactor"), tmp_path / "log", episodes=1, steps=15, seed=3)
    told = dict(store.source)
    assert told.pop("imported")["format"] == "table"
    assert told == {"world": "reactor", "policy": "operator", "steps": 15, "seed": 3}


def test_another_recording_is_never_continued(tmp_path: Path) -> None:
    record_plant(plant("reactor"), tmp_path / "log", episodes=1, steps=15)
    for other, changed in (("reactor", {"seed": 1}), ("reactor", {"steps": 16}), ("evaporator", {})):
        with pytest.raises(StoreError, match=r"holds another recording.*choose another folder"):
            record_plant(plant(other), tmp_path / "log", **{"episodes": 2, "steps": 15, "seed": 0, **changed})
    assert len(EpisodeStore(tmp_path / "log")) == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log-historian").mkdir()
    (tmp_path / "log-historian" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no recording; choose another folder"):
        record_plant(plant("reactor"), tmp_path / "log", episodes=1, steps=15)
    assert [file.name for file in (tmp_path / "log-historian").iterdir()] == ["notes.txt"]


def test_a_damaged_export_is_named(tmp_path: Path) -> None:
    record_plant(plant("reactor"), tmp_path / "log", episodes=1, steps=15)
    file = tmp_path / "log-historian" / "0001.csv"
    file.write_text((tmp_path / "log-historian" / "0000.csv").read_text().replace("coolant.OP", "cooling.OP"))
    with pytest.raises(StoreError, match=r"0001\.csv is not as it was written.*record again"):
        record_plant(plant("reactor"), tmp_path / "log", episodes=2, steps=15)


@pytest.mark.parametrize("bad", [{"episodes": 0}, {"steps": 0}, {"seed": -1}])
def test_bad_numbers_are_refused_before_anything_is_made(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        record_plant(plant("reactor"), tmp_path / "log", **{"episodes": 1, "steps": 15, **bad})
    assert not list(tmp_path.iterdir())


def test_the_command_records_a_plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["record", "reactor", "--out", "log", "--episodes", "2", "--steps", "20"]) == 0
    assert "2 episodes, 42 frames" in capsys.readouterr().out
    assert json.loads(Path("log-historian/recording.json").read_text())["world"] == "reactor"
    assert main(["info", "log"]) == 0
    assert "imported from" in capsys.readouterr().out
    assert main(["record", "sugar_mill", "--out", "other"]) == 1
    assert "no world 'sugar_mill'; there are: two_room" in capsys.readouterr().err
