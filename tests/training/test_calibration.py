"""Calibration against a model whose errors are known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from point_world import SCHEMA
from tacit.models.heads import TemporalDistance
from tacit.training.calibration import Calibration, calibrate
from tacit.training.latents import LatentLog

STEPS = (30, 12, 30, 3)


class Adds(nn.Module):
    """Predicts `z + gain * a`; the logs are of a world with a gain of one."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.schema, self.latent_size, self.history, self.gain = SCHEMA, 2, 2, gain

    def encode(self, observations: dict[str, Tensor], before: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def step(self, history: Tensor, action: Tensor) -> Tensor:
        raise NotImplementedError

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:] + self.gain * actions.cumsum(2)


class Counts(TemporalDistance):
    """Says that everything is five steps away."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, latent: Tensor, goal: Tensor) -> Tensor:
        return torch.full(latent.shape[:-1], 5.0)


@pytest.fixture(scope="module")
def log() -> LatentLog:
    generator = torch.Generator().manual_seed(0)
    latents, actions = [], []
    for number, steps in enumerate(STEPS):
        moves = torch.randn(steps, 2, generator=generator) + (3.0 if number == 2 else 0.0)
        latents.append(nn.functional.pad(moves.cumsum(0), (0, 0, 1, 0)) + 100 * number)
        actions.append(nn.functional.pad(moves, (0, 0, 0, 1), value=math.nan))
    steps = torch.tensor(STEPS)
    first = torch.cat((torch.zeros(1, dtype=torch.int64), (steps + 1).cumsum(0)[:-1]))
    return LatentLog(latents=torch.cat(latents), actions=torch.cat(actions), first=first, steps=steps)


def test_a_perfect_model_has_no_error(log: LatentLog) -> None:
    found = calibrate(Adds(), Counts(), log, seed=0, horizon=6)
    assert found.prediction == pytest.approx([0.0] * 6, abs=1e-6)
    assert max(found.one_step) < 1e-3
    assert min(found.stay) > 0.5
    assert found.episodes == 4


def test_errors_are_those_of_every_window(log: LatentLog) -> None:
    """All windows of six steps fit into the number asked for, so each number has a closed form over the logs."""
    found = calibrate(Adds(gain=0.5), Counts(), log, seed=0, horizon=6)
    changes = []
    for first, steps in zip(log.first.tolist(), STEPS, strict=True):
        changes += [log.latents[first + t + 1 : first + t + 7] - log.latents[first + t] for t in range(steps - 5)]
    change = torch.stack(changes)
    assert len(found.one_step) == len(change) == 25 + 7 + 25
    assert found.stay == pytest.approx(change.square().mean((0, 2)).tolist(), rel=1e-4)
    assert found.prediction == pytest.approx((0.5 * change).square().mean((0, 2)).tolist(), rel=1e-4)
    assert found.one_step == pytest.approx(sorted((0.5 * change[:, 0]).norm(dim=-1).tolist()), rel=1e-3, abs=1e-4)
    assert found.distance_bias == pytest.approx([5.0 - k for k in range(1, 7)])


def test_shuffled_actions_are_of_another_episode(log: LatentLog) -> None:
    """The third episode drifts and the first does not: under each other's actions, both end three per step away."""
    found = calibrate(Adds(), Counts(), log, seed=0, horizon=20)
    assert found.shuffled[-1] > 0.7 * (3 * 20) ** 2


def test_the_horizon_is_shortened_to_the_longest_episode(log: LatentLog) -> None:
    found = calibrate(Adds(), Counts(), log, seed=0, horizon=99)
    assert len(found.prediction) == len(found.stay) == len(found.shuffled) == len(found.distance_bias) == 30


def test_few_windows_are_drawn_by_the_seed(log: LatentLog) -> None:
    one, same, other = (calibrate(Adds(0.5), Counts(), log, seed=seed, horizon=6, windows=9) for seed in (1, 1, 2))
    assert len(one.one_step) == 9
    assert one == same
    assert one != other


def test_json_keeps_six_digits(log: LatentLog) -> None:
    found = calibrate(Adds(0.5), Counts(), log, seed=0, horizon=6)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    again = Calibration(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    assert again.to_json() == values
    assert again.prediction == pytest.approx(found.prediction, rel=1e-5)
