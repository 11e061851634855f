"""Readouts fitted on latents that are known, from sensors and never from labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from point_world import DIRECTIONS, record
from tacit.models.readout import Kind, ReadoutConfig
from tacit.training.folder import RunError
from tacit.training.latents import LatentLog
from tacit.training.readouts import (
    ReadoutError,
    conformal_half_widths,
    fit_readout,
    measured,
    of_signal,
    read_readouts,
    readings,
    write_readouts,
)
from tacit.training.settings import HeadTraining

QUICK = HeadTraining(steps=300, batch=128, learning_rate=5e-3)
TIP = ReadoutConfig(name="tip", channels=("x", "y"), unit="cm")


@dataclass(frozen=True)
class Drifting:
    """Moves by the action, and by 0.1 more in each predicted step than the world does."""

    history: int = 1
    drift: float = 0.1

    def rollout(self, history: Tensor, actions: Tensor) -> Tensor:
        return history[:, None, -1:] + (actions + self.drift).cumsum(2)


def log_of(episodes: int = 20, steps: int = 12, seed: int = 0) -> LatentLog:
    """Latents (x, y) that actions move."""
    rng = torch.Generator().manual_seed(seed)
    actions = torch.rand(episodes, steps + 1, 2, generator=rng) - 0.5
    actions[:, -1] = 0
    start = torch.rand(episodes, 1, 2, generator=rng) * 4
    latents = torch.cat((start, start + actions[:, :-1].cumsum(1)), 1)
    first = torch.arange(episodes) * (steps + 1)
    return LatentLog(latents=latents.flatten(0, 1), actions=actions.flatten(0, 1), first=first, steps=torch.full((episodes,), steps))


def sensed(log: LatentLog) -> Tensor:
    return 100 * log.latents + torch.tensor([5.0, -5.0])


def test_learns_what_a_sensor_shows_and_how_errors_grow() -> None:
    log, held_out = log_of(), log_of(seed=1)
    readout = fit_readout(log, sensed(log), TIP, QUICK, seed=0)
    fitted = measured(Drifting(), readout, held_out, sensed(held_out), horizon=15)  # type: ignore[arg-type]
    assert fitted.now < 15, "of 400 cm"
    assert len(fitted.spread) == 15
    assert list(fitted.spread) == sorted(fitted.spread)
    assert fitted.spread[11] == pytest.approx(120, rel=0.3), "12 steps, each 10 cm too far"
    assert fitted.spread[14] == fitted.spread[11], "no episode is longer"


def test_learns_an_event_that_has_no_sensor() -> None:
    log, held_out = log_of(), log_of(seed=1)
    touches = lambda log: (log.latents[:, :1] > 2).float()  # noqa: E731
    readout = fit_readout(log, touches(log), ReadoutConfig(name="touches", kind=Kind.EVENT), QUICK, seed=0)
    probability = readout(held_out.latents)
    assert ((probability > 0.5) == (touches(held_out) > 0.5)).float().mean() > 0.95
    with pytest.raises(ReadoutError, match="0 or 1"):
        fit_readout(log, log.latents[:, :1], ReadoutConfig(name="touches", kind=Kind.EVENT), QUICK, seed=0)
    with pytest.raises(ReadoutError, match=r"\(F, N\)"):
        fit_readout(log, log.latents[:, :1], TIP, QUICK, seed=0)


def test_a_sensor_is_given_observations_only(tmp_path: Path) -> None:
    store = record(tmp_path / "store", episodes=3)
    asked: list[set[str]] = []

    def projected(observations: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        asked.append(set(observations))
        return np.arctanh((observations["sensors"] - 5) / 2 * 0.999) @ DIRECTIONS.T / 3

    values = readings(store, [0, 2], projected, 2)
    assert asked == [{"sensors"}] * 2, "neither actions nor labels"
    pose = np.concatenate([store[0].signals["pose"], store[2].signals["pose"]])
    assert np.abs(values.numpy() - pose).mean() < 0.1
    assert readings(store, [1], of_signal("sensors"), 6).shape == (store[1].steps + 1, 6)
    with pytest.raises(ReadoutError, match="gives 6 channels, but the readout has 2"):
        readings(store, [0], of_signal("sensors"), 2)
    with pytest.raises(ReadoutError, match="not finite in episode 1"):
        readings(store, [1], lambda o: o["sensors"] * np.nan, 6)
    with pytest.raises(KeyError):
        readings(store, [0], lambda o: o["pose"], 2)


def test_readouts_come_back_from_a_folder_and_damage_is_found(tmp_path: Path) -> None:
    log = log_of(4)
    assert read_readouts(tmp_path, 2) == {}
    fitted = measured(Drifting(), fit_readout(log, sensed(log), TIP, QUICK, seed=0), log, sensed(log), horizon=5)  # type: ignore[arg-type]
    write_readouts(tmp_path, [fitted])
    [found] = read_readouts(tmp_path, 2).values()
    assert (found.spread, found.now, found.readout.config) == (fitted.spread, fitted.now, TIP)
    assert found.half_widths == pytest.approx(np.array(fitted.half_widths))
    assert torch.equal(found.readout(log.latents), fitted.readout(log.latents))
    with pytest.raises(RunError, match="does not fit this model"):
        read_readouts(tmp_path, 3)
    text = (tmp_path / "readouts.json").read_text()
    for old, new in (('"version": 2', '"version": 9'), ('"channels"', '"canals"'), ("{", "[")):
        (tmp_path / "readouts.json").write_text(text.replace(old, new, 1))
        with pytest.raises(RunError, match=r"readouts\.json"):
            read_readouts(tmp_path, 2)
    (tmp_path / "readouts.json").write_text(text)
    (tmp_path / "readouts.safetensors").unlink()
    with pytest.raises(RunError, match="no such file"):
        read_readouts(tmp_path, 2)


def test_half_widths_are_the_conformal_quantile_of_what_was_measured() -> None:
    errors = torch.arange(1.0, 20.0)[torch.randperm(19, generator=torch.Generator().manual_seed(0))]
    signs = torch.where(torch.arange(19) % 2 == 0, 1.0, -1.0)
    some = torch.stack((errors * signs, torch.full((19,), torch.nan)), -1)[:, None].expand(19, 3, 2).clone()
    some[::2, 1, 1] = 5.0
    found = conformal_half_widths(some, 0.9)
    assert found[:, 0].tolist() == [18.0] * 3, "the 18th of 19, since 0.9 times 20 is 18"
    assert found[:, 1].tolist() == [0.0, 5.0, 0.0], "nothing is known of what was never measured"
    assert conformal_half_widths(some[:5, :1, :1], 0.9)[0, 0] == some[:5, 0, 0].abs().max(), "too few: the largest"


def test_readouts_of_tags_with_dots_are_kept_apart(tmp_path: Path) -> None:
    log = log_of(4)
    values = sensed(log)
    made = [
        measured(
            Drifting(),
            fit_readout(log, values[:, n : n + 1], ReadoutConfig(name=name), QUICK, seed=n),
            log,
            values[:, n : n + 1],
            horizon=3,
        )  # type: ignore[arg-type]
        for n, name in enumerate(("tank", "tank.0"))
    ]
    write_readouts(tmp_path, made)
    found = read_readouts(tmp_path, 2)
    assert list(found) == ["tank", "tank.0"]
    for fitted in made:
        assert torch.equal(found[fitted.readout.config.name].readout(log.latents), fitted.readout(log.latents))
