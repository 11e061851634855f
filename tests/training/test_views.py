"""Views: things keep their shape, lose their place, and nothing else gives the moment away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from point_world import loop_config, model_config
from tacit.data import Episode, EpisodeStore, EpisodeWriter
from tacit.models.encoders import EncoderConfig
from tacit.models.jepa import JEPA
from tacit.models.readout import ReadoutConfig
from tacit.signals import Role, Schema, Signal, mask_of
from tacit.training.latents import encode_log
from tacit.training.loop import train
from tacit.training.readouts import fit_readout
from tacit.training.seed import random_numbers
from tacit.training.settings import HeadTraining
from tacit.training.views import moved

FITTING = HeadTraining(steps=400, batch=64, learning_rate=3e-3)
CAMERA = Signal(name="camera", role=Role.OBSERVATION, shape=(32, 48, 3), dtype="uint8")
GAUGE = Signal(name="gauge", role=Role.OBSERVATION, shape=(2,))
PUSH = Signal(name="push", role=Role.ACTION)
SCHEMA = Schema(signals=(CAMERA, mask_of(CAMERA), GAUGE, mask_of(GAUGE), PUSH))
N = 200


def moments() -> dict[str, np.ndarray]:
    """A white picture with a black border and one block of 4 x 6 pixels in the middle; the gauge counts."""
    pictures = np.full((N, 1, 32, 48, 3), 255, np.uint8)
    pictures[:, :, [0, -1]] = 0
    pictures[:, :, :, [0, -1]] = 0
    pictures[:, :, 14:18, 21:27] = np.arange(N, dtype=np.uint8)[:, None, None, None, None]
    number = np.repeat(np.arange(N, dtype=np.float32), 2).reshape(N, 1, 2)
    return {"camera": pictures, "camera.valid": np.arange(N)[:, None] % 2 == 0, "gauge": number, "gauge.valid": number < N / 2}


def test_a_thing_is_moved_and_keeps_its_shape() -> None:
    pictures = moved(moments(), SCHEMA, random_numbers(0, "views"))["camera"]
    assert pictures.shape == (N, 32, 48, 3)
    places = set()
    for number, picture in enumerate(pictures):
        rows, columns = np.nonzero((picture == number).all(-1))
        assert len(rows) == 24, "the block as a whole, and no border"
        assert (np.ptp(rows), np.ptp(columns)) == (3, 5)
        places.add((rows.min(), columns.min()))
    rows, columns = np.array(sorted(places)).T
    assert rows.min() < 12 < 16 < rows.max()
    assert columns.min() < 18 < 24 < columns.max()
    assert len(places) > 60


def test_other_signals_are_those_of_another_view() -> None:
    seen = moments()
    views = moved(seen, SCHEMA, random_numbers(0, "views"))
    numbers = views["gauge"][:, 0].astype(int)
    assert sorted(numbers) == list(range(N))
    assert (numbers == np.arange(N)).sum() < 10
    np.testing.assert_array_equal(views["gauge.valid"], seen["gauge.valid"][numbers, 0])
    np.testing.assert_array_equal(views["camera.valid"], seen["camera.valid"][:, 0])


def test_views_depend_on_what_they_are_for_alone() -> None:
    one, again, other = (moved(moments(), SCHEMA, random_numbers(0, "views", step))["camera"] for step in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def turned_bars(folder: Path, episodes: int = 60, steps: int = 12) -> EpisodeStore:
    """A grey bar that lies somewhere, turned somehow, for an episode, and a dark dot that is pushed about."""
    random = np.random.default_rng(0)
    row, column = np.mgrid[:32, :32]
    schema = Schema(
        signals=(
            Signal(name="camera", role=Role.OBSERVATION, shape=(32, 32, 3), dtype="uint8"),
            Signal(name="push", role=Role.ACTION, shape=(2,)),
            Signal(name="turn", role=Role.LABEL, shape=(2,)),
        )
    )
    made = []
    for _ in range(episodes):
        angle, middle = random.uniform(0, np.pi), random.uniform(11, 21, 2)
        push = random.uniform(-2, 2, (steps, 2)).astype(np.float32)
        dots = np.clip(random.uniform(4, 28, 2) + np.concatenate([np.zeros((1, 2)), push.cumsum(0)]), 2, 30)
        along = (row - middle[0]) * np.sin(angle) + (column - middle[1]) * np.cos(angle)
        across = (row - middle[0]) * np.cos(angle) - (column - middle[1]) * np.sin(angle)
        pictures = np.full((steps + 1, 32, 32, 3), 255, np.uint8)
        pictures[:, (np.abs(along) < 8) & (np.abs(across) < 2)] = 120
        for picture, dot in zip(pictures, dots, strict=True):
            picture[np.hypot(row - dot[0], column - dot[1]) < 2] = 0
        turn = np.tile(np.array([np.cos(2 * angle), np.sin(2 * angle)], np.float32), (steps + 1, 1))
        made.append(Episode(signals={"camera": pictures, "push": push, "turn": turn}, time=np.arange(steps + 1.0)))
    with EpisodeWriter.create(folder, schema) as writer:
        for episode in made:
            writer.add(episode)
    return EpisodeStore(folder)


def test_the_latent_tells_which_way_a_thing_is_turned(tmp_path: Path) -> None:
    store = turned_bars(tmp_path / "bars")
    read: dict[float, float] = {}
    for weight in (0.0, 10.0):
        config = replace(
            model_config(latent=18), encoder=EncoderConfig(channels=(16, 32), features=64), shape_weight=weight, shape_alone=0.7
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = JEPA(store.schema, config)
        out = tmp_path / f"{weight:g}"
        train(store, range(48), range(48, 60), model, replace(loop_config(steps=500), views=64), out, seed=0)
        seen, held_out = (encode_log(store, part, model, device=torch.device("cpu")) for part in (range(48), range(48, 60)))
        turns = [np.concatenate([store[i].signals["turn"] for i in part]) for part in (range(48), range(48, 60))]
        readout = fit_readout(seen, torch.from_numpy(turns[0]), ReadoutConfig(name="turn", channels=("cos", "sin")), FITTING, seed=0)
        wrong = (readout(held_out.latents).numpy() - turns[1]) ** 2
        read[weight] = 1 - wrong.mean() / turns[1].var(0).mean()
    assert read[10.0] > 0.8
    assert read[0.0] < 0.5
