"""The predictor, trained on alone: better on episodes that it never saw, with the encoder as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trained import HELD_OUT, TRAINING, fresh, train_in

from point_world import loop_config, record
from tacit.data import EpisodeStore
from tacit.models.jepa import JEPA
from tacit.training.dynamics import fit_dynamics
from tacit.training.latents import LatentLog, encode_log
from tacit.training.settings import HeadTraining

CONFIG = HeadTraining(steps=200, batch=64, learning_rate=3e-3)


@pytest.fixture
def log_of(tmp_path: Path) -> tuple[JEPA, LatentLog, LatentLog]:
    """A model that was trained briefly, with its latents of what it was trained on and of what it was not."""
    store = record(tmp_path / "store", episodes=12, steps=40)
    model, _ = train_in(store, tmp_path / "out", loop_config(steps=60))
    seen, unseen = (encode_log(store, part, model, device=torch.device("cpu")) for part in (TRAINING, HELD_OUT))
    return model, seen, unseen


def error(model: JEPA, log: LatentLog, horizon: int = 6) -> float:
    """Mean squared error of rollouts from the tenth frame of every episode, of the state alone."""
    episode, ahead, state = torch.arange(len(log)), torch.arange(horizon), model.config.state
    t = torch.full_like(episode, 10)
    rows = log.first[:, None] + 10 + ahead
    with torch.no_grad():
        predicted = model.rollout(log.history(episode, t, model.history), log.actions[rows][:, None])[:, 0]
    return float((predicted - log.latents[rows + 1])[..., :state].square().mean())


def test_long_rollouts_get_better_on_unseen_episodes(log_of: tuple[JEPA, LatentLog, LatentLog]) -> None:
    model, seen, unseen = log_of
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    before = error(model, unseen)
    told: list[tuple[float, float]] = []
    fit_dynamics(model, seen, CONFIG, seed=0, progress=lambda done, loss: told.append((done, loss)))
    assert error(model, unseen) < 0.7 * before
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())
    assert told
    assert told[-1][1] < told[0][1]


def test_the_same_seed_gives_the_same_predictor(store: EpisodeStore) -> None:
    found = []
    for seed in (1, 1, 2):
        model = fresh(store.schema)
        log = encode_log(store, TRAINING, model, device=torch.device("cpu"))
        fit_dynamics(model, log, HeadTraining(steps=5, batch=8), seed=seed)
        found.append(model.predictor.state_dict())
    one, same, other = found
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


def test_episodes_of_a_few_steps_are_enough(tmp_path: Path) -> None:
    store = record(tmp_path / "store", episodes=12, steps=2)
    model = fresh(store.schema)
    log = encode_log(store, range(12), model, device=torch.device("cpu"))
    fit_dynamics(model, log, HeadTraining(steps=3, batch=8), seed=0)
    assert all(p.isfinite().all() for p in model.predictor.parameters())


def test_single_steps_come_first_where_they_are_asked_for(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh(store.schema)
    log = encode_log(store, TRAINING, model, device=torch.device("cpu"))
    seen: list[tuple[int, int]] = []
    rollout = JEPA.rollout

    def watched(self: JEPA, history: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        seen.append((len(actions), actions.shape[2]))
        return rollout(self, history, actions)

    monkeypatch.setattr(JEPA, "rollout", watched)
    fit_dynamics(model, log, HeadTraining(steps=4, batch=2, rollout=5, singles=0.5), seed=0)
    assert seen == [(16, 1), (16, 1), (2, 5), (2, 5)]
