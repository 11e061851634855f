"""What a step is given: the same, whether a thread reads it or it is gathered from logs that lie on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from point_world import SCHEMA, loop_config, model_config, record, store_of, walk
from tacit.data import Episode, EpisodeStore, WindowReader
from tacit.models.jepa import JEPA
from tacit.signals import Role, Schema, Signal, mask_of
from tacit.training.distributed import Group
from tacit.training.resident import Resident
from tacit.training.seed import random_numbers
from tacit.training.supply import Supply
from tacit.training.views import moved, moved_there

CPU = torch.device("cpu")
CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(16, 24, 3), dtype="uint8")
PICTURED = Schema(signals=(*SCHEMA.signals, CAMERA, mask_of(CAMERA)))


@pytest.fixture
def pictured(tmp_path: Path) -> EpisodeStore:
    """Walks of several lengths with noise for pictures; one is too short for a window."""
    rng = np.random.default_rng(0)
    episodes = []
    for steps in (20, 3, 24, 20, 31):
        episode = walk(rng, steps)
        seen = {"camera": rng.integers(0, 256, (steps + 1, *CAMERA.shape), np.uint8), "camera.valid": rng.random(steps + 1) < 0.5}
        episodes.append(Episode(signals={**episode.signals, **seen}, time=episode.time))
    return store_of(tmp_path / "pictured", episodes, PICTURED)


def test_windows_of_resident_logs_are_those_of_the_store(pictured: EpisodeStore) -> None:
    episodes = [4, 1, 2]
    reader = WindowReader(pictured, length=5, episodes=episodes)
    there = Resident(pictured, pictured.schema.without_labels(), episodes, CPU)
    starts = np.array([[0, 0], [1, 3], [0, 27], [1, 20]])
    read, gathered = reader.read(starts), there.windows(reader, starts)
    assert gathered.keys() == read.keys(), "no label"
    for name, values in read.items():
        np.testing.assert_array_equal(gathered[name].numpy(), values)
        assert gathered[name].numpy().dtype == values.dtype


def test_copying_logs_is_told_episode_by_episode(pictured: EpisodeStore) -> None:
    told: list[tuple[int, int]] = []
    Resident(pictured, pictured.schema.without_labels(), [4, 1, 2], CPU, lambda done, total: told.append((done, total)))
    assert told == [(32, 61), (36, 61), (61, 61)]


def test_only_an_accelerator_is_asked_for_room(pictured: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, accelerator = pictured.schema.without_labels(), torch.device("cuda", 0)
    assert not Resident.fits(pictured, schema, [0, 1], CPU)
    size = (21 + 4) * sum(s.size * np.dtype(s.dtype).itemsize for s in schema.signals)
    for free, fits in ((2 * size + 2, True), (2 * size - 2, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert Resident.fits(pictured, schema, [0, 1], accelerator) is fits


def test_those_who_share_an_accelerator_leave_each_other_room(pictured: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    schema, accelerator = pictured.schema.without_labels(), torch.device("cuda", 0)
    size = (21 + 4) * sum(s.size * np.dtype(s.dtype).itemsize for s in schema.signals)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * size, 6 * size))
    assert [Resident.fits(pictured, schema, [0, 1], accelerator, sharing) for sharing in (1, 4, 5)] == [True, True, False]


def test_views_made_by_a_gather_are_those_made_by_copies(pictured: EpisodeStore) -> None:
    reader = WindowReader(pictured, length=1, names=[s.name for s in pictured.schema.without_labels().seen])
    starts = np.stack([np.arange(64) % 5, np.arange(64) % 4], axis=1)
    moments = reader.read(starts)
    copied = moved(moments, PICTURED, random_numbers(0, "views"))
    gathered = moved_there({name: torch.from_numpy(value) for name, value in moments.items()}, PICTURED, random_numbers(0, "views"))
    assert copied.keys() == gathered.keys()
    for name, value in copied.items():
        np.testing.assert_array_equal(gathered[name].numpy(), value)


@pytest.mark.parametrize("shapes", [False, True])
def test_a_supply_reads_and_gathers_the_same(pictured: EpisodeStore, monkeypatch: pytest.MonkeyPatch, shapes: bool) -> None:
    model = JEPA(PICTURED, replace(model_config(), shape_weight=float(shapes)))
    config = replace(loop_config(steps=6, batch=8), views=8)
    given = []
    for there in (False, True):
        monkeypatch.setattr(Resident, "fits", lambda *_, there=there: there)
        with Supply(pictured, [0, 1, 2, 4], model, config, 3, Group()).batches(range(2, 6)) as batches:
            given.append([(dict(seen) | {"move": actions}, views) for seen, actions, views in batches])
    assert len(given[0]) == len(given[1]) == 4
    # What is read ahead lies in buffers that are filled again: only the last batch is still what it was.
    (read, moved_read), (gathered, moved_gathered) = given[0][-1], given[1][-1]
    assert read.keys() == gathered.keys() == {"sensors", "camera", "camera.valid", "move"}
    for name in read:
        torch.testing.assert_close(read[name], gathered[name], rtol=0, atol=0)
    assert (moved_read is not None) == (moved_gathered is not None) == shapes
    for name, value in (moved_read or {}).items():
        torch.testing.assert_close(value, moved_gathered[name], rtol=0, atol=0)


def test_a_supply_of_two_processes_is_that_of_one(pictured: EpisodeStore) -> None:
    model, config = JEPA(PICTURED, model_config()), loop_config(steps=1, batch=8)
    parts = []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        supply = Supply(pictured, [0, 2, 4], model, config, 3, Group(rank=rank, world_size=size))
        with supply.batches(range(1)) as batches:
            parts.append(next(iter(batches))[0]["sensors"].clone())
        torch.testing.assert_close(supply.sample()[0]["sensors"], parts[0])
    windows, partners = torch.stack((parts[1], parts[2])).unflatten(1, (2, -1)).transpose(0, 1).flatten(1, 2)
    torch.testing.assert_close(torch.cat((windows, partners)), parts[0])


def test_too_few_windows_are_refused(tmp_path: Path) -> None:
    store = record(tmp_path / "few", episodes=2, steps=3)
    with pytest.raises(ValueError, match="do not fill one batch"):
        Supply(store, [0, 1], JEPA(SCHEMA, model_config()), loop_config(steps=1, batch=64), 0, Group())
