"""What training is for: the right actions tell the future, and wrong ones do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import HELD_OUT, TRAINING, fresh, train_in

from point_world import loop_config, record, store_of
from tacit.data import Episode, EpisodeStore
from tacit.models.heads import HeadConfig, TemporalDistance
from tacit.models.jepa import JEPA
from tacit.training.calibration import Calibration, calibrate
from tacit.training.latents import LatentLog, encode_log

Change = Callable[[list[Episode]], list[Episode]]


def with_moves(episode: Episode, moves: np.ndarray) -> Episode:
    return Episode(signals={**episode.signals, "move": moves}, time=episode.time)


def right(episodes: list[Episode]) -> list[Episode]:
    return episodes


def shifted(episodes: list[Episode]) -> list[Episode]:
    """Every action one step late."""
    return [with_moves(e, np.roll(e.signals["move"], 1, axis=0)) for e in episodes]


def shuffled(episodes: list[Episode]) -> list[Episode]:
    """Every episode with the actions of another."""
    return [with_moves(e, np.resize(episodes[i - 1].signals["move"], (e.steps, 2))) for i, e in enumerate(episodes)]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[JEPA, LatentLog, Calibration]]:
    """The same model trained and judged on right, shifted and shuffled logs."""
    folder = tmp_path_factory.mktemp("learning")
    walks = list(record(folder / "store", episodes=12, steps=40))
    found = {}
    for change in (right, shifted, shuffled):
        store = store_of(folder / change.__name__, change(walks))
        model, _ = train_in(store, folder / "out", loop_config(steps=250))
        found[change.__name__] = (model, *judged(model, store))
    return found


def judged(model: JEPA, store: EpisodeStore) -> tuple[LatentLog, Calibration]:
    log = encode_log(store, HELD_OUT, model, device=torch.device("cpu"))
    return log, calibrate(model, TemporalDistance(8, HeadConfig(width=8, depth=1)), log, seed=0, horizon=5)


def relative(calibration: Calibration) -> float:
    """Error of rollouts beside predicting that nothing changes, over the horizon."""
    return float(np.mean(np.divide(calibration.prediction, calibration.stay)))


def test_the_model_beats_staying_and_needs_the_right_actions(taught: dict[str, tuple[JEPA, LatentLog, Calibration]]) -> None:
    calibration = taught["right"][2]
    for step, (error, stay, other) in enumerate(zip(calibration.prediction, calibration.stay, calibration.shuffled, strict=True), 1):
        assert error < 0.5 * stay, f"{step} steps ahead"
        assert error < 0.5 * other, f"{step} steps ahead"


@pytest.mark.parametrize("wrong", ["shifted", "shuffled"])
def test_wrong_logs_make_a_worse_model(taught: dict[str, tuple[JEPA, LatentLog, Calibration]], wrong: str) -> None:
    assert relative(taught["right"][2]) < 0.5 * relative(taught[wrong][2])


def test_the_latent_tells_where_the_point_is(taught: dict[str, tuple[JEPA, LatentLog, Calibration]], tmp_path: Path) -> None:
    """A line from the latent to the pose, fitted on training episodes and scored on held-out ones."""
    model, held_out, _ = taught["right"]
    store = record(tmp_path / "store", episodes=12, steps=40)
    seen = encode_log(store, TRAINING, model, device=torch.device("cpu"))
    fitted_on, scored_on = (np.pad(log.latents.numpy(), ((0, 0), (0, 1)), constant_values=1.0) for log in (seen, held_out))
    poses = [np.concatenate([store[i].signals["pose"] for i in part]) for part in (TRAINING, HELD_OUT)]
    line, *_ = np.linalg.lstsq(fitted_on, poses[0], rcond=None)
    residual, spread = poses[1] - scored_on @ line, poses[1] - poses[1].mean(0)
    assert 1 - np.square(residual).sum() / np.square(spread).sum() > 0.8


def test_an_untrained_model_is_no_better_than_staying(store: EpisodeStore) -> None:
    _, calibration = judged(fresh(store.schema), store)
    assert relative(calibration) == pytest.approx(1.0), "the predictor begins as the identity"
