"""Encoded logs: every frame in its row, and histories that stay inside their episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trained import fresh

from point_world import LABELLED_MACHINE, SCHEMA, store_of, walk
from tacit.data import Episode, EpisodeStore
from tacit.data.episode import rows_of
from tacit.signals import Schema
from tacit.training import latents
from tacit.training.latents import LatentLog, encode_log

CPU = torch.device("cpu")


class Plain:
    """A world model whose latents are the sensors themselves."""

    def __init__(self, schema: Schema = SCHEMA) -> None:
        self.schema = schema.without_labels()
        self.latent_size, self.history = 6, 2
        self.asked: list[tuple[str, ...]] = []

    def encode(self, observations: Mapping[str, Tensor], before: Tensor | None = None) -> Tensor:
        self.asked.append(tuple(observations))
        return observations["sensors"]

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        raise NotImplementedError

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def uneven(tmp_path: Path) -> EpisodeStore:
    """Episodes of very different lengths."""
    rng = np.random.default_rng(0)
    return store_of(tmp_path / "uneven", [walk(rng, steps) for steps in (3, 1, 20, 7, 2)])


@pytest.mark.parametrize("chunk", [1, 4, 8, 1024])
def test_every_frame_and_action_is_in_its_row(uneven: EpisodeStore, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(latents, "CHUNK", chunk)
    chosen, told = [2, 0, 4, 3], []
    log = encode_log(uneven, chosen, Plain(), device=CPU, progress=told.append)
    assert len(log) == 4
    assert log.steps.tolist() == [20, 3, 2, 7]
    assert log.first.tolist() == [0, 21, 25, 28]
    assert told == [21, 25, 28, 36]
    for place, number in enumerate(chosen):
        rows = slice(int(log.first[place]), int(log.first[place] + log.steps[place]) + 1)
        episode = uneven[number]
        np.testing.assert_array_equal(log.latents[rows].numpy(), episode.signals["sensors"])
        np.testing.assert_array_equal(log.actions[rows][:-1].numpy(), episode.signals["move"])
        assert not log.actions[rows][-1].any()
    assert len(log.latents) == len(log.actions) == 36


def test_labels_are_not_even_asked_for(uneven: EpisodeStore) -> None:
    model = Plain()
    encode_log(uneven, [0], model, device=CPU)
    assert set(model.asked) == {("sensors",)}


def test_a_real_model_encodes_each_episode_as_it_would_alone(uneven: EpisodeStore) -> None:
    model = fresh(SCHEMA)
    log = encode_log(uneven, [1, 3], model, device=CPU)
    alone = model.encode({"sensors": torch.tensor(uneven[3].signals["sensors"])[None]})[0].detach()
    torch.testing.assert_close(log.latents[2:], alone, rtol=1e-4, atol=1e-5)
    assert not log.latents.requires_grad


def test_actions_of_all_signals_are_joined_in_order(tmp_path: Path) -> None:
    signals = {s.name: np.zeros((rows_of(s, 4), *s.shape), s.dtype) for s in LABELLED_MACHINE.signals}
    signals |= {
        "motor": np.arange(4, dtype=np.float32),
        "heater": np.full(4, 300, np.float32),
        "valve": np.array([True, False, True, True]),
    }
    store = store_of(tmp_path / "machine", [Episode(signals=signals, time=np.arange(5.0))], LABELLED_MACHINE)
    log = encode_log(store, [0], fresh(LABELLED_MACHINE), device=CPU)
    assert log.actions.tolist() == [[0, 300, 1], [1, 300, 0], [2, 300, 1], [3, 300, 1], [0, 0, 0]]


def test_history_repeats_the_first_frame_of_its_episode() -> None:
    log = LatentLog(latents=torch.arange(9.0)[:, None], actions=torch.zeros(9, 1), first=torch.tensor([0, 4]), steps=torch.tensor([3, 4]))
    found = log.history(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 3, 0, 1, 4]), 3)[..., 0]
    assert found.tolist() == [[0, 0, 0], [1, 2, 3], [4, 4, 4], [4, 4, 5], [6, 7, 8]]
    assert log.history(torch.tensor([1]), torch.tensor([2]), 1).tolist() == [[[6.0]]]
